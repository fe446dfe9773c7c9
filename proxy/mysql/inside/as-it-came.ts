/** Changes that run as they came: those of an operation, behind the row of the barrier, and those of a local transaction that will be prepared. */
import { assert } from '../../../src/platform/assert.ts';
import { failureIn, isAlone, isOpen, type Context, type Failure } from './context.ts';
import { beginLocal, beginNamed, commitLocal, giveUp, explained, isNamed, rollBack } from './ending.ts';
import { entryOf } from './enter.ts';
import { answer, collect, tell, type Piece } from './piece.ts';
import { lastStatement } from './last-statement.ts';
import { notNamed } from './refusals.ts';
import { okIn } from './reply.ts';
import { insideFailure } from '../xa/local.ts';

/** What has no images may run all the same. Where the local transaction has begun without a name it cannot: then it is said why it has none. */
export function canRunAsItCame(c: Context): boolean {
  if (c.work.kind === 'operation') return true;
  return isNamed(c) && (isAlone(c) || !isOpen(c) || c.local.xid !== undefined);
}

/**
 * Runs it. False when it failed; `temporary` when nothing of it has been done, because it is about a temporary table. `prepares`: it has
 * no images, so its local transaction is prepared at its end.
 */
export async function runAsItCame(c: Context, piece: Piece, prepares: boolean): Promise<boolean | 'temporary'> {
  return isAlone(c) ? runAlone(c, piece, prepares) : runInside(c, piece, prepares);
}

async function runInside(c: Context, piece: Piece, prepares: boolean): Promise<boolean | 'temporary'> {
  await beginNamed(c);
  if (prepares && c.local.xid === undefined) return tell(c, { kind: 'refused', refusal: notNamed });
  const failure = await enter(c, prepares);
  if (failure === 'temporary') return failure;
  if (failure !== undefined) return tell(c, isEnd(failure) ? await giveUp(c, failure) : failure);
  c.last = undefined;
  const reply = await collect(c, piece, 'inside');
  const error = failureIn(reply);
  if (error !== undefined) {
    const broken = explained(c, inItsWords(error));
    return tell(c, isEnd(broken) ? await giveUp(c, broken) : broken);
  }
  answer(c, piece, reply.packets);
  return true;
}

/** With a local transaction of its own, which ends before the client hears of it. */
async function runAlone(c: Context, piece: Piece, prepares: boolean): Promise<boolean | 'temporary'> {
  const failure = (await beginLocal(c, { isPlain: !prepares })) ?? (await enter(c, prepares));
  if (failure === 'temporary') {
    const broken = await rollBack(c);
    return broken === undefined ? failure : tell(c, broken);
  }
  if (failure !== undefined) return tell(c, await giveUp(c, failure));
  const reply = await collect(c, piece, 'inside');
  const error = failureIn(reply);
  if (error !== undefined) return tell(c, await giveUp(c, explained(c, inItsWords(error))));
  const [warnings] = await c.seat.ask([{ sql: 'SHOW WARNINGS' }]);
  assert(warnings !== undefined, 'a statement was answered');
  const broken = await commitLocal(c);
  if (broken !== undefined) return tell(c, broken);
  const ok = okIn(reply);
  c.last = lastStatement(ok?.affectedRows ?? -1n, warnings, ok?.warnings);
  answer(c, piece, reply.packets);
  return true;
}

/** The client has not said XA: where the server speaks of it, it is told what that means. */
export function inItsWords(failure: Failure): Failure {
  const refusal = failure.kind === 'error' ? insideFailure(failure.errno) : undefined;
  return refusal === undefined ? failure : { kind: 'refused', refusal };
}

/** The branch, or the operation, has its entry, and the local transaction holds changes from here on. */
async function enter(c: Context, prepares: boolean): Promise<Failure | 'temporary' | undefined> {
  const entry = await entryOf(c);
  if ('kind' in entry) return entry;
  const { questions } = c.tables;
  const replies = await c.seat.ask([...entry.statements, ...questions]);
  const entered = entry.statements.length;
  const failure = entered === 0 ? undefined : await entry.judge(replies.slice(0, entered));
  if (failure !== undefined) return failure;
  if (c.tables.answered(replies.slice(entered))) return 'temporary';
  c.local.changed = true;
  c.local.begunAs = undefined;
  c.local.prepares ||= prepares;
  return undefined;
}

function isEnd(failure: Failure): boolean {
  return failure.kind === 'refused' && failure.ends === true;
}
