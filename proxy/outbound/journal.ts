/** What calls of a workflow's program ask of its journal, before anything leaves. Types only: `proxy/workflow` implements it. */
import type { CodedError } from '../../src/contract/errors.ts';
import type { Mark } from '../../src/contract/transaction.ts';
import type { Gate, OwnAnswer } from '../http/admission.ts';

/** A call under the mark of a run. */
export interface JournaledCall {
  /** `gid/00/run<N>` */
  readonly mark: Mark;
  readonly method: string;
  /** Scheme, authority, path and query, normalised. */
  readonly url: string;
  readonly headers: readonly string[];
  /** The whole body, or why it cannot be had. */
  body(): Promise<Buffer | CodedError>;
  /** It takes a route that makes it a branch: whoever gets it twice does it once. */
  readonly isBranch: boolean;
}

/**
 * - `answer`: it was made before, by a step of that name and with further `headers`, and this is what came of it. A branch that it
 *   became is to be one of `run` too.
 * - `refuse`: it must not be made.
 * - `call`: it is made. `step` is its name, the same in every run and at most 200 characters long, so that a branch which is named so is
 *   the same in every run; what is enlisted for it belongs to `run`. `headers`: further ones to send. `gate` comes behind any other.
 */
export type JournalEntry =
  | {
      readonly kind: 'answer';
      readonly answer: OwnAnswer;
      readonly run: number;
      readonly step: string;
      readonly headers: readonly string[];
    }
  | { readonly kind: 'refuse'; readonly error: CodedError }
  | {
      readonly kind: 'call';
      readonly run: number;
      readonly step: string;
      readonly headers: readonly string[];
      readonly gate: Gate;
    };

export interface Journal {
  /** Never rejects. */
  enter(call: JournaledCall): Promise<JournalEntry>;
}
