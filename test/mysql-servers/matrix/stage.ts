/** One server with a database twice, behind a sidecar that stands in front of it in three ways. */
import { isDeepStrictEqual } from 'node:util';
import mysql from 'mysql2/promise';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { startBehind } from '../behind.ts';
import { MARIADB_SCHEMA, resetSql, SCHEMA, tablesOf } from './schema.ts';

/** How the sidecar stands in front of the server, by the name of its listener. */
export const LISTENERS = {
  undo: { mode: 'undo', escalate: 'off' },
  escalating: { mode: 'undo', escalate: 'xa' },
  xa: { mode: 'xa' },
} as const;
export type Listener = keyof typeof LISTENERS;

/** The database behind the sidecar, and the one that is its like. */
export type Database = 'shop' | 'plain';

/** The rows of each table. */
type Dump = ReadonlyMap<string, readonly string[]>;

export interface Stage extends AsyncDisposable {
  readonly isMariadb: boolean;
  /** A client's connection: through the sidecar, or to the twin. Whoever opens it destroys it. */
  open(to: Listener | 'twin'): Promise<mysql.Connection>;
  begin(): Promise<Gid>;
  /** Decides, and waits until it is carried out. Answers the status. */
  end(gid: Gid, outcome: 'commit' | 'rollback'): Promise<string>;
  /** All rows of all tables. */
  dump(database: Database): Promise<Dump>;
  /** Puts all rows of both databases back as at first, behind this statement. */
  reset(sql: string): Promise<void>;
  /** How many undo records, row locks and claims there are, and how many prepared transactions. */
  left(): Promise<{ readonly records: number; readonly locks: number; readonly prepared: number }>;
}

/** Starts all of it. */
export async function startStage(start: () => Promise<MariadbServer>, isMariadb: boolean): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await start());
  const login = { host: '127.0.0.1', port: server.port, user: server.user };
  const schema = isMariadb ? SCHEMA + MARIADB_SCHEMA : SCHEMA;
  const { coordinator, ports } = await startBehind(stack, server, { schema, listeners: LISTENERS });
  const owner = await mysql.createConnection({ ...login, multipleStatements: true });
  stack.defer(() => owner.destroy());
  const rows = async (sql: string): Promise<readonly unknown[]> => {
    const [found] = await owner.query({ sql, rowsAsArray: true });
    return found as unknown[];
  };
  const names = tablesOf(isMariadb);
  const dump = async (database: Database): Promise<Dump> => {
    const [found] = await owner.query({
      sql: names.map((table) => `SELECT * FROM ${database}.${table}`).join('; '),
      rowsAsArray: true,
      typeCast: (field) => field.buffer()?.toString('latin1') ?? 'NULL',
    });
    const sets = found as unknown as readonly (readonly unknown[])[];
    return new Map(
      names.map((table, index) => [table, (sets[index] ?? []).map((row) => JSON.stringify(row)).toSorted()]),
    );
  };
  for (const database of ['shop', 'plain']) await owner.query(resetSql(database, names, isMariadb));
  const first = await dump('shop');
  const disposal = stack.move();
  return {
    isMariadb,
    open: (to) =>
      mysql.createConnection({
        ...login,
        ...(to === 'twin' ? { database: 'plain' } : { port: ports.databases[to] ?? 0, database: 'shop' }),
        multipleStatements: true,
        dateStrings: true,
        supportBigNumbers: true,
        bigNumberStrings: true,
      }),
    begin: async () => (await coordinator.begin({ timeoutMs: 60_000, retryIntervalMs: 50 })).gid,
    async end(gid, outcome) {
      await (outcome === 'commit' ? coordinator.submit(gid) : coordinator.abort(gid, {}));
      return (await coordinator.read(gid, 10_000))?.status ?? 'unknown';
    },
    dump,
    async reset(sql) {
      for (const database of ['shop', 'plain'] as const) {
        const now = await dump(database);
        const changed = [...now.entries()].filter(([table, rows]) => !isDeepStrictEqual(rows, first.get(table)));
        // What takes numbers leaves no trace of them when it is rolled back.
        const numbered = sql.includes('numbered') ? ['numbered'] : [];
        const tables = new Set([...changed.map(([table]) => table), ...numbered]);
        // What is deleted here fires triggers, too.
        if (tables.size > 0) tables.add('log');
        if (tables.size > 0) await owner.query(resetSql(database, [...tables], isMariadb));
      }
    },
    async left() {
      const counts = await rows(
        'SELECT (SELECT count(*) FROM atomesh.undo_record), (SELECT count(*) FROM atomesh.row_lock) + (SELECT count(*) FROM atomesh.parent_claim)',
      );
      const [records = 0, locks = 0] = (counts[0] as number[]).map(Number);
      return { records, locks, prepared: (await rows('XA RECOVER')).length };
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}
