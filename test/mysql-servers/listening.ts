/** A listener of the sidecar in front of a MySQL or MariaDB server, without a coordinator. */
import { startMysqlListener, type MysqlListener } from '../../proxy/mysql/listener.ts';
import type { InsideParts } from '../../proxy/mysql/inside/parts.ts';
import type { ServedTraces } from '../../proxy/binding/from-sql-comment.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { openLog, type Log } from '../../src/platform/log.ts';

export interface ListeningOptions {
  /** The port of the server on 127.0.0.1. */
  readonly to: number;
  readonly sessionsMax?: number;
  /** Default 64 MiB. */
  readonly statementBytesMax?: number;
  readonly traces?: ServedTraces;
  readonly areOperationsOff?: boolean;
  /** Changes inside global transactions can be carried out. Default: they are refused. */
  readonly inside?: InsideParts;
  /** Further options of the database, as a configuration has them: `listenTls`, `tls`, `auth`. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Default: silent. */
  readonly log?: Log;
}

export interface Listening extends AsyncDisposable {
  readonly listener: MysqlListener;
  readonly port: number;
  /** What was counted, by name. */
  readonly counts: Readonly<Record<string, number>>;
}

export async function startListening(options: ListeningOptions): Promise<Listening> {
  const { databases } = sidecarOptions.parse({
    service: 'shop',
    coordinator: { url: 'http://127.0.0.1:1' },
    databases: [
      {
        engine: 'mysql',
        name: 'db',
        listen: '127.0.0.1:0',
        upstream: `mysql://127.0.0.1:${options.to}/k`,
        mode: 'none',
        ...options.options,
      },
    ],
  });
  const database = databases.find((each) => each.engine === 'mysql');
  if (database === undefined) throw new Error('there is one database');
  const counts: Record<string, number> = {};
  const listener = await startMysqlListener({
    database,
    sessionsMax: options.sessionsMax ?? 100,
    statementBytesMax: options.statementBytesMax ?? 64 * 1024 * 1024,
    traces: options.traces ?? { markOf: () => undefined, size: 0 },
    areOperationsOff: options.areOperationsOff ?? false,
    inside: options.inside,
    count: (what) => {
      counts[what] = (counts[what] ?? 0) + 1;
    },
    log: options.log ?? openLog('test', 'silent'),
  });
  return { listener, port: listener.port, counts, [Symbol.asyncDispose]: () => listener.close(0) };
}
