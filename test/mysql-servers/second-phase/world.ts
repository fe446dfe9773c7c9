/** What the tests of the second phase share: servers, and a stand-in for a session that captures, made of the same parts. */
import { createSecretKey } from 'node:crypto';
import mysql from 'mysql2/promise';
import { startMariadb, type MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { until } from '../../../examples/support/until.ts';
import type { Finisher } from '../../../proxy/branch/finish.ts';
import { CATALOG_COLUMNS, catalogSql } from '../../../proxy/mysql/catalog-sql.ts';
import { imageColumns, readFacts } from '../../../proxy/mysql/catalog.ts';
import { createFinisher } from '../../../proxy/mysql/finish.ts';
import { initialiseDatabase } from '../../../proxy/mysql/setup/init.ts';
import type { OwnLogin } from '../../../proxy/mysql/own-pool.ts';
import { ENTER_BRANCH, INSERT_RECORD } from '../../../proxy/mysql/schema.ts';
import { sealOf } from '../../../proxy/mysql/seal.ts';
import { keyIndex } from '../../../proxy/mysql/undo/lock-key.ts';
import { imageSql, type ImageColumn } from '../../../proxy/mysql/undo/image.ts';
import { encodeRecord, type ChangedRow } from '../../../proxy/mysql/undo/record.ts';
import { keyText } from '../../../proxy/mysql/rollback/tables.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { openLog, type Log } from '../../../src/platform/log.ts';
import { hasMysql, startMysql } from '../mysql-server.ts';

/** The servers that there are: MariaDB always, MySQL where its binaries are. Tests of both say of which they speak. */
export const SERVERS: readonly (readonly [name: string, start: () => Promise<MariadbServer>])[] = [
  ['MariaDB', startMariadb],
  ...(hasMysql ? [['MySQL', startMysql] as const] : []),
];

/** The name of the database's branches. */
export const RESOURCE = 'shop/db';

export const silent: Log = openLog('test', 'silent');

export interface World extends AsyncDisposable {
  readonly server: MariadbServer;
  readonly login: OwnLogin;
  readonly finisher: Finisher;
  /** An administrator's connection. */
  readonly admin: mysql.Connection;
  connect(isolation?: string): Promise<mysql.Connection>;
  /** All rows of a query, each as its values with blanks between them. */
  lines(sql: string): Promise<readonly string[]>;
}

/** A server with the schema of Atomesh and a database `shop`. */
export async function openWorld(start: () => Promise<MariadbServer>, tables: string): Promise<World> {
  const server = await start();
  try {
    return await prepare(server, tables);
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

async function prepare(server: MariadbServer, tables: string): Promise<World> {
  const login = { host: '127.0.0.1', port: server.port, user: server.user };
  const opened: mysql.Connection[] = [];
  const connect = async (isolation = 'read committed'): Promise<mysql.Connection> => {
    const connection = await mysql.createConnection({ ...login, multipleStatements: true });
    connection.on('error', () => undefined);
    opened.push(connection);
    await connection.query(
      `use shop; set session transaction isolation level ${isolation}; set innodb_lock_wait_timeout = 20`,
    );
    return connection;
  };
  await server.run(`create database shop; use shop; ${tables}`);
  await initialiseDatabase(login);
  const admin = await connect();
  const finisher = createFinisher({ connection: login, log: silent });
  return {
    server,
    login,
    finisher,
    admin,
    connect,
    async lines(sql) {
      const [rows] = await admin.query<mysql.RowDataPacket[]>({ sql, rowsAsArray: true });
      return rows.map((row) => (row as unknown as unknown[]).map(String).join(' '));
    },
    async [Symbol.asyncDispose]() {
      await finisher.close();
      for (const connection of opened) connection.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Waits until `holds`. */
export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  await until(what, async () => ((await holds()) ? true : undefined));
}

/** The rows of a statement. */
export async function rowsOf<Row>(connection: mysql.Connection, sql: string, values: unknown[] = []): Promise<Row[]> {
  const [rows] = await connection.query(sql, values);
  return rows as unknown as Row[];
}

/** Enters the branch in the local transaction that is open, as a session does. Answers what it was told. */
export async function enter(connection: mysql.Connection, gid: Gid): Promise<string | undefined> {
  return (await rowsOf<{ state: string }>(connection, ENTER_BRANCH, [gid, RESOURCE]))[0]?.state;
}

interface Shape {
  readonly columns: readonly ImageColumn[];
  readonly key: readonly string[];
}

/** By connection and table: asking takes longer than all the rest. A test that alters a table does so on another connection. */
const shapes = new WeakMap<mysql.Connection, Map<string, Shape>>();

async function shapeOf(connection: mysql.Connection, table: string): Promise<Shape> {
  const known = shapes.get(connection) ?? new Map<string, Shape>();
  shapes.set(connection, known);
  const found = known.get(table);
  if (found !== undefined) return found;
  const [catalog] = await connection.query<mysql.RowDataPacket[]>({
    sql: catalogSql('shop', table),
    rowsAsArray: true,
  });
  const facts = readFacts(catalog.map((row) => (row as unknown as (string | null)[]).slice(0, CATALOG_COLUMNS)));
  const columns = facts && imageColumns(facts);
  const key = facts && keyIndex(facts)?.columns.flatMap(({ name }) => name ?? []);
  if (columns === undefined || key === undefined) throw new Error(`${table} cannot be captured`);
  known.set(table, { columns, key });
  return { columns, key };
}

/** One statement that changes rows of one table, with its record, in the local transaction that is open. */
export async function captured(connection: mysql.Connection, gid: Gid, table: string, sql: string): Promise<number> {
  const { columns, key } = await shapeOf(connection, table);
  const images = async (): Promise<Map<string, string>> => {
    const rows = await rowsOf<{ image: Buffer }>(
      connection,
      `SELECT ${imageSql(columns, 'x')} AS image FROM ${table} AS x FOR UPDATE`,
    );
    return new Map(
      rows.map(({ image }) => [keyText({ columns, key }, image.toString('latin1')), image.toString('latin1')]),
    );
  };
  const before = await images();
  await connection.query(sql);
  const after = await images();
  const rows: ChangedRow[] = [...new Set([...before.keys(), ...after.keys()])]
    .filter((each) => before.get(each) !== after.get(each))
    .map((each) => ({ before: before.get(each), after: after.get(each) }));
  if (rows.length === 0) return 0;
  const body = encodeRecord({ database: 'shop', table, columns, key, rows });
  const [{ secret } = { secret: Buffer.alloc(0) }] = await rowsOf<{ secret: Buffer }>(
    connection,
    'SELECT secret FROM atomesh.seal_secret',
  );
  const seal = sealOf(createSecretKey(secret), { gid, resource: RESOURCE, body });
  await connection.query(INSERT_RECORD, [gid, RESOURCE, body, seal]);
  for (const row of rows) {
    const lock = [table, keyText({ columns, key }, row.before ?? row.after ?? ''), gid, RESOURCE];
    await connection.query(
      'INSERT INTO atomesh.row_lock (relation, lock_key, gid, resource) VALUES (?) ON DUPLICATE KEY UPDATE gid = VALUES(gid)',
      [lock],
    );
  }
  return rows.length;
}

/** A local transaction of captured statements, each as table and SQL. */
export async function change(
  world: World,
  gid: Gid,
  statements: readonly (readonly [table: string, sql: string])[],
  isolation?: string,
): Promise<void> {
  await world.finisher.open(gid, RESOURCE);
  const connection = await world.connect(isolation);
  await connection.query('begin');
  const state = await enter(connection, gid);
  if (state !== 'active') throw new Error(`entered ${String(state)}`);
  for (const [table, sql] of statements) await captured(connection, gid, table, sql);
  await connection.query('commit');
  connection.destroy();
}
