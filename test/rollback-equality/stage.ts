/** One database behind a sidecar and its twin without one, and the laws that every batch must keep there. */
import { isDeepStrictEqual } from 'node:util';
import pg from 'pg';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { NOTHING_LEFT, startMesh, type Mesh, type MeshOptions } from '../sql-e2e/mesh.ts';
import type { Batch } from './grammar.ts';
import { runBatch, type Outcomes } from './run-batch.ts';
import { RESET, schemaSql, TABLES } from './schema.ts';

/** What sessions may have set; the second phase must not depend on it. */
export const SETTINGS: readonly string[] = [
  `SET "TimeZone" = 'UTC'; SET "DateStyle" = 'ISO, MDY'; SET "IntervalStyle" = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET array_nulls = on`,
  `SET "TimeZone" = 'Asia/Kathmandu'; SET "DateStyle" = 'German'; SET "IntervalStyle" = 'sql_standard'; SET extra_float_digits = -5; SET bytea_output = 'escape'; SET array_nulls = on`,
];

/** So that a session which waits for the other one, that waits for its turn, gives up. */
const PATIENCE = `SET lock_timeout = '30ms'; SET statement_timeout = '5s'`;

/** What the second phase's own sessions would be like, did it not pin its settings. */
const UNHELPFUL = `ALTER DATABASE shop SET "DateStyle" = 'SQL, DMY'; ALTER DATABASE shop SET "IntervalStyle" = 'iso_8601';
ALTER DATABASE shop SET extra_float_digits = 0; ALTER DATABASE shop SET bytea_output = 'escape'; ALTER DATABASE shop SET array_nulls = off`;

const PINNED = `SET "DateStyle" = 'ISO, MDY'; SET "IntervalStyle" = 'postgres'; SET "TimeZone" = 'UTC'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET search_path = public; SET jit = off`;

type Pair = readonly [pg.Client, pg.Client];

/** How much of what was generated has taken effect. */
export interface Tally {
  batches: number;
  statements: number;
  /** Carried out without an error. */
  ran: number;
  /** Carried out, and rows were changed or read. */
  touched: number;
  refused: number;
  failed: number;
  /** Why statements did not run: messages of refusals, SQLSTATEs of errors; and how often. */
  readonly reasons: Map<string, number>;
}

/** Says what is wrong after a batch; undefined when nothing is. */
export type Law = (batch: Batch) => Promise<string | undefined>;

export interface Stage extends AsyncDisposable {
  readonly mesh: Mesh;
  readonly tally: Tally;
  /** Runs the batch in one or two gids, rolls them back, and says what is not as before; undefined when all is. */
  readonly rollsBack: Law;
  /** Runs the first session's part of the batch in a gid that commits and directly on the twin, and says what differs. */
  readonly commitsAlike: Law;
}

/** `startSidecar`: another build of the sidecar. `database`: further options of the database. */
export type StageOptions = Pick<MeshOptions, 'startSidecar' | 'database'>;

/** Starts all of it. */
export async function startStage(major: PostgresMajor, options: StageOptions = {}): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const mesh = stack.use(
    await startMesh({
      major,
      schema: schemaSql(major),
      tables: [],
      lockTimeoutMs: 40,
      ...options,
    }),
  );
  await mesh.owner.query(UNHELPFUL);
  for (const client of [mesh.owner, mesh.twin]) await client.query(PINNED);
  const open = async (config: pg.ClientConfig, settings: string): Promise<pg.Client> => {
    const client = new pg.Client(config);
    client.on('error', () => undefined);
    stack.defer(() => client.end());
    await client.connect();
    await client.query(`${PATIENCE}; ${settings}`);
    return client;
  };
  const pairs: { readonly through: Pair; readonly direct: Pair }[] = [];
  for (const settings of SETTINGS) {
    const through = [await open(mesh.through, settings), await open(mesh.through, settings)] as const;
    pairs.push({ through, direct: [await open(mesh.direct, settings), await open(mesh.direct, settings)] });
  }
  const tally: Tally = { batches: 0, statements: 0, ran: 0, touched: 0, refused: 0, failed: 0, reasons: new Map() };
  const disposal = stack.move();
  /** The rows as they were at first, while they are that. */
  let asAtFirst: Dump | undefined;
  /** Undo records and row locks may be there. */
  let mayHaveLeft = false;
  const pairOf = (batch: Batch): { readonly through: Pair; readonly direct: Pair } => {
    const pair = pairs[batch.settings];
    if (pair === undefined) throw new Error(`there are no settings ${batch.settings}`);
    return pair;
  };

  async function reset(): Promise<void> {
    // Undo records that could not be applied would keep their row locks.
    if (mayHaveLeft) await mesh.owner.query('TRUNCATE atomesh.undo_record, atomesh.row_lock, atomesh.parent_claim');
    for (const client of [mesh.owner, mesh.twin]) await client.query(RESET);
  }

  async function runThrough(pair: Pair, batch: Batch, gids: readonly [Gid, Gid]): Promise<Outcomes> {
    const used = batch.sessions[1].length === 0 ? pair.slice(0, 1) : pair;
    await Promise.all(used.map((client, index) => client.query(`SET atomesh.gid = '${gids[index]}'`)));
    const outcomes = await runBatch(pair, batch);
    await Promise.all(used.map((client) => client.query('RESET atomesh.gid')));
    count(tally, outcomes);
    return outcomes;
  }

  async function rollBack(batch: Batch): Promise<string | undefined> {
    let before = asAtFirst;
    if (before === undefined) {
      await reset();
      before = await dump(mesh.owner);
    }
    asAtFirst = undefined;
    mayHaveLeft = true;
    const one = await mesh.begin();
    const gids = [one, batch.isTwoGids && batch.sessions[1].length > 0 ? await mesh.begin() : one] as const;
    await runThrough(pairOf(batch).through, batch, gids);
    for (const gid of new Set(gids)) {
      const fault = await end(mesh, gid, 'rollback');
      if (fault !== undefined) return fault;
    }
    const fault = difference(before, await dump(mesh.owner)) ?? leftBehind(await mesh.leftovers());
    if (fault !== undefined) return fault;
    asAtFirst = before;
    mayHaveLeft = false;
    return undefined;
  }

  async function commit(batch: Batch): Promise<string | undefined> {
    await reset();
    asAtFirst = undefined;
    mayHaveLeft = true;
    const { through, direct } = pairOf(batch);
    const gid = await mesh.begin();
    const outcomes = await runThrough(through, batch, [gid, gid]);
    const expected = await runBatch(direct, batch, outcomes);
    const unlike = outcomes.find(({ outcome }, index) => !isDeepStrictEqual(outcome, expected[index]?.outcome));
    if (unlike !== undefined) {
      const wanted = expected[outcomes.indexOf(unlike)]?.outcome;
      return `${unlike.text}\n  through the sidecar ${JSON.stringify(unlike.outcome)}\n  without it ${JSON.stringify(wanted)}`;
    }
    const ended = await end(mesh, gid, 'commit');
    const rows = ended ?? difference(await dump(mesh.twin), await dump(mesh.owner));
    const fault = rows ?? leftBehind(await mesh.leftovers());
    mayHaveLeft = fault !== undefined;
    return fault;
  }

  return {
    mesh,
    tally,
    rollsBack: (batch) => rollBack(batch),
    commitsAlike: (batch) => commit({ ...batch, sessions: [batch.sessions[0], []], isTwoGids: false }),
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}

function count(tally: Tally, outcomes: Outcomes): void {
  tally.batches += 1;
  for (const { outcome } of outcomes) {
    tally.statements += 1;
    tally[outcome.kind] += 1;
    if (outcome.kind === 'ran' && (outcome.count ?? 0) > 0) tally.touched += 1;
    const why = outcome.kind === 'refused' ? outcome.message : outcome.kind === 'failed' ? outcome.code : undefined;
    if (why !== undefined) tally.reasons.set(why, (tally.reasons.get(why) ?? 0) + 1);
  }
}

/** How long a decision may take on a busy machine, and how often it is asked about: a dirty branch tells of itself only when asked. */
const END_MS_MAX = 30_000;
const ASK_MS = 500;

/** Decides the gid, and says how it ended if not as decided. */
async function end(mesh: Mesh, gid: Gid, outcome: 'commit' | 'rollback'): Promise<string | undefined> {
  await (outcome === 'commit' ? mesh.coordinator.submit(gid) : mesh.coordinator.abort(gid, {}));
  const wanted = outcome === 'commit' ? 'succeed' : 'failed';
  const deadline = monotonicSeconds() + END_MS_MAX / 1000;
  for (;;) {
    const view = await mesh.coordinator.read(gid, ASK_MS);
    if (view?.status === wanted) return undefined;
    const isDirty = view?.branches.some(({ status }) => status === 'dirty') === true;
    if (isDirty || monotonicSeconds() > deadline)
      return `the ${outcome} did not end: ${view?.status} ${JSON.stringify(view?.branches)}`;
  }
}

const DUMP = TABLES.map(
  ({ name }) =>
    `SELECT '${name.replaceAll("'", "''")}' AS name, array(SELECT x.*::text FROM ${name} AS x ORDER BY 1) AS images`,
).join(' UNION ALL ');

/** Every row of every table as text, under pinned settings; prepared once, because planning it costs more than running it. */
async function dump(client: pg.Client): Promise<ReadonlyMap<string, readonly string[]>> {
  const { rows } = await client.query<{ name: string; images: readonly string[] }>({ name: 'dump', text: DUMP });
  return new Map(rows.map(({ name, images }) => [name, images]));
}

type Dump = Awaited<ReturnType<typeof dump>>;

function difference(wanted: Dump, got: Dump): string | undefined {
  const lines = [...wanted].flatMap(([name, images]) => {
    const other = got.get(name) ?? [];
    const [gone, more] = [images.filter((row) => !other.includes(row)), other.filter((row) => !images.includes(row))];
    const isAlike = isDeepStrictEqual(images, other);
    return isAlike ? [] : [`${name}\n  wanted ${JSON.stringify(gone)}\n  got    ${JSON.stringify(more)}`];
  });
  return lines.length === 0 ? undefined : lines.join('\n');
}

function leftBehind(left: string): string | undefined {
  return left === NOTHING_LEFT ? undefined : `left behind: ${left}`;
}
