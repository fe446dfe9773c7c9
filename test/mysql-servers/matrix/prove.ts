/** Runs a kind of statement in a global transaction, says what has become of it, and holds it to what happens without a sidecar. */
import type { ExecutionContext } from 'ava';
import type mysql from 'mysql2/promise';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Fate, Kind } from './kind.ts';
import type { Listener, Stage } from './stage.ts';

/** How a client sends it: as text, prepared, together with BEGIN and COMMIT in one text, or alone and without a local transaction. */
export const WAYS = ['text', 'prepared', 'several', 'alone'] as const;
export type Way = (typeof WAYS)[number];

export type Outcome = 'commit' | 'rollback';

/** The time of a session is that of its like. */
const SETTINGS = 'SET timestamp = 1700000000';

/** ER_UNSUPPORTED_PS: a statement that cannot be prepared is sent as text. */
const NOT_PREPARED = 1295;

/** What is done with a kind of statement in front of which the sidecar stands in some way. */
export function fateIn(fate: Fate, listener: Listener): 'captured' | 'passes' | 'prepared' | 'refused' {
  switch (fate) {
    case 'captured':
      return listener === 'xa' ? 'prepared' : 'captured';
    case 'escalates':
      return listener === 'undo' ? 'refused' : 'prepared';
    case 'passes':
    case 'refused':
      return fate;
    case '—':
      throw new Error('the server has no such statement');
  }
}

/** What a client has heard: of its statement, and why not. */
interface Told {
  readonly answer: string;
  readonly refusal: string | undefined;
}

/**
 * The fate of the kind is found out and compared. A rollback leaves all rows as they were; a commit makes them what they are in the twin, where the
 * same was said without a sidecar, and the client has heard the same.
 */
export async function prove(
  t: ExecutionContext,
  stage: Stage,
  {
    kind,
    listener,
    way,
    outcome,
  }: { readonly kind: Kind; readonly listener: Listener; readonly way: Way; readonly outcome: Outcome },
): Promise<void> {
  const name = `${outcome}, ${listener}, ${way}: ${kind.sql}`;
  const wanted = fateIn(stage.isMariadb ? kind.mariadb : kind.mysql, listener);
  const before = await stage.dump('shop');
  const gid = await stage.begin();
  const own = await run(stage, listener, kind, { way, gid });
  const { records, prepared } = await stage.left();
  const found = own.refusal !== undefined ? 'refused' : prepared > 0 ? 'prepared' : records > 0 ? 'captured' : 'passes';
  t.is(found, wanted, `${name}: ${own.refusal ?? own.answer}`);
  if (own.refusal !== undefined) {
    t.regex(own.refusal, /inside a global transaction.*\. /s, name);
    t.deepEqual(await stage.dump('shop'), before, name);
  } else {
    const twin = await run(stage, 'twin', kind, { way, gid: undefined });
    t.is(own.answer, twin.answer, name);
    if (found === 'passes') t.deepEqual(await stage.dump('plain'), before, `${name}: it passes, and changes rows`);
  }
  t.is(await stage.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', name);
  const rows = await stage.dump('shop');
  t.deepEqual(rows, outcome === 'rollback' ? before : await stage.dump('plain'), `${name}: rows`);
  t.deepEqual(await stage.left(), { records: 0, locks: 0, prepared: 0 }, name);
  await stage.reset(kind.sql);
}

/** Says it in a session of its own, in a local transaction of the global one, or in one without. */
async function run(
  stage: Stage,
  to: Listener | 'twin',
  kind: Kind,
  { way, gid }: { readonly way: Way; readonly gid: Gid | undefined },
): Promise<Told> {
  const client = await stage.open(to);
  client.on('error', () => undefined);
  const mark = gid === undefined ? '' : ` /*atomesh_gid='${gid}'*/`;
  try {
    for (const sql of [SETTINGS, ...kind.first]) await client.query(sql);
    if (way === 'alone') return await hear(client, `${kind.sql}${mark}`, 'query');
    if (way === 'several') {
      const told = await hear(client, `${mark} BEGIN; ${kind.sql}; COMMIT`, 'query');
      // Behind a refusal nothing of the text is carried out.
      if (told.refusal !== undefined) await client.query('ROLLBACK');
      return told;
    }
    await client.query(`BEGIN${mark}`);
    for (const sql of kind.ahead) await client.query(sql);
    const told = await hear(client, kind.sql, way === 'prepared' ? 'execute' : 'query');
    await client.query('COMMIT');
    return told;
  } finally {
    client.destroy();
  }
}

async function hear(client: mysql.Connection, sql: string, how: 'query' | 'execute'): Promise<Told> {
  try {
    const [answer] = await (how === 'query'
      ? client.query({ sql, rowsAsArray: true })
      : client.execute({ sql, rowsAsArray: true }));
    return { answer: plainly(answer), refusal: undefined };
  } catch (error) {
    const { message, errno } = error as { message: string; errno?: number };
    if (how === 'execute' && errno === NOT_PREPARED) return hear(client, sql, 'query');
    if (message.startsWith('atomesh: ')) return { answer: '', refusal: message };
    return { answer: `error ${errno}`, refusal: undefined };
  }
}

/** What an answer says, without what only the state of a session says. */
function plainly(answer: unknown): string {
  if (!Array.isArray(answer)) {
    const { affectedRows, insertId, info, warningStatus } = answer as mysql.ResultSetHeader;
    return JSON.stringify({ affectedRows, insertId, info, warningStatus });
  }
  return `[${answer.map((part: unknown) => (Array.isArray(part) || typeof part !== 'object' ? JSON.stringify(part) : plainly(part))).join()}]`;
}
