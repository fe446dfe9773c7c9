/** The bank on PostgreSQL. */
import pg from 'pg';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { commented } from '../sql-e2e/prove.ts';
import type { Account, Movement } from './history.ts';
import {
  ACCOUNTS_EACH,
  BALANCE,
  LISTS_EACH,
  LOCK_MS_MAX,
  QUERY_MS_MAX,
  type BankServer,
  type Books,
  type Change,
  type Ends,
  type Session,
} from './server.ts';

/** The names carry their service, so that accounts and lists of all can stand side by side. */
const schemaOf = (service: string): string => `
  CREATE TABLE account (account text PRIMARY KEY, balance int NOT NULL, version int NOT NULL);
  CREATE TABLE movement (gid text, account text, amount int NOT NULL, version int NOT NULL, balance int NOT NULL, PRIMARY KEY (gid, account));
  CREATE TABLE list (name text PRIMARY KEY, items int[] NOT NULL);
  INSERT INTO account SELECT '${service} ' || n, ${BALANCE}, 0 FROM generate_series(1, ${ACCOUNTS_EACH}) n;
  INSERT INTO list SELECT '${service} ' || n, '{}' FROM generate_series(1, ${LISTS_EACH}) n;
  CREATE FUNCTION move(of_gid text, of_account text, of_amount int) RETURNS void LANGUAGE sql AS $$
    UPDATE account SET balance = balance + of_amount, version = version + 1 WHERE account = of_account;
    INSERT INTO movement SELECT of_gid, of_account, of_amount, version, balance FROM account WHERE account = of_account $$;`;

const MOVE =
  'UPDATE account SET balance = balance + $2, version = version + 1 WHERE account = $1 RETURNING version, balance';
const WRITE_DOWN = 'INSERT INTO movement (gid, account, amount, version, balance) VALUES ($1, $2, $3, $4, $5)';

const LEFTOVERS = `
  SELECT (SELECT count(*)::int FROM atomesh.undo_record) AS "undo records", (SELECT count(*)::int FROM atomesh.row_lock) AS "row locks",
    (SELECT count(*)::int FROM atomesh.parent_claim) AS "claims",
    (SELECT count(*)::int FROM pg_prepared_xacts WHERE database = current_database()) AS "prepared transactions"`;

/** Starts a server. */
export async function startOnPostgres(): Promise<BankServer> {
  const server = await startPostgres();
  return {
    port: server.port,
    async create(service, fault) {
      await server.run('postgres', `CREATE DATABASE ${service}`);
      await initialiseDatabase({ connectionString: server.url(service) });
      await server.run(service, `${schemaOf(service)} ${fault}`);
    },
    upstream: (service, port) => ({
      upstream: `postgres://127.0.0.1:${port}/${service}`,
      credentials: { user: 'postgres' },
    }),
    connect: (service, port) => connect({ host: '127.0.0.1', port, user: server.user, database: service }),
    books: (service) => booksOf(server.url(service)),
    async crash() {
      await server.kill();
      await server.start();
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function connect(login: pg.ClientConfig): Promise<Session> {
  const client = new pg.Client({
    ...login,
    connectionTimeoutMillis: QUERY_MS_MAX,
    query_timeout: QUERY_MS_MAX,
    lock_timeout: LOCK_MS_MAX,
  });
  let isLost = false;
  const drop = (): void => {
    isLost = true;
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  };
  client.on('error', drop);
  try {
    await client.connect();
  } catch (error) {
    drop();
    throw error;
  }
  return sessionOf(client, { isLost: () => isLost, drop });
}

function sessionOf(client: pg.Client, ends: Ends): Session {
  const run = async <Row extends pg.QueryResultRow>(
    text: string,
    ...values: readonly unknown[]
  ): Promise<readonly Row[]> => (await client.query<Row>({ text, values: [...values] })).rows;
  return {
    get isLost() {
      return ends.isLost();
    },
    begin: async (gid: Gid) => void (await client.query(commented('BEGIN', gid))),
    async commit() {
      const { command } = await client.query('COMMIT');
      if (command !== 'COMMIT') throw new Error('the local transaction was rolled back');
    },
    lock: async (account) => void (await run('SELECT balance FROM account WHERE account = $1 FOR UPDATE', account)),
    async balances() {
      const rows = await run<{ balance: number }>('SELECT balance FROM account ORDER BY account FOR UPDATE');
      return rows.map(({ balance }) => balance);
    },
    async move({ gid, account, amount }: Change) {
      const [row] = await run<{ version: number; balance: number }>(MOVE, account, amount);
      await run(WRITE_DOWN, gid, account, amount, row?.version, row?.balance);
    },
    moveByRoutine: async ({ gid, account, amount }) =>
      void (await run('SELECT move($1, $2, $3)', gid, account, amount)),
    append: async (list, value) =>
      void (await run('UPDATE list SET items = items || $2::int WHERE name = $1', list, value)),
    async items(list) {
      const [row] = await run<{ items: readonly number[] }>('SELECT items FROM list WHERE name = $1 FOR UPDATE', list);
      return row?.items ?? [];
    },
    drop: ends.drop,
  };
}

async function booksOf(connectionString: string): Promise<Books> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  const ask = async <Row>(sql: string): Promise<readonly Row[]> =>
    (await client.query<Row & pg.QueryResultRow>(sql)).rows;
  try {
    const [leftovers = {}] = await ask<Readonly<Record<string, number>>>(LEFTOVERS);
    const lists = await ask<{ name: string; items: readonly number[] }>('SELECT name, items FROM list');
    return {
      accounts: await ask<Account>('SELECT * FROM account'),
      movements: await ask<Movement>('SELECT * FROM movement'),
      lists: new Map(lists.map(({ name, items }) => [name, items])),
      leftovers,
      states: await ask('SELECT gid, resource, state FROM atomesh.branch_state'),
    };
  } finally {
    await client.end();
  }
}
