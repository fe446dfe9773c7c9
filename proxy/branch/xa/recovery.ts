/**
 * Prepared transactions that nobody ends: their sidecar died, or the coordinator cannot reach the one that took its place. At the start
 * and then periodically the coordinator is asked what has become of them.
 */
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import type { BranchStatus, Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { Finisher } from '../finish.ts';
import type { Prepared, PreparedTransactions } from './prepared.ts';
import { stuck } from './prepared-finisher.ts';

export interface RecoveryOptions {
  readonly transactions: PreparedTransactions;
  readonly finisher: Pick<Finisher, 'commit'>;
  readonly coordinator: Pick<CoordinatorClient, 'read'>;
  readonly everyMs: number;
  /** Younger ones are left to the coordinator's calls. Default 5,000. */
  readonly ageMsMin?: number;
  readonly log: Log;
}

export interface Recovery {
  /** How many were prepared when it looked last. */
  readonly inDoubt: number;
  /** Looks no more; resolves when a look that is under way has ended. */
  stop(): Promise<void>;
}

const AGE_MS_MIN = 5_000;
/** So many are looked after at a time; the next time it is the turn of the others. */
const ROUND_MAX = 1_000;
/** The second phase of a branch that is over. */
const OVER: BranchStatus = 'succeed';

/** Looks at once, and then every so often. */
export function startRecovery(options: RecoveryOptions): Recovery {
  const { transactions, log, everyMs } = options;
  let inDoubt = 0;
  let isStopped = false;
  let cancel = (): void => undefined;

  async function look(): Promise<void> {
    const prepared = await transactions.list();
    inDoubt = prepared.length;
    const old = prepared.filter(({ ageMs }) => ageMs >= (options.ageMsMin ?? AGE_MS_MIN)).slice(0, ROUND_MAX);
    for (const each of old) {
      if (isStopped) return;
      await settle(options, each).catch((error: unknown) => {
        log.warn(
          { name: each.name, gid: each.gid, err: error },
          'a prepared transaction could not be ended; trying again later',
        );
      });
    }
  }

  const turn = (): Promise<void> =>
    look()
      .catch((error: unknown) =>
        log.warn({ err: error }, 'prepared transactions could not be listed; trying again later'),
      )
      .finally(() => {
        if (!isStopped) cancel = at((now() + everyMs) as Instant, () => void (looking = turn()));
      });
  let looking = turn();

  return {
    get inDoubt() {
      return inDoubt;
    },
    async stop() {
      isStopped = true;
      cancel();
      await looking;
    },
  };
}

/**
 * Ends one according to its global transaction. That the coordinator does not know it means that it was rolled back: a branch is
 * enlisted, durably, before anything of it is prepared, and one that was decided to commit is forgotten only when all its branches have
 * committed. One that an operator has stopped says nothing of its branches: what is prepared for those that are not over waits for a
 * person, for good if it was stopped on its way to commit, else until the coordinator forgets it.
 */
async function settle(
  { transactions, finisher, coordinator, log }: RecoveryOptions,
  prepared: Prepared,
): Promise<void> {
  const { gid, resource, name } = prepared;
  const transaction = await coordinator.read(gid);
  const status = transaction?.status;
  if (status === 'prepared') return;
  const branch = transaction?.branches.find((each) => each.resource === resource);
  // Rolled back is a global transaction when all its branches are: an operator has given this one up, whatever was decided.
  if (status === 'failed' && branch !== undefined && branch.status !== OVER) {
    const { reason } = transaction ?? {};
    log.warn(
      { gid, resource, name, reason },
      'a prepared transaction of a stopped global transaction is left: end it by hand',
    );
    return;
  }
  if (status === 'submitted' || status === 'succeed') {
    const { result, detail, ended } = await finisher.commit(gid, resource);
    if (result === 'success') return log.info({ gid, resource, name, status }, 'a prepared transaction was committed');
    // An interrupted run of a workflow was undone, though the workflow itself has committed.
    if (ended !== 'rolled back')
      return log.warn({ gid, resource, name, detail }, 'a prepared transaction waits for its commit');
  }
  const ended = await transactions.end('ROLLBACK', prepared);
  if (ended === 'stuck') return void stuck(log, prepared);
  if (ended === 'busy')
    return log.info({ gid, resource, name }, 'a prepared transaction is in use, and is rolled back later');
  log.info({ gid, resource, name, status: status ?? 'unknown', ended }, 'a prepared transaction was rolled back');
}
