/** The bank on MariaDB, and on MySQL. */
import mysql from 'mysql2/promise';
import type { MariadbServer } from '../../examples/support/mariadb-server.ts';
import { initialiseDatabase } from '../../proxy/mysql/setup/init.ts';
import type { Account, Movement } from './history.ts';
import {
  ACCOUNTS_EACH,
  BALANCE,
  LISTS_EACH,
  LOCK_MS_MAX,
  QUERY_MS_MAX,
  type BankServer,
  type Books,
  type Ends,
  type Session,
} from './server.ts';

const numbers = (most: number): string => Array.from({ length: most }, (_, index) => `(${index + 1})`).join();

const schemaOf = (service: string): string => `
  CREATE DATABASE ${service}; USE ${service};
  CREATE TABLE account (account varchar(40) PRIMARY KEY, balance int NOT NULL, version int NOT NULL);
  CREATE TABLE movement (gid varchar(128), account varchar(40), amount int NOT NULL, version int NOT NULL, balance int NOT NULL, PRIMARY KEY (gid, account));
  CREATE TABLE list (name varchar(40) PRIMARY KEY, items longtext NOT NULL);
  CREATE TABLE number (n int PRIMARY KEY);
  INSERT INTO number VALUES ${numbers(Math.max(ACCOUNTS_EACH, LISTS_EACH))};
  INSERT INTO account SELECT concat('${service} ', n), ${BALANCE}, 0 FROM number WHERE n <= ${ACCOUNTS_EACH};
  INSERT INTO list SELECT concat('${service} ', n), '' FROM number WHERE n <= ${LISTS_EACH};
  CREATE PROCEDURE move(of_gid varchar(128), of_account varchar(40), of_amount int) BEGIN
    UPDATE account SET balance = balance + of_amount, version = version + 1 WHERE account = of_account;
    INSERT INTO movement SELECT of_gid, of_account, of_amount, version, balance FROM account WHERE account = of_account;
  END;`;

const MOVE = 'UPDATE account SET balance = balance + ?, version = version + 1 WHERE account = ?';
const WRITE_DOWN = 'INSERT INTO movement (gid, account, amount, version, balance) VALUES (?, ?, ?, ?, ?)';

/** What is committed when it has been answered outlives the process: the default of these servers for tests loses up to a second of it. */
const DURABLE = '--innodb-flush-log-at-trx-commit=2';

/** Starts a server, by a function that takes further options of it. */
export async function startOnMariadb(
  start: (options: readonly string[]) => Promise<MariadbServer>,
): Promise<BankServer> {
  const server = await start([DURABLE]);
  return {
    port: server.port,
    async create(service, fault) {
      await initialiseDatabase({ host: '127.0.0.1', port: server.port, user: server.user });
      await server.run(`${schemaOf(service)} ${fault}`);
    },
    upstream: (service, port) => ({
      engine: 'mysql',
      upstream: `mysql://127.0.0.1:${port}/${service}`,
      credentials: { user: server.user },
    }),
    connect: (service, port) => connect({ host: '127.0.0.1', port, user: server.user, database: service }),
    books: (service) => booksOf(server, service),
    crash: () => server.crash(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function connect(login: mysql.ConnectionOptions): Promise<Session> {
  const connection = await mysql.createConnection({ ...login, connectTimeout: QUERY_MS_MAX });
  let isLost = false;
  const lose = (): void => {
    isLost = true;
  };
  const drop = (): void => {
    lose();
    connection.destroy();
  };
  // Only to be noticed: a connection that is destroyed while a statement waits for its answer leaves it waiting for ever.
  connection.on('error', lose);
  connection.on('end', lose);
  try {
    await connection.query(`SET innodb_lock_wait_timeout = ${LOCK_MS_MAX / 1_000}`);
  } catch (error) {
    drop();
    throw error;
  }
  return sessionOf(connection, { isLost: () => isLost, drop });
}

/** Texts with values in them for accounts, prepared statements for lists: both are what applications use. */
function sessionOf(connection: mysql.Connection, ends: Ends): Session {
  type Rows = mysql.RowDataPacket[];
  const query = async (sql: string, ...values: readonly (string | number)[]): Promise<Rows> =>
    (await connection.query<Rows>({ sql, values: [...values], timeout: QUERY_MS_MAX }))[0];
  const execute = async (sql: string, ...values: readonly (string | number)[]): Promise<Rows> =>
    (await connection.execute<Rows>({ sql, values: [...values], timeout: QUERY_MS_MAX }))[0];
  return {
    get isLost() {
      return ends.isLost();
    },
    begin: async (gid) => void (await query(`BEGIN /*atomesh_gid='${gid}'*/`)),
    commit: async () => void (await query('COMMIT')),
    lock: async (account) => void (await query('SELECT balance FROM account WHERE account = ? FOR UPDATE', account)),
    async balances() {
      const rows = await query('SELECT balance FROM account ORDER BY account FOR UPDATE');
      return rows.map(({ balance }) => Number(balance));
    },
    async move({ gid, account, amount }) {
      await query(MOVE, amount, account);
      const [row] = await query('SELECT version, balance FROM account WHERE account = ?', account);
      await query(WRITE_DOWN, gid, account, amount, Number(row?.['version']), Number(row?.['balance']));
    },
    moveByRoutine: async ({ gid, account, amount }) => void (await query('CALL move(?, ?, ?)', gid, account, amount)),
    append: async (list, value) =>
      void (await execute('UPDATE list SET items = concat(items, ?) WHERE name = ?', `${value},`, list)),
    async items(list) {
      const [row] = await execute('SELECT items FROM list WHERE name = ? FOR UPDATE', list);
      return itemsOf(String(row?.['items'] ?? ''));
    },
    drop: ends.drop,
  };
}

function itemsOf(text: string): readonly number[] {
  return text.split(',').slice(0, -1).map(Number);
}

async function booksOf(server: MariadbServer, service: string): Promise<Books> {
  const connection = await mysql.createConnection({
    host: '127.0.0.1',
    port: server.port,
    user: server.user,
    database: service,
  });
  const ask = async <Row>(sql: string): Promise<readonly Row[]> =>
    (await connection.query<mysql.RowDataPacket[]>(sql))[0] as unknown as readonly Row[];
  const count = async (table: string): Promise<number> =>
    (await ask<{ n: number }>(`SELECT count(*) AS n FROM atomesh.${table}`))[0]?.n ?? 0;
  try {
    const lists = await ask<{ name: string; items: string }>('SELECT name, items FROM list');
    return {
      accounts: await ask<Account>('SELECT * FROM account'),
      movements: await ask<Movement>('SELECT * FROM movement'),
      lists: new Map(lists.map(({ name, items }) => [name, itemsOf(items)])),
      leftovers: {
        'undo records': await count('undo_record'),
        'row locks': await count('row_lock'),
        claims: await count('parent_claim'),
        'prepared transactions': (await ask('XA RECOVER')).length,
      },
      states: await ask('SELECT gid, resource, state FROM atomesh.branch_state'),
    };
  } finally {
    await connection.end();
  }
}
