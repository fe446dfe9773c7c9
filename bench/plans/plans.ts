/** What ten thousand texts that never come again do to statements that do, in one session inside a global transaction. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { percentileOf, startChild, startDatabaseSidecar, type Part, type Result } from '../measure.ts';
import { measurePlanning } from './planning.ts';

const TEXTS = 10_000;
/** The sessions take turns, so that what else the machine does falls on all. */
const ROUNDS = 20;
/** Known statements come in turn: so many different ones, and one of them after so many texts. */
const KNOWN = 20;
const TEXTS_BETWEEN = 20;
const SAMPLES = 50;
const WARM_UPS = 500;
/** How much slower the last new text may be than the first. */
const RATIO_MAX = 1.2;

/** A table for each session: rows of a global transaction are locked until it ends. */
const TABLES = ['account_1', 'account_2', 'account_3', 'account_4'];
const SCHEMA = TABLES.map(
  (table) => `create table ${table} (id int primary key, balance bigint not null);
  insert into ${table} select id, 0 from generate_series(1, 1000) id;`,
).join('\n');

async function run(): Promise<readonly Result[]> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
  try {
    return await runIn(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runIn(folder: string): Promise<readonly Result[]> {
  await using postgres = await startPostgres();
  await postgres.run('postgres', SCHEMA);
  await initialiseDatabase({ connectionString: postgres.url('postgres') });
  await using coordinator = await startChild('coordinator-process.ts', join(folder, 'bench.db'));
  const url = `http://127.0.0.1:${coordinator.port}`;
  await using sidecar = await startDatabaseSidecar(postgres.port, { url });
  const transactions = connectCoordinator({ url, timeoutMs: 5_000 });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => transactions.close());
  const sessions: Session[] = [];
  const open = async (other: Other, prepare: string): Promise<Session> => {
    const client = new pg.Client({ host: '127.0.0.1', port: sidecar.port, user: 'postgres', database: 'postgres' });
    stack.defer(() => client.end());
    await client.connect();
    await client.query(prepare);
    const session = new Session(client, TABLES[sessions.length] ?? '', other);
    sessions.push(session);
    return session;
  };
  // As many statements with as many records in each session: the texts alone make the difference.
  const plain = { same: await open(SAME, ''), others: await open(OTHERS, '') };
  const gids = [await transactions.begin({ timeoutMs: 600_000 }), await transactions.begin({ timeoutMs: 600_000 })];
  const [one, two] = gids.map(({ gid }) => `set atomesh.gid = '${gid}'`);
  const captured = { same: await open(SAME, one ?? ''), others: await open(OTHERS, two ?? '') };
  for (const session of sessions) await session.known(WARM_UPS);
  for (let round = 0; round < ROUNDS; round += 1) for (const session of sessions) await session.flood(TEXTS / ROUNDS);
  for (let round = 0; round < ROUNDS; round += 1)
    for (const session of sessions) session.after.push(...(await session.known(SAMPLES)));
  await Promise.all(gids.map(({ gid }) => transactions.submit(gid)));
  await Promise.all(gids.map(({ gid }) => transactions.read(gid, 60_000)));
  const planning = await measurePlanning(postgres.url('postgres'), TABLES[0] ?? '', TEXTS);
  return [...planning, ...resultsOf(plain, captured)];
}

/** The time that a tenth of them stay below: what else the machine does makes some slower, and none quicker. */
const quick = (times: readonly number[]): number => percentileOf(times, 0.1);

interface Pair {
  readonly same: Session;
  readonly others: Session;
}

/**
 * How much slower a known statement is between new ones depends on the machine, whose caches those fill: it is only said. What new
 * ones cost must not grow with their number.
 */
function resultsOf(plain: Pair, captured: Pair): readonly Result[] {
  const slowed = ({ same, others }: Pair, when: 'during' | 'after'): number => quick(others[when]) / quick(same[when]);
  const compared = (name: string, when: 'during' | 'after'): Result => {
    const [value, baseline] = [slowed(captured, when), slowed(plain, when)];
    return { name, value, unit: 'times', baseline, ratio: value / baseline, pass: true };
  };
  const tenth = TEXTS / 10;
  const { texts } = captured.others;
  const [value, baseline] = [quick(texts.slice(-tenth)), quick(texts.slice(0, tenth))];
  const ratio = value / baseline;
  return [
    compared(`a known captured update while ${TEXTS} texts come once: slowed down, against a plain one`, 'during'),
    compared('the same, after them', 'after'),
    {
      name: `a captured update whose text is new, the last ${tenth} against the first ${tenth} (at most)`,
      value,
      unit: 'ms',
      baseline,
      ratio,
      target: RATIO_MAX,
      pass: ratio <= RATIO_MAX,
    },
  ];
}

/** A statement between known ones. */
type Other = (table: string, row: number, number: number) => pg.QueryConfig;
const SAME: Other = (table, row) => ({ text: `update ${table} set balance = 1 where id = $1`, values: [row] });
const OTHERS: Other = (table, row, number) => ({ text: `update ${table} set balance = ${number} where id = ${row}` });

/** Times are in milliseconds. */
class Session {
  /** Of known statements while others come, and after them, and of the others. */
  readonly during: number[] = [];
  readonly after: number[] = [];
  readonly texts: number[] = [];
  readonly #client: pg.Client;
  readonly #table: string;
  readonly #other: Other;
  #turn = 0;

  constructor(client: pg.Client, table: string, other: Other) {
    this.#client = client;
    this.#table = table;
    this.#other = other;
  }

  async flood(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      const number = this.texts.length;
      this.texts.push(await this.#timed(this.#other(this.#table, (number % 900) + 100, number)));
      if (number % TEXTS_BETWEEN === 0) this.during.push(...(await this.known(1)));
    }
  }

  async known(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let index = 0; index < count; index += 1) {
      this.#turn += 1;
      const place = this.#turn % KNOWN;
      // Prepared by name every other time, and unnamed in between, as drivers do either.
      const text = `update ${this.#table} set balance = balance + ${place} where id = $1`;
      const name = place % 2 === 0 ? { name: `known_${place}` } : {};
      times.push(await this.#timed({ text, values: [place + 1], ...name }));
    }
    return times;
  }

  async #timed(query: pg.QueryConfig): Promise<number> {
    const start = performance.now();
    await this.#client.query(query);
    return performance.now() - start;
  }
}

export const plansPart: Part = { name: 'plans', run };
