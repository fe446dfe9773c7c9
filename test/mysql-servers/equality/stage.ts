/** A server with the tables of a seed, twice, and the laws that every batch of statements must keep there. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection, type Connection } from 'mysql2/promise';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import type { TableFacts } from '../../../proxy/mysql/catalog.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { monotonicSeconds } from '../../../src/platform/clock.ts';
import { openWorld, type World } from '../second-phase/world.ts';
import { unlike } from './alike.ts';
import { directClient, errnoOf, type Client, type Heard } from './client.ts';
import { OWN, TWIN, difference, dump, makeTables, reset } from './database.ts';
import type { Batch } from './grammar.ts';
import { act, ask, lineUp, render } from './play.ts';
import { tablesOf, type Flavour, type Table } from './tables.ts';
import { byParts, bySidecar, type Way } from './ways.ts';

/** How much of what was generated has taken effect. */
export interface Tally {
  batches: number;
  statements: number;
  /** Changes that were captured, and changed nothing or something. */
  captured: number;
  /** Carried out without being captured, because they change nothing. */
  passed: number;
  refused: number;
  failed: number;
  /** Questions about statements that were answered, and those that were not. */
  answered: number;
  unanswered: number;
  /** Undo records that have been written. */
  records: number;
  /** Batches that were not compared to their end, because a refused statement had been given numbers. */
  cut: number;
  /** Why statements did not run, and how often. */
  readonly reasons: Map<string, number>;
}

/** Says what is wrong after a batch; undefined when nothing is. */
export type Law = (batch: Batch) => Promise<string | undefined>;

export interface Stage extends AsyncDisposable {
  readonly world: World;
  readonly way: Way;
  readonly tally: Tally;
  /** Makes the tables of another seed, and answers them. */
  load(seed: number): Promise<readonly Table[]>;
  /** Runs the batch in one or two gids, rolls them back, and says what is not as before. */
  readonly rollsBack: Law;
  /** Runs the first session's part of the batch in a gid that commits, and without one on the twin, and says what differs. */
  readonly commitsAlike: Law;
}

export interface StageOptions {
  readonly flavour: Flavour;
  readonly start: () => Promise<MariadbServer>;
  /** What stands between: the parts of a session alone, or a sidecar, which prepares what it cannot capture or refuses it. */
  readonly through: 'parts' | 'sidecar' | 'sidecar that escalates';
}

/** How long a sidecar may take tables for those of the seed before, which have the same names. */
const FACTS_MS = 2_500;

/** Starts a server. Tables have to be loaded before the first batch. */
export async function startStage({ flavour, start, through: kind }: StageOptions): Promise<Stage> {
  const world = await openWorld(start, 'DO 0');
  const opened = new Set<Connection>();
  const connections = new Map<string, Connection>();
  const tally: Tally = {
    batches: 0,
    statements: 0,
    captured: 0,
    passed: 0,
    refused: 0,
    failed: 0,
    answered: 0,
    unanswered: 0,
    records: 0,
    cut: 0,
    reasons: new Map(),
  };
  const known = new Map<string, TableFacts | 'none'>();
  const way =
    kind === 'parts'
      ? byParts(world, OWN[0], known)
      : await bySidecar(world, OWN[0], kind === 'sidecar' ? 'off' : 'xa');
  let tables: readonly Table[] = [];
  let loaded: number | undefined;

  const connectionOf = async (database: string, countsFound: boolean, session: number): Promise<Connection> => {
    const name = JSON.stringify([database, countsFound, session]);
    const found = connections.get(name);
    if (found !== undefined) return found;
    const flags = countsFound ? [] : ['-FOUND_ROWS'];
    const connection = await createConnection({
      ...world.login,
      port: database === OWN[0] ? way.port : world.server.port,
      database,
      flags,
      multipleStatements: true,
      supportBigNumbers: true,
      dateStrings: true,
    });
    // Its session's client is told, and the next batch gets another one.
    const forget = (): void => {
      connections.delete(name);
      opened.delete(connection);
    };
    connection.on('error', forget);
    connection.on('end', forget);
    opened.add(connection);
    connections.set(name, connection);
    return connection;
  };
  const through = async (batch: Batch, session: 0 | 1, gid: Gid): Promise<Client> => {
    const connection = await connectionOf(OWN[0], batch.settings.countsFound, session);
    const client = way.client(connection, gid);
    await client.set(batch.settings);
    return client;
  };
  /** Ends what is open in the sessions, so that the next batch begins with none. */
  const settle = async (): Promise<void> => {
    for (const connection of opened) {
      for (const sql of ['ROLLBACK', 'SET @atomesh_gid = NULL', 'SET autocommit = 1'])
        await connection.query(sql).catch(errnoOf);
    }
  };

  async function rollBack(batch: Batch): Promise<string | undefined> {
    await clean(world);
    await reset(world, tables, false);
    const before = await dump(world, tables, OWN);
    const one = await way.begin();
    const gids = [one, batch.isTwoGids && batch.sessions[1].length > 0 ? await way.begin() : one] as const;
    const clients = [await through(batch, 0, gids[0]), await through(batch, 1, gids[1])] as const;
    for (const action of lineUp(batch)) {
      const client = clients[action.session];
      count(tally, await act(client, action, OWN, batch.settings.modes));
      countAnswers(tally, await ask(client, action));
    }
    await settle();
    tally.records += await recordsIn(world);
    tally.batches += 1;
    // At once: what one has prepared may be in the way of the other, until it ends.
    const faults = await Promise.all([...new Set(gids)].map((gid) => way.end(gid, 'rollback')));
    const fault = faults.find((each) => each !== undefined);
    if (fault !== undefined) return fault;
    return difference(before, await dump(world, tables, OWN)) ?? leftBehind(world, gids, 'rolled_back');
  }

  async function commit(batch: Batch): Promise<string | undefined> {
    await clean(world);
    await reset(world, tables, true);
    const gid = await way.begin();
    const own = await through(batch, 0, gid);
    const twin = directClient(await connectionOf(TWIN[0], batch.settings.countsFound, 0));
    await twin.set(batch.settings);
    const { modes } = batch.settings;
    let knowsIds = true;
    for (const action of lineUp({ ...batch, sessions: [batch.sessions[0], []] })) {
      const heard = await act(own, action, OWN, modes);
      count(tally, heard);
      if (heard?.kind === 'refused') {
        knowsIds = false;
        if (!heard.isGone && (action.kind !== 'statement' || !action.step.isNumbered)) continue;
        tally.cut += 1;
        // What is open is open in both, or in neither.
        await (heard.isGone ? twin.control('ROLLBACK') : undefined);
        break;
      }
      const told = { heard, answers: await ask(own, action) };
      countAnswers(tally, told.answers);
      const wanted = { heard: await act(twin, action, TWIN, modes), answers: await ask(twin, action) };
      if (action.kind !== 'statement') continue;
      const fault = unlike(told, wanted, action, batch.settings, {
        knowsIds,
        way: kind === 'sidecar that escalates' ? 'escalates' : 'captures',
      });
      if (fault === undefined) continue;
      await settle();
      return `${render(action.step, OWN, modes).sql}\n${fault}`;
    }
    await settle();
    tally.records += await recordsIn(world);
    tally.batches += 1;
    const fault = await way.end(gid, 'commit');
    return (
      fault ??
      difference(await dump(world, tables, TWIN), await dump(world, tables, OWN)) ??
      leftBehind(world, [gid], 'committed')
    );
  }

  return {
    world,
    way,
    tally,
    async load(seed) {
      const since = monotonicSeconds();
      const isOther = loaded !== undefined && loaded !== seed;
      loaded = seed;
      known.clear();
      for (const connection of opened) connection.destroy();
      opened.clear();
      connections.clear();
      tables = tablesOf(seed, flavour);
      await makeTables(world, tables);
      if (isOther) await sleep(Math.max(0, FACTS_MS - (monotonicSeconds() - since) * 1000));
      return tables;
    },
    rollsBack: (batch) => rollBack(batch),
    commitsAlike: (batch) => commit(batch),
    async [Symbol.asyncDispose]() {
      for (const connection of opened) connection.destroy();
      await way[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

function count(tally: Tally, heard: Heard | undefined): void {
  if (heard === undefined) return;
  tally.statements += 1;
  if (heard.kind === 'ok') tally.captured += 1;
  else if (heard.kind === 'rows') tally.passed += 1;
  else if (heard.kind === 'error') tally.failed += 1;
  else tally.refused += 1;
  if (heard.kind === 'ok' || heard.kind === 'rows') return;
  const why = heard.kind === 'error' ? `error ${heard.errno}` : heard.message;
  tally.reasons.set(why, (tally.reasons.get(why) ?? 0) + 1);
}

function countAnswers(tally: Tally, answers: readonly Heard[]): void {
  const answered = answers.filter(({ kind }) => kind === 'rows').length;
  tally.answered += answered;
  tally.unanswered += answers.length - answered;
}

/** What a batch that broke a law may have left must not meet the next one. */
async function clean({ admin }: World): Promise<void> {
  await admin.query('DELETE FROM atomesh.undo_record; DELETE FROM atomesh.row_lock');
}

async function recordsIn(world: World): Promise<number> {
  return Number((await world.lines('SELECT count(*) FROM atomesh.undo_record'))[0]);
}

/** Of undo records and row locks nothing stays, and of the states what has become of the branches. */
async function leftBehind(world: World, gids: readonly Gid[], state: string): Promise<string | undefined> {
  const left = await world.lines(
    `SELECT 'record', gid FROM atomesh.undo_record UNION ALL SELECT concat('lock ', relation, ' ', lock_key), gid FROM atomesh.row_lock
     UNION ALL SELECT state, gid FROM atomesh.branch_state WHERE gid IN ('${gids.join("', '")}') AND state <> '${state}'`,
  );
  return left.length === 0 ? undefined : `left behind: ${left.join('; ')}`;
}
