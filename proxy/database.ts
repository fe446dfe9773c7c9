/** One database of a sidecar: its listener, its branches, and their second phase. */
import type { CoordinatorClient } from '../src/client/coordinator-client.ts';
import type { Gid, Instant } from '../src/contract/transaction.ts';
import { at, now } from '../src/platform/clock.ts';
import type { Log } from '../src/platform/log.ts';
import type { ServedTraces } from './binding/from-sql-comment.ts';
import type { Barrier, OperationOf } from './branch/barrier.ts';
import type { FinishOperation } from './branch/control-target.ts';
import { createEnlistment } from './branch/enlist.ts';
import type { Finisher } from './branch/finish.ts';
import { createBarrier } from './postgres/barrier.ts';
import { createFinisher } from './postgres/finish.ts';
import { createLockHolders } from './branch/lock-holders.ts';
import type { LockedDatabase } from './branch/lock-view.ts';
import { openOperationRows, type OperationRows } from './branch/operation-rows.ts';
import type { SqlMetrics } from './metrics.ts';
import type { DatabaseOptions } from './options.ts';
import { startPostgresListener } from './postgres/listener.ts';
import { createLockList } from './postgres/locks/list.ts';
import { SharedFacts } from './postgres/facts/shared-facts.ts';
import { createPlanner } from './postgres/plan.ts';
import { missingTriggers } from './postgres/triggers/install.ts';
import { phaseTwoConnection } from './postgres/upstream.ts';
import { openXa } from './postgres/xa/open.ts';
import type { SqlEvent } from './sql/event.ts';
import { resourceOf, type UndoBranch } from './sql/work.ts';

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

export interface DatabaseParts {
  readonly service: string;
  readonly options: DatabaseOptions;
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

/** How often, and how many milliseconds apart, a second phase looks whether the local transactions of its gid have ended. */
const OPEN_CHECKS = 50;
const OPEN_CHECK_MS = 10;
/** Starts the listener of one database. Rejects when its address cannot be bound. */
export async function startDatabase(parts: DatabaseParts): Promise<Database> {
  const { options, coordinator, log } = parts;
  const resource = `${parts.service}/${options.name}`;
  const operationUrl = (operation: string, run: number | undefined): string =>
    `${parts.controlUrl}/v1/services/${parts.service}/databases/${options.name}/${operation}${run === undefined ? '' : `?run=${run}`}`;
  const branchOf = (gid: Gid, run: number | undefined): UndoBranch => ({ gid, resource: resourceOf(resource, run) });
  const xa = await openXa({ options, resource, coordinator, log });
  const finisher = xa.wrap(createFinisher({ connection: phaseTwoConnection(options), log }));
  const enlistment = createEnlistment({
    coordinator,
    kind: options.mode === 'xa' ? 'xa' : 'undo',
    operationsOf: ({ run }) => ({ commit: operationUrl('commit', run), rollback: operationUrl('rollback', run) }),
    open: (branch) => finisher.open(branch.gid, branch.resource),
    discard: (branch) => finisher.discard(branch.gid, branch.resource),
  });
  const count = (event: SqlEvent): void => parts.metrics.count(options.name, event);
  const isHere = parts.barrier === 'here';
  const rows = openOperationRows();
  const barrier = isHere ? createBarrier({ connection: phaseTwoConnection(options), coordinator, log }) : undefined;
  const holders = createLockHolders(coordinator);
  const locks = createLockList(phaseTwoConnection(options), log);
  const mode = options.mode === 'none' ? 'none' : 'undo';
  const { maxRows, capture } = options;
  const planning = { mode, maxRows, capture, carriesBarrier: isHere, preparing: xa.preparing } as const;
  const sharedFacts = new SharedFacts();
  const listener = await startPostgresListener({
    database: options,
    resource,
    sessionsMax: parts.limits.sessions,
    statementBytesMax: parts.limits.statement,
    enlistment,
    holders,
    createPlanner: () => createPlanner(planning, sharedFacts),
    preparation: xa.preparation,
    traces: parts.traces,
    operations: {
      isOff: parts.barrier === 'off',
      rows,
      async halve(operation) {
        count('half');
        log.error(operation, 'one local transaction of an operation has committed, and another was refused');
        await barrier?.halve(operation).catch((cause: unknown) => {
          log.error({ err: cause, ...operation }, 'that an operation is half done could not be remembered');
        });
      },
    },
    count,
    log,
  });
  const recovery = xa.recover(finisher);
  parts.metrics.watch(options.name, { sessions: () => listener.sessions, inDoubt: () => recovery?.inDoubt ?? 0 });
  return {
    name: options.name,
    resource,
    port: listener.port,
    finisher,
    ...(barrier === undefined ? {} : { operations: { barrier, rows } }),
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
      xa.preparation?.forget(branchOf(gid, run));
      holders.released(gid);
    },
    locks: (query) => locks.read(query),
    waiting: () => holders.waiting(),
    async cleanUp(olderThanMs) {
      await finisher.cleanUp(olderThanMs);
      await barrier?.cleanUp(olderThanMs);
      if (options.capture === 'triggers') await warnOfTables(options, log);
    },
    closeListener: (graceMs) => listener.close(graceMs),
    async close() {
      await recovery?.stop();
      await Promise.all([finisher.close(), barrier?.close(), locks.close()]);
    },
  };
}

/** Tables that were made or altered since the start. */
async function warnOfTables(options: DatabaseOptions, log: Log): Promise<void> {
  const error = await missingTriggers(phaseTwoConnection(options), { except: options.captureExcept });
  if (error !== undefined) log.warn({ database: options.name, hint: error.hint }, error.message);
}

/** An application that has answered while its local transaction is open gets a little time to end it. */
async function localTransactionsEnd(isOpen: () => boolean): Promise<boolean> {
  for (let left = OPEN_CHECKS; isOpen(); left -= 1) {
    if (left === 0) return false;
    await new Promise<void>((resolve) => at((now() + OPEN_CHECK_MS) as Instant, resolve));
  }
  return true;
}
