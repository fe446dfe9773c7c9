/** Makes a database's branches known to the coordinator, before their local transactions may commit. */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { BranchKind, Gid } from '../../src/contract/transaction.ts';
import type { Refusal } from '../sql/statement.ts';

export type EnlistResult = { readonly kind: 'enlisted' } | { readonly kind: 'refused'; readonly refusal: Refusal };

/** One database's branches. */
export interface Enlistment {
  /** True when the branch of this gid is known to be enlisted and not known to be finished. */
  isEnlisted(gid: Gid): boolean;
  /**
   * Enlists the branch, once per gid however many sessions ask. Never rejects: what goes wrong is a refusal for the client.
   * `opens`: also writes the branch's state in the database, which must not be when the asking local transaction would not see it.
   */
  enlist(gid: Gid, opens: boolean): Promise<EnlistResult>;
  /** Resolves when the branch's state stands in its database, ahead of its first change, for a gid that is being enlisted. */
  opened(gid: Gid): Promise<void>;
  /** The branch is finished: whoever comes later with this gid must ask again. */
  forget(gid: Gid): void;
}

export interface EnlistmentOptions {
  readonly coordinator: CoordinatorClient;
  readonly kind: BranchKind;
  readonly resource: string;
  /** Where the coordinator calls the second phase. */
  readonly operations: { readonly commit: string; readonly rollback: string };
  /** Writes the branch's state in the database: local transactions of one gid then share it instead of waiting for the first. */
  readonly open: (gid: Gid) => Promise<void>;
  /** Takes that back when the coordinator refuses the branch. */
  readonly discard: (gid: Gid) => Promise<void>;
}

const ENLISTED_MAX = 100_000;

/** Enlists over the coordinator's API. */
export function createEnlistment(options: EnlistmentOptions): Enlistment {
  const enlisted = new Set<Gid>();
  const asking = new Map<Gid, { readonly opened: Promise<void>; readonly result: Promise<EnlistResult> }>();

  async function ask(gid: Gid, opened: Promise<void>): Promise<EnlistResult> {
    const { kind, resource, operations } = options;
    try {
      await Promise.all([options.coordinator.enlist(gid, { kind, resource, operations }), opened]);
      enlisted.add(gid);
      // Forgetting one early costs a request, no more.
      if (enlisted.size > ENLISTED_MAX)
        for (const oldest of enlisted.values().take(ENLISTED_MAX / 10)) enlisted.delete(oldest);
      return { kind: 'enlisted' };
    } catch (error) {
      // Not waited for: the local transaction that is about to be refused may hold a lock on it.
      void opened.then(() => options.discard(gid));
      return { kind: 'refused', refusal: refusalFor(gid, error) };
    }
  }

  return {
    isEnlisted: (gid) => enlisted.has(gid),
    enlist(gid, opens) {
      const running = asking.get(gid);
      if (running !== undefined) return running.result;
      const opened = opens ? options.open(gid) : Promise.resolve();
      const result = ask(gid, opened).finally(() => asking.delete(gid));
      asking.set(gid, { opened, result });
      return result;
    },
    opened: async (gid) => asking.get(gid)?.opened,
    forget: (gid) => void enlisted.delete(gid),
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
