/** One database of a sidecar, whatever its engine is: its branches and operations, between its listener and its second phase. */
import type { CoordinatorClient } from '../src/client/coordinator-client.ts';
import type { Gid, Instant } from '../src/contract/transaction.ts';
import { at, now } from '../src/platform/clock.ts';
import type { Log } from '../src/platform/log.ts';
import type { ServedTraces } from './binding/from-sql-comment.ts';
import type { Barrier, OperationOf } from './branch/barrier.ts';
import type { FinishOperation } from './branch/control-target.ts';
import { createEnlistment, type Enlistment } from './branch/enlist.ts';
import type { Finisher } from './branch/finish.ts';
import { createLockHolders, type LockHolders } from './branch/lock-holders.ts';
import type { LockedDatabase } from './branch/lock-view.ts';
import { openOperationRows, type OperationRows, type SessionOperations } from './branch/operation-rows.ts';
import type { LocalPreparation } from './branch/xa/preparation.ts';
import type { Recovery } from './branch/xa/recovery.ts';
import type { SqlMetrics } from './metrics.ts';
import type { AnyDatabaseOptions } from './options.ts';
import type { SqlEvent } from './sql/event.ts';
import { resourceOf, type UndoBranch, type Work } from './sql/work.ts';

export interface Database extends LockedDatabase {
  /** What its branches are called at the coordinator: `<service>/<database>`. */
  readonly resource: string;
  readonly port: number;
  readonly finisher: Finisher;
  /** The barrier of the service's operations, and what its sessions write for them; absent when another database carries it, or none. */
  readonly operations?: { readonly barrier: Barrier; readonly rows: OperationRows };
  /** A second phase is about to begin: `wait` while a local transaction of the branch is still open here. */
  beforeFinish(gid: Gid, operation: FinishOperation, run?: number): Promise<'go' | 'wait'>;
  /** An operation is to be undone, and nobody waits for it any more: its open local transactions are rolled back. */
  abandonOperation(operation: OperationOf): void;
  /** A second phase has taken effect. */
  finished(gid: Gid, run?: number): void;
  /** Deletes the traces of what ended more than `olderThanMs` ago. Rejects when the database cannot be asked. */
  cleanUp(olderThanMs: number): Promise<void>;
  /** Stops accepting sessions; those in a transaction may go on for `graceMs`. */
  closeListener(graceMs: number): Promise<void>;
  /** Ends the connections of the second phase and of the barrier, once what is under way on them has ended. */
  close(): Promise<void>;
}

export interface DatabaseParts<Options extends AnyDatabaseOptions> {
  readonly service: string;
  readonly options: Options;
  readonly limits: { readonly sessions: number; readonly statement: number };
  /** The base URL of the control listener, as the coordinator sees it. */
  readonly controlUrl: string;
  readonly coordinator: CoordinatorClient;
  readonly traces: ServedTraces;
  /** Where the rows of the service's operations are. `off`: nowhere, their changes pass as they come. */
  readonly barrier: 'here' | 'elsewhere' | 'off';
  readonly metrics: SqlMetrics;
  readonly log: Log;
}

/** What sessions are handed, whatever the engine is. */
export interface SessionSeams {
  readonly resource: string;
  readonly enlistment: Enlistment;
  readonly holders: LockHolders;
  readonly operations: SessionOperations;
  readonly count: (event: SqlEvent) => void;
}

/** What one engine brings. */
export interface Engine {
  readonly finisher: Finisher;
  /** Undefined where another database carries it, or none. */
  readonly barrier: (Barrier & { close(): Promise<void> }) | undefined;
  /** Undefined where no local transaction is prepared. */
  readonly preparation: Pick<LocalPreparation, 'forget'> | undefined;
  /** How many connections are kept until what was prepared over them has ended; absent where none ever are. */
  readonly parked?: () => number;
  /** The list of row locks, for people. */
  readonly locks: LockedDatabase['locks'];
  /** Starts the listener. Rejects when its address cannot be bound. */
  listen(seams: SessionSeams): Promise<Listener>;
  /** Begins to look after prepared transactions that nobody ends; undefined where there can be none. */
  recover(): Recovery | undefined;
  /** Ends the connections of its own that are none of the second phase or the barrier. */
  close(): Promise<void>;
}

interface Listener {
  readonly port: number;
  readonly sessions: number;
  /** True while a session has a local transaction of this work open. */
  isOpen(work: Work): boolean;
  /** Rolls such local transactions back. */
  abandon(work: Work): void;
  close(graceMs: number): Promise<void>;
}

/** What the branches of a database are called at the coordinator. */
export function resourceName({ service, options }: DatabaseParts<AnyDatabaseOptions>): string {
  return `${service}/${options.name}`;
}

/** How often, and how many milliseconds apart, a second phase looks whether the local transactions of its gid have ended. */
const OPEN_CHECKS = 50;
const OPEN_CHECK_MS = 10;

/** Starts the listener of one database, and puts its second phase behind it. Rejects when its address cannot be bound. */
export async function startOn(engine: Engine, parts: DatabaseParts<AnyDatabaseOptions>): Promise<Database> {
  const { options, coordinator, metrics } = parts;
  const { finisher, barrier, preparation, locks } = engine;
  const resource = resourceName(parts);
  const branchOf = (gid: Gid, run: number | undefined): UndoBranch => ({ gid, resource: resourceOf(resource, run) });
  const enlistment = enlistmentOf(parts, finisher);
  const holders = createLockHolders(coordinator);
  const operations = operationsOf(parts, barrier);
  const count = (event: SqlEvent): void => metrics.count(options.name, event);
  const listener = await engine.listen({ resource, enlistment, holders, operations, count });
  const recovery = engine.recover();
  metrics.watch(options.name, {
    sessions: () => listener.sessions,
    inDoubt: () => recovery?.inDoubt ?? 0,
    ...(engine.parked === undefined ? {} : { parked: engine.parked }),
  });
  return {
    name: options.name,
    resource,
    port: listener.port,
    finisher,
    ...(barrier === undefined ? {} : { operations: { barrier, rows: operations.rows } }),
    async beforeFinish(gid, operation, run) {
      const branch = branchOf(gid, run);
      enlistment.forget(branch);
      holders.releasing(gid);
      if (operation === 'rollback') listener.abandon({ kind: 'undo', branch });
      return (await localTransactionsEnd(() => listener.isOpen({ kind: 'undo', branch }))) ? 'go' : 'wait';
    },
    abandonOperation: (operation) => listener.abandon({ kind: 'operation', operation }),
    finished(gid, run) {
      enlistment.forget(branchOf(gid, run));
      preparation?.forget(branchOf(gid, run));
      holders.released(gid);
    },
    locks,
    waiting: () => holders.waiting(),
    async cleanUp(olderThanMs) {
      await finisher.cleanUp(olderThanMs);
      await barrier?.cleanUp(olderThanMs);
    },
    closeListener: (graceMs) => listener.close(graceMs),
    async close() {
      await recovery?.stop();
      await Promise.all([finisher.close(), barrier?.close(), engine.close()]);
    },
  };
}

/** Branches of the database, and where the coordinator calls their second phase. */
function enlistmentOf(parts: DatabaseParts<AnyDatabaseOptions>, finisher: Finisher): Enlistment {
  const { service, options, controlUrl, coordinator } = parts;
  const url = (operation: FinishOperation, run: number | undefined): string =>
    `${controlUrl}/v1/services/${service}/databases/${options.name}/${operation}${run === undefined ? '' : `?run=${run}`}`;
  return createEnlistment({
    coordinator,
    kind: options.mode === 'xa' ? 'xa' : 'undo',
    operationsOf: ({ run }) => ({ commit: url('commit', run), rollback: url('rollback', run) }),
    open: (branch) => finisher.open(branch.gid, branch.resource),
    discard: (branch) => finisher.discard(branch.gid, branch.resource),
  });
}

function operationsOf(parts: DatabaseParts<AnyDatabaseOptions>, barrier: Barrier | undefined): SessionOperations {
  const { options, metrics, log } = parts;
  return {
    isOff: parts.barrier === 'off',
    rows: openOperationRows(),
    async halve(operation) {
      metrics.count(options.name, 'half');
      log.error(operation, 'one local transaction of an operation has committed, and another was refused');
      await barrier?.halve(operation).catch((cause: unknown) => {
        log.error({ err: cause, ...operation }, 'that an operation is half done could not be remembered');
      });
    },
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
