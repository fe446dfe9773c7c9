/** Carries captures out as a session would, over a driver's connection: the plans are pure, and this is all that they leave to do. */
import { createSecretKey } from 'node:crypto';
import type mysql from 'mysql2/promise';
import { CATALOG_COLUMNS, catalogSql } from '../../../proxy/mysql/catalog-sql.ts';
import { readFacts, type TableFacts } from '../../../proxy/mysql/catalog.ts';
import { parse } from '../../../proxy/mysql/parse.ts';
import { plan, type PlanContext } from '../../../proxy/mysql/plan.ts';
import { INSERT_RECORD } from '../../../proxy/mysql/schema.ts';
import { sealOf } from '../../../proxy/mysql/seal.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';
import {
  ours,
  readFound,
  type Capture,
  type Found,
  type RowLock,
  type Step,
} from '../../../proxy/mysql/undo/capture.ts';
import type { ParameterValue } from '../../../proxy/mysql/undo/given.ts';
import { encodeRecord, type UndoRecord } from '../../../proxy/mysql/undo/record.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { RESOURCE, enter, rowsOf, type World } from '../second-phase/world.ts';

type Value = string | number | null;

/** What the client hears of its statement. */
export type Heard =
  | {
      readonly kind: 'ok';
      readonly affectedRows: number;
      readonly insertId: string;
      readonly info: string;
      readonly warnings: number;
    }
  /** RETURNING. */
  | { readonly kind: 'rows'; readonly rows: readonly string[] }
  | { readonly kind: 'error'; readonly errno: number }
  | { readonly kind: 'refused'; readonly message: string };

export interface Ran {
  readonly heard: Heard;
  readonly records: readonly UndoRecord[];
  readonly locks: readonly string[];
  /** What the rows refer to now, and what they did refer to; keys of theirs that are free. Each as relation and key. */
  readonly references: Readonly<Record<'shared' | 'claims' | 'freed', readonly string[]>>;
}

const NONE = { records: [], locks: [], references: { shared: [], claims: [], freed: [] } };

export interface Runner {
  /** One statement of the client, captured in the local transaction that is open, for a branch of the gid. */
  run(gid: Gid, sql: string, values?: readonly Value[]): Promise<Ran>;
}

export interface RunnerOptions {
  readonly database: string;
  readonly countsFound: boolean;
  readonly hasPhantoms: boolean;
  readonly noBackslashEscapes?: boolean;
  readonly ansiQuotes?: boolean;
  /** Facts by database and table, for several runners to share; one that is alone keeps its own. */
  readonly known?: Map<string, TableFacts | 'none'>;
  /** Called before the change of each try, as other clients would do something then. */
  readonly meanwhile?: () => Promise<void>;
}

const TRIES_MAX = 4;

/** A runner for the local transactions of one connection. Facts are asked over the administrator's. */
export async function createRunner(
  world: World,
  connection: mysql.Connection,
  options: RunnerOptions,
): Promise<Runner> {
  await loadGrammar();
  const known = options.known ?? new Map<string, TableFacts | 'none'>();
  const [{ secret } = { secret: Buffer.alloc(0) }] = await rowsOf<{ secret: Buffer }>(
    world.admin,
    'SELECT secret FROM atomesh.seal_secret',
  );
  const context = (parameters: readonly ParameterValue[]): PlanContext => ({
    database: options.database,
    facts: (database, table) => known.get(`${database}.${table}`),
    parameters,
  });

  const [{ version } = { version: '' }] = await rowsOf<{ version: string }>(world.admin, 'SELECT VERSION() AS version');
  const isMariadb = /mariadb/i.test(version);
  const server = { isMariadb, version: isMariadb ? 101_100 : 80_015, ignoresSpace: false };
  const planned = async (sql: string, values: readonly Value[]): Promise<Capture | string> => {
    const parsed = parse(ours(sql), {
      charset: 'utf8',
      noBackslashEscapes: options.noBackslashEscapes ?? false,
      ansiQuotes: options.ansiQuotes ?? false,
      server,
    });
    if (parsed.kind === 'unreadable') return parsed.message;
    const [statement] = parsed.statements;
    if (statement === undefined) return 'nothing';
    for (;;) {
      const found = plan(statement, context(values.map((value) => (value === null ? null : { text: String(value) }))));
      if (found.kind === 'capture') return found;
      if (found.kind === 'refuse') return found.refusal.message;
      if (found.kind !== 'facts-needed') return `not captured: ${found.kind}`;
      for (const { database, table } of found.tables) {
        known.set(`${database}.${table}`, await factsOf(world, database, table));
      }
    }
  };

  const attempt = async (
    gid: Gid,
    capture: Capture,
    values: readonly Value[],
    locks: boolean,
  ): Promise<Ran | 'again'> => {
    const refused = (message: string): Ran => ({ heard: { kind: 'refused', message }, ...NONE });
    const take = async (step: Step): Promise<Found | string> => {
      const found = readFound(capture.tables, await read(connection, step, values), 1000);
      return found.kind === 'found' ? found.found : found.refusal.message;
    };
    const before = capture.before === undefined ? [] : await take(capture.before(locks));
    if (typeof before === 'string') return refused(before);
    if (capture.looksFirst && !locks && before.some((rows) => rows.length > 0)) return 'again';
    await options.meanwhile?.();
    const change = capture.change(before);
    const heard = await send(connection, change, values);
    if (heard.kind === 'error' && heard.errno === 1062 && change.isPlain) return 'again';
    const isRows = heard.kind === 'rows';
    if (heard.kind !== 'ok' && !(isRows && capture.answersRows)) return { heard, ...NONE };
    const outcome = {
      ...options,
      affectedRows: isRows ? heard.rows.length : heard.affectedRows,
      insertId: isRows ? '0' : heard.insertId,
    };
    const step = capture.after?.(before, outcome);
    const after = step === undefined ? capture.tables.map(() => []) : await take(step);
    if (typeof after === 'string') return refused(after);
    const concluded = capture.conclude(before, outcome, after);
    if (concluded.kind === 'again') return 'again';
    if (concluded.kind === 'refuse') return refused(concluded.refusal.message);
    for (const record of concluded.records) {
      const body = encodeRecord(record);
      // In hexadecimal: NO_BACKSLASH_ESCAPES reads the driver's escapes otherwise.
      const bytes = Buffer.from(body);
      await connection.query(INSERT_RECORD, [
        gid,
        RESOURCE,
        bytes,
        sealOf(createSecretKey(secret), { gid, resource: RESOURCE, body }),
      ]);
    }
    for (const { relation, key } of concluded.locks) {
      await connection.query(
        'INSERT INTO atomesh.row_lock (relation, lock_key, gid, resource) VALUES (?) ON DUPLICATE KEY UPDATE gid = VALUES(gid)',
        [[relation, key, gid, RESOURCE]],
      );
    }
    const { records, locks: taken, shared, claims, freed } = concluded;
    return {
      heard,
      records,
      locks: taken.map(nameOf),
      references: { shared: shared.map(nameOf), claims: claims.map(nameOf), freed: freed.map(nameOf) },
    };
  };

  return {
    async run(gid, sql, values = []) {
      const capture = await planned(sql, values);
      if (typeof capture === 'string') return { heard: { kind: 'refused', message: capture }, ...NONE };
      let ran: Ran | 'again' = 'again';
      for (let tries = 0; ran === 'again' && tries < TRIES_MAX; tries += 1) {
        await connection.query('SAVEPOINT atomesh');
        ran = await attempt(gid, capture, values, tries > 0 || !capture.looksFirst);
        if (ran === 'again' || ran.heard.kind === 'refused') await connection.query('ROLLBACK TO SAVEPOINT atomesh');
      }
      return ran === 'again' ? { heard: { kind: 'refused', message: 'again and again' }, ...NONE } : ran;
    },
  };
}

/** What the catalogue says of a table. */
export async function factsOf(world: World, database: string, table: string): Promise<TableFacts | 'none'> {
  const rows = await read(world.admin, { sql: catalogSql(database, table), parameters: [] }, []);
  return readFacts(rows.map((row) => row.slice(0, CATALOG_COLUMNS))) ?? 'none';
}

function nameOf({ relation, key }: RowLock): string {
  return `${relation} ${key}`;
}

/** Opens a local transaction in a branch of the gid. */
export async function begin(world: World, connection: mysql.Connection, gid: Gid): Promise<void> {
  await world.finisher.open(gid, RESOURCE);
  await connection.query('BEGIN');
  const state = await enter(connection, gid);
  if (state !== 'active') throw new Error(`entered ${String(state)}`);
}

/** A statement as the client hears it when nobody stands between. */
export async function send(
  connection: mysql.Connection,
  { sql, parameters }: Step,
  values: readonly Value[],
): Promise<Heard> {
  const text = Buffer.from(sql, 'latin1').toString('utf8');
  const chosen = parameters.map((number) => values[number] ?? null);
  try {
    const [ok] = chosen.length === 0 ? await connection.query(text) : await connection.execute(text, chosen);
    if (Array.isArray(ok)) return { kind: 'rows', rows: ok.map((row) => JSON.stringify(row)) };
    const { affectedRows, insertId, info, warningStatus } = ok as mysql.ResultSetHeader & { info: string };
    return { kind: 'ok', affectedRows, insertId: String(insertId), info: info ?? '', warnings: warningStatus };
  } catch (error) {
    return { kind: 'error', errno: (error as { errno: number }).errno };
  }
}

/** The rows of a step, one character for each byte. */
export async function read(
  connection: mysql.Connection,
  { sql, parameters }: Step,
  values: readonly Value[],
): Promise<readonly (readonly (string | null)[])[]> {
  const options = { sql: Buffer.from(sql, 'latin1').toString('utf8'), rowsAsArray: true };
  const chosen = parameters.map((number) => values[number] ?? null);
  const [rows] = chosen.length === 0 ? await connection.query(options) : await connection.execute(options, chosen);
  return (rows as unknown as unknown[][]).map((row) =>
    row.map((value) =>
      Buffer.isBuffer(value) ? value.toString('latin1') : value === null ? null : `${value as string | number}`,
    ),
  );
}
