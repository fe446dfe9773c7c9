/** A listener of the sidecar in front of a server, without a coordinator: every branch counts as enlisted. */
import { sidecarOptions } from '../../../proxy/options.ts';
import { openOperationRows } from '../../../proxy/branch/operation-rows.ts';
import { startPostgresListener, type PostgresListener } from '../../../proxy/postgres/listener.ts';
import { loadParser } from '../../../proxy/postgres/parse.ts';
import { createPlanner } from '../../../proxy/postgres/plan.ts';
import type { ServedTraces } from '../../../proxy/binding/from-sql-comment.ts';
import { openLog, type Log } from '../../../src/platform/log.ts';

export interface ListeningOptions {
  /** The port of the server on 127.0.0.1. */
  readonly to: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  readonly sessionsMax?: number;
  readonly tls?: { readonly mode: 'disable' | 'require' | 'verify-full'; readonly ca?: string };
  /** Further options of the database, as a configuration has them: `auth`, `listenTls`, `tls`. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Default: one that is silent. */
  readonly log?: Log;
  readonly traces?: ServedTraces;
  /** The database of `upstream`. Default `postgres`. */
  readonly database?: string;
  /** Default 64 MiB. */
  readonly statementBytesMax?: number;
}

export interface Listening extends AsyncDisposable {
  readonly listener: PostgresListener;
  readonly port: number;
  /** What was counted, by name. */
  readonly counts: Readonly<Record<string, number>>;
}

export async function startListening(options: ListeningOptions): Promise<Listening> {
  await loadParser();
  const { databases } = sidecarOptions.parse({
    service: 'shop',
    coordinator: { url: 'http://127.0.0.1:1' },
    databases: [
      {
        name: 'db',
        listen: '127.0.0.1:0',
        upstream: `postgres://${options.host ?? '127.0.0.1'}:${options.to}/${options.database ?? 'postgres'}`,
        credentials: { user: 'postgres' },
        ...(options.tls === undefined ? {} : { tls: options.tls }),
        ...options.options,
      },
    ],
  });
  const database = databases.find((each) => each.engine !== 'mysql');
  if (database === undefined) throw new Error('there is one database');
  const counts: Record<string, number> = {};
  const listener = await startPostgresListener({
    database,
    resource: 'shop/db',
    sessionsMax: options.sessionsMax ?? 100,
    statementBytesMax: options.statementBytesMax ?? 64 * 1024 * 1024,
    enlistment: {
      isEnlisted: () => true,
      enlist: async () => ({ kind: 'enlisted' }),
      forget: () => undefined,
      opened: async () => undefined,
    },
    holders: {
      waiter: () => ({ wait: async () => 'timeout', end: () => undefined }),
      turn: () => undefined,
      releasing: () => undefined,
      released: () => undefined,
      waiting: () => [],
    },
    createPlanner: () => createPlanner({ mode: 'undo', maxRows: 1000, carriesBarrier: true }),
    operations: { isOff: false, rows: openOperationRows(), halve: async () => undefined },
    preparation: undefined,
    traces: options.traces ?? { markOf: () => undefined, size: 0 },
    count: (what) => {
      counts[what] = (counts[what] ?? 0) + 1;
    },
    log: options.log ?? openLog('test', 'silent'),
  });
  return {
    listener,
    port: listener.port,
    counts,
    [Symbol.asyncDispose]: () => listener.close(0),
  };
}
