/** A request to begin a transaction of any mode but mesh, whatever protocol it came by. */
import type { BranchId, Gid, Mode, Protocol } from './transaction.ts';

/** One step that the coordinator carries out: of a saga, or of a message (which has no compensation). */
export interface NewStep {
  readonly id: BranchId;
  /** Where the action is called; a step without has nothing to do. */
  readonly action?: string;
  readonly compensate?: string;
  /** What goes along with both calls, in base64. */
  readonly payload?: string;
}

/** Durations in milliseconds; each has a default that depends on the mode (`src/engine/start.ts`). */
export interface NewTransaction {
  readonly gid: Gid;
  readonly mode: Exclude<Mode, 'mesh'>;
  /** The same text exactly when two requests ask for the same: a gid that comes again with another one is refused. */
  readonly identity: string;
  readonly protocol: Protocol;
  /** Sent along with every call. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly steps: readonly NewStep[];
  /** For each step the indexes of the steps before it; absent: each comes after the one before. */
  readonly order?: readonly (readonly number[])[];
  /**
   * Saga: turns round after this. TCC, XA: rolls back when nobody has decided after this. Message: asks the initiator after this.
   * Workflow: runs it again after so long without a sign of life.
   */
  readonly timeoutMs?: number;
  readonly retryIntervalMs?: number;
  /** How long one call may take before it counts as unknown. */
  readonly requestTimeoutMs?: number;
  /** Saga: tries that ended with neither success nor failure, beyond which it turns round. */
  readonly retryLimit?: number;
  /** Message: how long after its begin it is delivered at the earliest. */
  readonly delayMs?: number;
  /** Message and workflow: where the initiator is asked, with what (base64), and the name of the workflow there. */
  readonly callback?: { readonly url: string; readonly payload?: string; readonly name?: string };
  /** The initiator's own, given back as it came. */
  readonly customData?: string;
}
