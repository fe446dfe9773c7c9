/** BEGIN, COMMIT, ROLLBACK and savepoints of a client, inside a global transaction. */
import type { OtherPlan } from '../text/verbs.ts';
import { isOpen, workOfSeat, type Context } from './context.ts';
import type { ParsedStatement } from '../parse.ts';
import { findWord, isWord, textOf } from '../text/span.ts';
import { encodeOk } from '../wire/outcome.ts';
import type { Beginning } from '../xa/local.ts';
import { beginLocal, beginNamed, commitLocal, giveUp, isNamed, refuseCommit, rollBack } from './ending.ts';
import { answer, passOn, tell, type Piece } from './piece.ts';

export type Control = Extract<OtherPlan, { readonly kind: 'control' }>;

/** Carries it out. False when it failed. */
export async function serveControl(c: Context, { verb, name = '' }: Control, piece: Piece): Promise<boolean> {
  switch (verb) {
    case 'begin':
      return serveBegin(c, piece);
    case 'commit':
    case 'commit-and-chain':
      if (c.local.xid === undefined && !c.local.changed)
        return succeeds(c, piece, verb === 'commit' ? 'ends' : 'chains');
      return serveEnd(c, piece, { commits: true, chains: verb === 'commit-and-chain' });
    case 'rollback':
    case 'rollback-and-chain':
      if (c.local.xid === undefined) return succeeds(c, piece, verb === 'rollback' ? 'ends' : 'chains');
      return serveEnd(c, piece, { commits: false, chains: verb === 'rollback-and-chain' });
    case 'savepoint': {
      // Without autocommit it is the first word of a local transaction.
      await beginNamed(c);
      c.local.begunAs = undefined;
      const isDone = await succeeds(c, piece, 'inside');
      if (isDone) c.local.savepoint(name);
      return isDone;
    }
    case 'rollback-to': {
      const isDone = await succeeds(c, piece, 'inside');
      if (isDone) c.local.rolledBackTo(name);
      return isDone;
    }
    case 'release': {
      const isDone = await succeeds(c, piece, 'inside');
      if (isDone) c.local.released(name);
      return isDone;
    }
  }
}

/** BEGIN commits what is open. */
async function serveBegin(c: Context, piece: Piece): Promise<boolean> {
  const { local } = c;
  const failure = isOpen(c) ? await commitLocal(c) : undefined;
  if (failure !== undefined) return tell(c, failure);
  // The connection ends with what was prepared, and with it what would begin.
  if (local.isPrepared) return succeeded(c, piece);
  const how = beginningOf(piece.parsed);
  // A mark that was named for what was open is not that of what begins.
  const isNobodys = workOfSeat(c.seat, c.parts) === undefined && c.seat.binding.named === undefined;
  if (how === undefined || isNobodys || !isNamed(c)) {
    const isDone = await succeeds(c, piece, 'begins');
    if (isDone) c.local.begunAs = how;
    return isDone;
  }
  const broken = await beginLocal(c, { isPlain: false, how });
  return broken === undefined ? succeeded(c, piece) : tell(c, broken);
}

interface End {
  readonly commits: boolean;
  readonly chains: boolean;
}

async function serveEnd(c: Context, piece: Piece, { commits, chains }: End): Promise<boolean> {
  c.last = undefined;
  const { local } = c;
  // A plain one goes on in the client's own words, once it may be committed.
  if (local.xid === undefined) {
    const failure = await refuseCommit(c);
    if (failure !== undefined) return tell(c, await giveUp(c, failure));
    return succeeds(c, piece, chains ? 'chains' : 'ends');
  }
  const failure = commits ? await commitLocal(c) : await rollBack(c);
  if (failure !== undefined) return tell(c, failure);
  const next = behind(piece.parsed, c.settings.completion);
  if (next.chains && !local.isPrepared) {
    const how = local.access === undefined ? {} : { access: local.access };
    // A mark that was named for the one that has ended went with it: then the next one is nobody's, but for the rest of a text.
    const isPlain = !piece.hasMore && workOfSeat(c.seat, c.parts) === undefined;
    const broken = await beginLocal(c, { isPlain, how });
    // What has been committed is not told as an error.
    if (broken !== undefined) c.seat.hangUp();
  }
  if (next.releases) c.seat.hangUp();
  return succeeded(c, piece);
}

interface Behind {
  readonly chains: boolean;
  readonly releases: boolean;
}

/** What follows on COMMIT or ROLLBACK: as it says, or else as the session is set. Source: MySQL source: sql/sql_parse.cc, SQLCOM_COMMIT. */
function behind({ source, span }: ParsedStatement, completion: string): Behind {
  const place = findWord(source, span, 'chain');
  const chains = place === span.to ? completion === 'CHAIN' : !isWord(source, place - 1, 'no');
  // RELEASE itself is refused.
  const isKept = findWord(source, span, 'release') < span.to;
  return { chains, releases: !isKept && completion === 'RELEASE' };
}

/** The answer to BEGIN, COMMIT and ROLLBACK. */
function succeeded(c: Context, piece: Piece): true {
  const { status } = c.seat.binding;
  const ok = encodeOk({
    kind: 'ok',
    endsRows: false,
    affectedRows: 0n,
    lastInsertId: 0n,
    status,
    warnings: 0,
    info: undefined,
    stateChanges: undefined,
  });
  answer(c, piece, [ok]);
  return true;
}

/** What START TRANSACTION asks for; undefined where it asks for what is not known here. */
function beginningOf({ source, span }: ParsedStatement): Beginning | undefined {
  const said = textOf(source, span)
    .toLowerCase()
    .replace(/\/\*.*?\*\//gs, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  if (/^begin(?: work)?$/.test(said) || said === 'start transaction') return {};
  const [, wishes] = /^start transaction (.+)$/.exec(said) ?? [];
  const parts = wishes?.split(',').map((wish) => wish.trim()) ?? [];
  const known = parts.every((wish) => ['with consistent snapshot', 'read only', 'read write'].includes(wish));
  if (parts.length === 0 || !known) return undefined;
  return {
    ...(parts.includes('with consistent snapshot') ? { hasSnapshot: true } : {}),
    ...(parts.includes('read only') ? { access: 'READ ONLY' } : {}),
    ...(parts.includes('read write') ? { access: 'READ WRITE' } : {}),
  };
}

async function succeeds(c: Context, piece: Piece, effect: 'begins' | 'ends' | 'chains' | 'inside'): Promise<boolean> {
  c.last = undefined;
  const heard = await passOn(c, piece, effect);
  return heard?.kind === 'ok';
}
