/** One MySQL or MariaDB database of a sidecar: its listener. Nothing is captured there, so that it has no branches. */
import type { DatabaseParts, Database } from './database.ts';
import type { Finisher, FinishResult } from './branch/finish.ts';
import { startMysqlListener } from './mysql/listener.ts';
import type { MysqlDatabaseOptions } from './options.ts';

export type MysqlDatabaseParts = Omit<DatabaseParts, 'options'> & { readonly options: MysqlDatabaseOptions };

const NOTHING: Promise<FinishResult> = Promise.resolve({ result: 'success' });

/** Whatever could change something inside a global transaction was refused: there is nothing to commit, and nothing to take back. */
const noBranches: Finisher = {
  open: () => Promise.resolve(),
  discard: () => Promise.resolve(),
  commit: () => NOTHING,
  rollback: () => NOTHING,
  cleanUp: () => Promise.resolve(0),
  close: () => Promise.resolve(),
};

/** Starts the listener of one database. Rejects when its address cannot be bound. */
export async function startMysqlDatabase(parts: MysqlDatabaseParts): Promise<Database> {
  const { options, limits, metrics, traces, log } = parts;
  const listener = await startMysqlListener({
    database: options,
    sessionsMax: limits.sessions,
    statementBytesMax: limits.statement,
    areOperationsOff: parts.barrier === 'off',
    traces,
    count: (event) => metrics.count(options.name, event),
    log,
  });
  metrics.watch(options.name, { sessions: () => listener.sessions, inDoubt: () => 0 });
  return {
    name: options.name,
    resource: `${parts.service}/${options.name}`,
    port: listener.port,
    finisher: noBranches,
    beforeFinish: () => Promise.resolve('go'),
    abandonOperation: () => undefined,
    finished: () => undefined,
    locks: () => Promise.resolve([]),
    waiting: () => [],
    cleanUp: () => Promise.resolve(),
    closeListener: (graceMs) => listener.close(graceMs),
    close: () => Promise.resolve(),
  };
}
