/** A database behind a sidecar in several ways, and its twin without one: some of the ways prepare what others would capture. */
import mysql from 'mysql2/promise';
import { until } from '../../../examples/support/until.ts';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import type { LockPage } from '../../../src/contract/locks.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { startBehind } from '../behind.ts';

/** Captured, but for `UPDATE noted`; `bump`, `calm` and `raise` may change rows, as far as anybody knows. */
const SCHEMA = `
create table item (id int primary key, qty int, note varchar(20) unique);
create table noted (id int primary key, qty int);
create table spare (id int primary key, qty int);
create table pair (id int, part int, qty int, primary key (id, part));
create table source (id int, qty int);
create table parent (id int primary key, qty int);
create table child (id int primary key, parent int, foreign key (parent) references parent (id));
create table loose (id int primary key, qty int) engine = myisam;
create table big (id int primary key, note varchar(20) unique, body longblob);
create trigger note before update on noted for each row set new.qty = new.qty + 100;
create function bump(n int) returns int deterministic no sql return n + 1;
create function calm(n int) returns int deterministic no sql return 1;
create procedure raise(which int) update item set qty = qty + 1 where id = which;
insert into loose values (1, 10);
insert into source values (1, 7), (2, 8);`;
const TABLES = ['item', 'noted', 'spare', 'pair', 'parent', 'child'];

const LISTENERS = {
  escalating: { mode: 'undo', escalate: 'xa', lockTimeout: '15s' },
  xa: { mode: 'xa', lockTimeout: '15s' },
  hasty_escalating: { mode: 'undo', escalate: 'xa', lockTimeout: '300ms' },
  hasty_xa: { mode: 'xa', lockTimeout: '300ms' },
} as const;
type Listener = keyof typeof LISTENERS;

export const MODES = ['escalating', 'xa'] as const;
export type Mode = (typeof MODES)[number];
export const HASTY: Readonly<Record<Mode, Listener>> = { escalating: 'hasty_escalating', xa: 'hasty_xa' };

export interface Stage extends AsyncDisposable {
  /** A client's connection: through the sidecar, or to the twin. Whoever opens it destroys it. */
  open(to: Listener | 'twin'): Promise<mysql.Connection>;
  begin(): Promise<Gid>;
  submit(gid: Gid): Promise<unknown>;
  /** Decides, and waits until it is carried out. Answers the status. */
  end(gid: Gid, outcome: 'commit' | 'rollback'): Promise<string>;
  /** Resolves with the status once it is over. */
  over(gid: Gid): Promise<string>;
  /** Resolves once somebody waits for the gid. */
  isWaitedFor(gid: Gid): Promise<unknown>;
  /** All rows of both databases: the twin has what it should be. */
  dump(database: 'shop' | 'plain'): Promise<readonly string[]>;
  /** Puts all rows of both back. */
  restore(): Promise<void>;
  /** Said to the server itself. */
  owner(sql: string): Promise<readonly unknown[]>;
  /** How many undo records, row locks and claims there are, and how many prepared transactions. */
  left(): Promise<string>;
}

export const NOTHING_LEFT = '0 records, 0 locks, 0 prepared';

/** Starts all of it. */
export async function openStage(start: () => Promise<MariadbServer>): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await start());
  const login = { host: '127.0.0.1', port: server.port, user: server.user };
  const { coordinator, ports } = await startBehind(stack, server, { schema: SCHEMA, listeners: LISTENERS });
  const owner = await mysql.createConnection({ ...login, multipleStatements: true });
  stack.defer(() => owner.destroy());
  const rows = async (sql: string): Promise<readonly unknown[]> => {
    const [found] = await owner.query({ sql, rowsAsArray: true });
    return found as unknown[];
  };
  const over = async (gid: Gid): Promise<string> => (await coordinator.read(gid, 10_000))?.status ?? 'unknown';
  const disposal = stack.move();
  return {
    open: (to) =>
      mysql.createConnection({
        ...login,
        ...(to === 'twin' ? { database: 'plain' } : { port: ports.databases[to] ?? 0, database: 'shop' }),
        multipleStatements: true,
      }),
    begin: async () => (await coordinator.begin({ timeoutMs: 60_000, retryIntervalMs: 50 })).gid,
    submit: (gid) => coordinator.submit(gid),
    async end(gid, outcome) {
      await (outcome === 'commit' ? coordinator.submit(gid) : coordinator.abort(gid, {}));
      return over(gid);
    },
    over,
    isWaitedFor: (gid) =>
      until('somebody waits', async () => {
        const response = await fetch(`http://127.0.0.1:${ports.admin}/locks?gid=${gid}`);
        const { locks } = (await response.json()) as LockPage;
        return locks.some(({ waiting }) => waiting.length > 0) ? true : undefined;
      }),
    async dump(database) {
      const lines = TABLES.map(async (table) =>
        (await rows(`select * from ${database}.${table} order by id`)).map((row) => `${table} ${JSON.stringify(row)}`),
      );
      return (await Promise.all(lines)).flat();
    },
    async restore() {
      for (const database of ['shop', 'plain']) {
        await owner.query(
          `use ${database}; delete from child; delete from parent; delete from item; delete from noted; delete from spare; delete from pair;
insert into item values (1, 10, 'n1'), (2, 20, 'n2'), (3, 30, 'n3'), (4, 40, 'n4');
insert into noted values (1, 10), (2, 20);
insert into spare values (1, 10), (2, 20);
insert into pair values (1, 1, 10), (2, 1, 20), (2, 2, 30);
insert into parent values (1, 10), (2, 20);
insert into child values (1, 1), (2, 2)`,
        );
      }
    },
    owner: rows,
    async left() {
      const [counts] = await rows(
        'select (select count(*) from atomesh.undo_record), (select count(*) from atomesh.row_lock) + (select count(*) from atomesh.parent_claim)',
      );
      const [records, locks] = counts as number[];
      return `${records} records, ${locks} locks, ${(await rows('xa recover')).length} prepared`;
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}
