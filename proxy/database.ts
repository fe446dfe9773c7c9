/** One database of a sidecar: its listener, its branches, and their second phase. */
import type { CoordinatorClient } from '../src/client/coordinator-client.ts';
import type { Gid, Instant } from '../src/contract/transaction.ts';
import { at, now } from '../src/platform/clock.ts';
import type { Log } from '../src/platform/log.ts';
import type { FinishOperation } from './branch/control-server.ts';
import { createEnlistment } from './branch/enlist.ts';
import type { Finisher } from './branch/finish.ts';
import { createFinisher } from './postgres/finish.ts';
import { createLockHolders } from './branch/lock-holders.ts';
import type { SqlMetrics } from './metrics.ts';
import type { DatabaseOptions } from './options.ts';
import { startPostgresListener } from './postgres/listener.ts';
import { createPlanner } from './postgres/plan.ts';
import { phaseTwoConnection } from './postgres/upstream.ts';

export interface Database {
  readonly name: string;
  /** What its branches are called at the coordinator: `<service>/<database>`. */
  readonly resource: string;
  readonly port: number;
  readonly finisher: Finisher;
  /** A second phase is about to begin: `wait` while a local transaction of the gid is still open here. */
  beforeFinish(gid: Gid, operation: FinishOperation): Promise<'go' | 'wait'>;
  /** A second phase has taken effect. */
  finished(gid: Gid): void;
  /** Stops accepting sessions; those in a transaction may go on for `graceMs`. */
  closeListener(graceMs: number): Promise<void>;
}

export interface DatabaseParts {
  readonly service: string;
  readonly options: DatabaseOptions;
  readonly limits: { readonly sessions: number; readonly statement: number };
  /** The base URL of the control listener, as the coordinator sees it. */
  readonly controlUrl: string;
  readonly coordinator: CoordinatorClient;
  readonly gidOfTrace: (traceId: string) => Gid | undefined;
  readonly metrics: SqlMetrics;
  readonly log: Log;
}

/** How often, and how many milliseconds apart, a second phase looks whether the local transactions of its gid have ended. */
const OPEN_CHECKS = 50;
const OPEN_CHECK_MS = 10;
/** Starts the listener of one database. Rejects when its address cannot be bound. */
export async function startDatabase(parts: DatabaseParts): Promise<Database> {
  const { options, coordinator, log } = parts;
  const resource = `${parts.service}/${options.name}`;
  const operationUrl = (operation: string): string =>
    `${parts.controlUrl}/v1/services/${parts.service}/databases/${options.name}/${operation}`;
  const finisher = createFinisher({ connection: phaseTwoConnection(options), log });
  const enlistment = createEnlistment({
    coordinator,
    kind: 'undo',
    resource,
    operations: { commit: operationUrl('commit'), rollback: operationUrl('rollback') },
    open: (gid) => finisher.open(gid, resource),
    discard: (gid) => finisher.discard(gid, resource),
  });
  const holders = createLockHolders(coordinator);
  const listener = await startPostgresListener({
    database: options,
    resource,
    sessionsMax: parts.limits.sessions,
    statementBytesMax: parts.limits.statement,
    enlistment,
    holders,
    createPlanner: () => createPlanner({ mode: options.mode, maxRows: options.maxRows }),
    gidOfTrace: parts.gidOfTrace,
    count: (event) => parts.metrics.count(options.name, event),
    log,
  });
  parts.metrics.watch(options.name, () => listener.sessions);
  return {
    name: options.name,
    resource,
    port: listener.port,
    finisher,
    async beforeFinish(gid, operation) {
      enlistment.forget(gid);
      if (operation === 'rollback') listener.abandon(gid);
      return (await localTransactionsEnd(() => listener.isOpen(gid))) ? 'go' : 'wait';
    },
    finished(gid) {
      enlistment.forget(gid);
      holders.released(gid);
    },
    closeListener: (graceMs) => listener.close(graceMs),
  };
}

/** An application that has answered while its local transaction is open gets a little time to end it. */
async function localTransactionsEnd(isOpen: () => boolean): Promise<boolean> {
  for (let left = OPEN_CHECKS; isOpen(); left -= 1) {
    if (left === 0) return false;
    await new Promise<void>((resolve) => at((now() + OPEN_CHECK_MS) as Instant, resolve));
  }
  return true;
}
