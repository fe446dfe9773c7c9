/** The shop's databases as its administrator sets them up: one server, a database for each service, two roles. */
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { newId } from '../../src/platform/random.ts';
import { startPostgres, type PostgresServer } from '../support/postgres-server.ts';

export type ServiceName = 'orders' | 'accounts' | 'stock';

/** In the order in which an order passes through them. */
export const SERVICES: readonly ServiceName[] = ['orders', 'accounts', 'stock'];

/** `shop` owns the business tables: the services log in as it. `atomesh` is the sidecars' own, for the second phase. */
export type Role = 'shop' | 'atomesh';

export interface ShopDatabases extends AsyncDisposable {
  readonly server: PostgresServer;
  /** Made up for this run; both roles log in with SCRAM-SHA-256. */
  readonly passwords: Readonly<Record<Role, string>>;
  /** For one role, straight to the database. */
  url(database: ServiceName, role: Role): string;
}

/** Starts PostgreSQL and fills the three databases with the shop's tables. */
export async function openDatabases(): Promise<ShopDatabases> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startPostgres());
  const passwords = { shop: newId(), atomesh: newId() };
  const url = (database: ServiceName, role: Role): string =>
    `postgres://${role}:${passwords[role]}@127.0.0.1:${server.port}/${database}`;

  await server.run(
    'postgres',
    `create role shop login password '${passwords.shop}'; create role atomesh login password '${passwords.atomesh}'`,
  );
  await server.authenticate([
    'host all shop 127.0.0.1/32 scram-sha-256',
    'host all atomesh 127.0.0.1/32 scram-sha-256',
  ]);
  for (const database of SERVICES) {
    await server.run('postgres', `create database ${database} owner shop`);
    // `atomesh db init` makes the schema atomesh with this right.
    await server.run('postgres', `grant create on database ${database} to atomesh`);
    await query(url(database, 'shop'), await readFile(new URL(`${database}.sql`, import.meta.url), 'utf8'));
  }
  const owned = stack.move();
  return { server, passwords, url, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Runs one text over a connection of its own; the rows of its last statement, every value as text. */
export async function query(url: string, sql: string, values: readonly string[] = []): Promise<readonly TextRow[]> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5000,
    statement_timeout: 10_000,
    types: { getTypeParser: () => (text: string) => text },
  });
  await client.connect();
  try {
    const result = values.length === 0 ? await client.query(sql) : await client.query(sql, [...values]);
    return (Array.isArray(result) ? result.at(-1) : result).rows as TextRow[];
  } finally {
    await client.end();
  }
}

export type TextRow = Readonly<Record<string, string | null>>;
