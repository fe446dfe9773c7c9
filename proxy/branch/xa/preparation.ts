/** What the sessions of one database need to prepare local transactions in the place of committing them, whatever its engine is. */
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import type { Gid, Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import type { Refusal } from '../../sql/statement.ts';
import { branchKey, type UndoBranch } from '../../sql/work.ts';

export interface LocalPreparation {
  /** Asks the coordinator whether the global transaction can still commit, when that is configured; a refusal when not. Never rejects. */
  mayCommit(gid: Gid): Promise<Refusal | undefined>;
  /** A local transaction of the branch has been prepared here. */
  prepared(branch: UndoBranch): void;
  /** True when this sidecar has prepared a local transaction of the branch that has not been ended since. */
  hasPrepared(branch: UndoBranch): boolean;
  /** The branch has ended. */
  forget(branch: UndoBranch): void;
}

export interface LocalPreparationOptions {
  readonly coordinator: Pick<CoordinatorClient, 'read'>;
  /** The options `xa` of the database. Times in milliseconds. */
  readonly xa: { readonly canCommit: boolean; readonly timeout: number };
}

/** Beyond, the oldest is forgotten: a later wait of its gid for itself then lasts as long as the client lets it. */
const BRANCHES_MAX = 20_000;

/** Nothing is prepared yet. */
export function createLocalPreparation({ coordinator, xa }: LocalPreparationOptions): LocalPreparation {
  const branches = new Set<string>();
  return {
    async mayCommit(gid) {
      if (!xa.canCommit) return undefined;
      const status = await within(
        xa.timeout,
        coordinator.read(gid).then(
          (transaction) => transaction?.status ?? 'unknown',
          () => 'silent' as const,
        ),
      );
      if (status === 'prepared') return undefined;
      return status === undefined || status === 'silent' ? unanswered(gid, xa.timeout) : cannotCommit(gid);
    },
    prepared(branch) {
      branches.add(branchKey(branch));
      const [oldest] = branches;
      if (branches.size > BRANCHES_MAX && oldest !== undefined) branches.delete(oldest);
    },
    hasPrepared: (branch) => branches.has(branchKey(branch)),
    forget: (branch) => void branches.delete(branchKey(branch)),
  };
}

/** What `work` resolves with, or undefined after `ms` milliseconds. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  let cancel = (): void => undefined;
  const late = new Promise<undefined>((resolve) => {
    cancel = at((now() + ms) as Instant, () => resolve(undefined));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    cancel();
  }
}

function unanswered(gid: Gid, askMs: number): Refusal {
  return {
    code: '08006',
    message: `the coordinator did not say within ${askMs} ms whether global transaction ${gid} can still commit`,
    hint: 'The local transaction was rolled back, and nothing of it is left. Trying it again is safe. See xa.canCommit and xa.timeout in the sidecar configuration.',
  };
}

function cannotCommit(gid: Gid): Refusal {
  return {
    code: '40000',
    message: `global transaction ${gid} can commit no more: it is decided already`,
    hint: 'The work came too late, for instance after the deadline. Roll back; begin a new global transaction to try again.',
  };
}
