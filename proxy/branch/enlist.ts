/** Makes a database's branches known to the coordinator, before their local transactions may commit. */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { BranchKind, Gid } from '../../src/contract/transaction.ts';
import type { Refusal } from '../sql/statement.ts';
import { branchKey, type UndoBranch } from '../sql/work.ts';

export type EnlistResult = { readonly kind: 'enlisted' } | { readonly kind: 'refused'; readonly refusal: Refusal };

/** One database's branches. */
export interface Enlistment {
  /** True when the branch is known to be enlisted and not known to be finished. */
  isEnlisted(branch: UndoBranch): boolean;
  /**
   * Enlists the branch, once however many sessions ask. Never rejects: what goes wrong is a refusal for the client.
   * `opens`: also writes the branch's state in the database, which must not be when the asking local transaction would not see it.
   */
  enlist(branch: UndoBranch, opens: boolean): Promise<EnlistResult>;
  /** Resolves when the branch's state stands in its database, ahead of its first change, when it is being enlisted. */
  opened(branch: UndoBranch): Promise<void>;
  /** The branch is finished: whoever comes later for it must ask again. */
  forget(branch: UndoBranch): void;
}

export interface EnlistmentOptions {
  readonly coordinator: CoordinatorClient;
  readonly kind: BranchKind;
  /** Where the coordinator calls the second phase of a branch. */
  readonly operationsOf: (branch: UndoBranch) => { readonly commit: string; readonly rollback: string };
  /** Writes the branch's state in the database: local transactions of one gid then share it instead of waiting for the first. */
  readonly open: (branch: UndoBranch) => Promise<void>;
  /** Takes that back when the coordinator refuses the branch. */
  readonly discard: (branch: UndoBranch) => Promise<void>;
}

const ENLISTED_MAX = 100_000;

/** Enlists over the coordinator's API. */
export function createEnlistment(options: EnlistmentOptions): Enlistment {
  const enlisted = new Set<string>();
  const asking = new Map<string, { readonly opened: Promise<void>; readonly result: Promise<EnlistResult> }>();

  async function ask(branch: UndoBranch, opened: Promise<void>): Promise<EnlistResult> {
    const { gid, resource, run } = branch;
    const request = { kind: options.kind, resource, operations: options.operationsOf(branch) };
    try {
      await Promise.all([options.coordinator.enlist(gid, run === undefined ? request : { ...request, run }), opened]);
      enlisted.add(branchKey(branch));
      // Forgetting one early costs a request, no more.
      if (enlisted.size > ENLISTED_MAX)
        for (const oldest of enlisted.values().take(ENLISTED_MAX / 10)) enlisted.delete(oldest);
      return { kind: 'enlisted' };
    } catch (error) {
      // Not waited for: the local transaction that is about to be refused may hold a lock on it.
      void opened.then(() => options.discard(branch));
      return { kind: 'refused', refusal: refusalFor(gid, error) };
    }
  }

  return {
    isEnlisted: (branch) => enlisted.has(branchKey(branch)),
    enlist(branch, opens) {
      const key = branchKey(branch);
      const running = asking.get(key);
      if (running !== undefined) return running.result;
      const opened = opens ? options.open(branch) : Promise.resolve();
      const result = ask(branch, opened).finally(() => asking.delete(key));
      asking.set(key, { opened, result });
      return result;
    },
    opened: async (branch) => asking.get(branchKey(branch))?.opened,
    forget: (branch) => void enlisted.delete(branchKey(branch)),
  };
}

/** The error that a database client gets when its branch could not be enlisted. */
function refusalFor(gid: Gid, error: unknown): Refusal {
  const code = error instanceof CodedError ? error.code : 'INTERNAL';
  const detail = error instanceof Error ? error.message : String(error);
  if (code === 'GID_UNKNOWN') {
    return {
      code: '25000',
      message: `the coordinator does not know global transaction ${gid}`,
      hint: 'Pass the gid on as it came in the request. A finished transaction is forgotten after its retention time.',
      detail,
    };
  }
  if (code === 'RUN_SUPERSEDED') {
    return {
      code: '40000',
      message: `a later run of the workflow ${gid} has begun: this one can change nothing any more`,
      hint: 'Let this run end: its answer is not used. The later run does the work.',
      detail,
    };
  }
  if (code === 'TRANSACTION_DECIDED' || code === 'TRANSACTION_ROLLED_BACK') {
    return {
      code: '40000',
      message: `global transaction ${gid} is already decided: nothing more can join it`,
      hint: 'The work came too late, for instance after the deadline. Roll back; begin a new global transaction to try again.',
      detail,
    };
  }
  if (code === 'COORDINATOR_UNREACHABLE') {
    return {
      code: '08006',
      message: `the coordinator cannot be reached, so this change cannot join global transaction ${gid}`,
      hint: 'Check coordinator.url of the sidecar and that the coordinator runs. Nothing was changed; trying again is safe.',
      detail,
    };
  }
  return {
    code: '58000',
    message: `the coordinator refused the branch of global transaction ${gid}: ${code}`,
    hint: detail,
  };
}
