/** What a request that begins a global transaction asks for, and what comes of it. */
import type { CodedError } from '../../src/contract/errors.ts';
import type { StatusRange } from '../../src/contract/messages.ts';
import type { Mark } from '../../src/contract/transaction.ts';
import type { Gate, OwnAnswer, RequestHead } from '../http/admission.ts';

/** How a route begins its transactions; durations in milliseconds. */
export interface BeginRule {
  /** A two-phase message: decided by what the request's local transaction has committed. */
  readonly message: boolean;
  /** The request is stored, and run again after a crash. */
  readonly workflow: boolean;
  /** After this long without a decision the coordinator rolls back; of a message, it asks how the local transaction ended. */
  readonly timeout: number;
  /** Of a workflow: after this long without a sign of life it is run again. */
  readonly rerunAfter: number;
  /** Of a workflow: headers that have to be the same, beside method, path and body, when an idempotency key comes again. */
  readonly keyHeaders: readonly string[];
  /** The application's statuses that commit. */
  readonly commitOn: readonly StatusRange[];
  readonly wait: 'decided' | 'finished';
}

/** A request that a route matched. */
export interface Beginning {
  readonly rule: BeginRule;
  readonly head: RequestHead;
  /** With the query, as the application gets it. */
  readonly path: string;
  /** End-to-end headers, without any carrier that is not trusted. */
  readonly headers: readonly string[];
  /** Who begins it, for people. */
  readonly initiator: string;
}

/** What comes of it: the request goes to the application with the mark in all carriers and behind the gate, or not at all. */
export type Begun =
  | { readonly kind: 'open'; readonly mark: Mark; readonly gate: Gate }
  | { readonly kind: 'answer'; readonly answer: OwnAnswer }
  | { readonly kind: 'refuse'; readonly error: CodedError };
