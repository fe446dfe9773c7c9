/** The club's database as its administrator sets it up, on a MariaDB of the operating system, and what stands in it. */
import { readFile } from 'node:fs/promises';
import mysql from 'mysql2/promise';
import { startMariadb, type MariadbServer } from '../../support/mariadb-server.ts';
import { ProgramMissing } from '../../support/programs.ts';
import type { Role } from '../databases.ts';

/** What the club holds, read behind the service's and the sidecar's backs. */
export interface ClubBooks {
  /** Points by card. */
  readonly points: ReadonlyMap<string, string>;
  /** The orders for which there were points, and how many. */
  readonly booked: ReadonlyMap<string, string>;
  /** Points on all cards that no booking says: what was there before the first order. */
  readonly unbooked: bigint;
  /** Every row of every table, as text, in one order. */
  readonly dump: string;
}

export interface ClubDatabase extends AsyncDisposable {
  readonly server: MariadbServer;
  /** Who makes the schema of Atomesh, and needs no password. */
  readonly administrator: string;
  /** The accounts of service and sidecar, as `user@host`. */
  readonly accounts: Readonly<Record<Role, string>>;
  /** For the service; `port` is the server's, or that of the sidecar's listener. */
  url(port: number): string;
  books(): Promise<ClubBooks>;
  /** What global transactions have left behind. */
  leftovers(): Promise<{ readonly records: number; readonly locks: number }>;
}

/** Starts MariaDB and fills the club's tables; the reason in words where none is installed. */
export async function openClubDatabase(passwords: Readonly<Record<Role, string>>): Promise<ClubDatabase | string> {
  let started: MariadbServer;
  try {
    started = await startMariadb();
  } catch (error) {
    if (error instanceof ProgramMissing) return error.message;
    throw error;
  }
  await using stack = new AsyncDisposableStack();
  const server = stack.use(started);
  const accounts = { shop: "'club'@'127.0.0.1'", atomesh: "'sidecar'@'127.0.0.1'" };
  await server.run(
    `create database club;
     create user ${accounts.shop} identified by '${passwords.shop}'; grant all on club.* to ${accounts.shop};
     create user ${accounts.atomesh} identified by '${passwords.atomesh}';
     use club; ${await readFile(new URL('club.sql', import.meta.url), 'utf8')}`,
  );
  const url = (port: number): string => `mysql://club:${passwords.shop}@127.0.0.1:${port}/club`;
  const owned = stack.move();
  return {
    server,
    administrator: server.user,
    accounts,
    url,
    books: async () =>
      readBooks(
        await ask(url(server.port), 'select id, points from card order by id'),
        await ask(url(server.port), 'select order_id, card_id, points, booked_at from booking order by order_id'),
      ),
    async leftovers() {
      const [row = []] = await ask(
        `mysql://${server.user}@127.0.0.1:${server.port}/atomesh`,
        'select (select count(*) from undo_record), (select count(*) from row_lock)',
      );
      return { records: Number(row[0]), locks: Number(row[1]) };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Rows = readonly (readonly string[])[];

function readBooks(cards: Rows, bookings: Rows): ClubBooks {
  const sum = (rows: Rows, column: number): bigint => rows.reduce((all, row) => all + BigInt(row[column] ?? 0), 0n);
  const lines = (rows: Rows): readonly string[] => rows.map((row) => row.join(','));
  return {
    points: new Map(cards.map(([id = '', points = '']) => [id, points])),
    booked: new Map(bookings.map(([order = '', , points = '']) => [order, points])),
    unbooked: sum(cards, 1) - sum(bookings, 2),
    dump: ['database club', 'table card', ...lines(cards), 'table booking', ...lines(bookings)].join('\n'),
  };
}

/** Rows of one statement over a connection of its own, every value as text. */
async function ask(uri: string, sql: string): Promise<Rows> {
  const connection = await mysql.createConnection({ uri, connectTimeout: 5000, dateStrings: true });
  try {
    const [rows] = await connection.query<mysql.RowDataPacket[][]>({ sql, rowsAsArray: true, timeout: 10_000 });
    return rows.map((row) => row.map(String));
  } finally {
    await connection.end();
  }
}
