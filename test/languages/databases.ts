/** The databases of the services: two servers of different versions, a database for each service, two roles. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dump, leftovers } from '../../examples/shop/books.ts';
import { query, type TextRow } from '../../examples/shop/databases.ts';
import { type PostgresServer, startPostgres } from '../../examples/support/postgres-server.ts';
import { newId } from '../../src/platform/random.ts';
import type { Service, ServiceName } from './services.ts';

/** `shop` owns the tables: the services log in as it. `atomesh` is the sidecars' own, for the second phase. */
type Role = 'shop' | 'atomesh';

export interface Databases extends AsyncDisposable {
  readonly passwords: Readonly<Record<Role, string>>;
  portOf(service: Service): number;
  /** Straight to the database, past the sidecar; every value as text. */
  query(service: ServiceName, sql: string): Promise<readonly TextRow[]>;
  /** Every row of every business table, as text, in one order: equal texts mean equal databases. */
  dump(): Promise<string>;
  /** What global transactions have left behind, in words; empty when nothing. */
  leftovers(): Promise<string>;
}

/** Starts both servers and makes the tables of `services`. */
export async function openDatabases(services: readonly Service[]): Promise<Databases> {
  await using stack = new AsyncDisposableStack();
  const passwords = { shop: newId(), atomesh: newId() };
  const servers = [stack.use(await startPostgres()), stack.use(await startPostgres({ major: 15 }))] as const;
  for (const server of servers) await makeRoles(server, passwords);
  const url = ({ name, server }: Service, role: Role): string =>
    `postgres://${role}:${passwords[role]}@127.0.0.1:${servers[server].port}/${name}`;
  for (const service of services) await makeDatabase(servers[service.server], service, url(service, 'shop'));

  const owned = stack.move();
  return {
    passwords,
    portOf: ({ server }) => servers[server].port,
    async query(name, sql) {
      const service = services.find((candidate) => candidate.name === name);
      if (service === undefined) throw new Error(`there is no database ${name}`);
      return query(url(service, 'shop'), sql);
    },
    async dump() {
      const parts: string[] = [];
      for (const service of services) parts.push(`database ${service.name}`, await dump(url(service, 'shop')));
      return parts.join('\n');
    },
    async leftovers() {
      const found: string[] = [];
      for (const service of services) {
        const { records, locks } = await leftovers(url(service, 'atomesh'));
        if (records + locks > 0) found.push(`${records} undo records and ${locks} row locks in ${service.name}`);
      }
      return found.join(', ');
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function makeRoles(server: PostgresServer, passwords: Readonly<Record<Role, string>>): Promise<void> {
  await server.run(
    'postgres',
    `create role shop login password '${passwords.shop}'; create role atomesh login password '${passwords.atomesh}'`,
  );
  await server.authenticate([
    'host all shop 127.0.0.1/32 scram-sha-256',
    'host all atomesh 127.0.0.1/32 scram-sha-256',
  ]);
}

async function makeDatabase(server: PostgresServer, { name, folder }: Service, url: string): Promise<void> {
  await server.run('postgres', `create database ${name} owner shop`);
  // `atomesh db init` makes the schema atomesh with this right.
  await server.run('postgres', `grant create on database ${name} to atomesh`);
  await query(url, await readFile(join(folder, 'schema.sql'), 'utf8'));
  await query(url, 'grant select, insert, update, delete on all tables in schema public to atomesh');
}
