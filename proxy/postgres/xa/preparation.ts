/** What the sessions of one database need to prepare local transactions in the place of committing them. */
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import type { Gid, Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import { newId } from '../../../src/platform/random.ts';
import type { Refusal } from '../../sql/statement.ts';
import { branchKey, type UndoBranch } from '../../sql/work.ts';
import { preparedName } from './names.ts';

export interface Preparation {
  /** The role of the second phase, which must be able to end what is prepared. */
  readonly finisher: string;
  /** A name for a prepared transaction of the branch, never the same twice. */
  nameFor(branch: UndoBranch): string;
  /** Asks the coordinator whether the global transaction can still commit, when that is configured; a refusal when not. Never rejects. */
  mayCommit(gid: Gid): Promise<Refusal | undefined>;
  /** A local transaction of the branch has been prepared here. */
  prepared(branch: UndoBranch): void;
  /** True when this sidecar has prepared a local transaction of the branch that has not been ended since. */
  hasPrepared(branch: UndoBranch): boolean;
  /** The branch has ended. */
  forget(branch: UndoBranch): void;
}

export interface PreparationOptions {
  readonly finisher: string;
  readonly coordinator: Pick<CoordinatorClient, 'read'>;
  /** Ask before each PREPARE TRANSACTION, and wait so many milliseconds for the answer; undefined: do not ask. */
  readonly askMs: number | undefined;
}

/** Beyond, the oldest is forgotten: a later wait of its gid for itself then lasts as long as the client lets it. */
const BRANCHES_MAX = 20_000;

/** Nothing is prepared yet. */
export function createPreparation({ finisher, coordinator, askMs }: PreparationOptions): Preparation {
  const branches = new Set<string>();
  return {
    finisher,
    nameFor: (branch) => preparedName(branch, newId()),
    async mayCommit(gid) {
      if (askMs === undefined) return undefined;
      const status = await within(
        askMs,
        coordinator.read(gid).then(
          (transaction) => transaction?.status ?? 'unknown',
          () => 'silent' as const,
        ),
      );
      if (status === 'prepared') return undefined;
      return status === undefined || status === 'silent' ? unanswered(gid, askMs) : cannotCommit(gid);
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
