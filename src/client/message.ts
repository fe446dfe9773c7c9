/** Two-phase message: steps that are carried out if, and only if, a local transaction commits. */
import { CodedError } from '../contract/errors.ts';
import type { Gid } from '../contract/transaction.ts';
import { newGid } from '../platform/random.ts';
import { messageBranch } from './barrier/identity.ts';
import type { BarrierOutcome, BarrierStore } from './barrier/types.ts';
import { payloadOf } from './branch/call.ts';
import type { DtmClient, DtmRequest, TransactionOptions } from './dtm/client.ts';
import { FailureError, messageOf, OngoingError } from './errors.ts';

export interface MessageStep {
  /** Where it is delivered; `topic://name` reaches every subscriber of a topic. */
  readonly action: string;
  /** Text and bytes as they are, anything else as JSON. */
  readonly payload?: unknown;
}

export interface NewMessage extends TransactionOptions {
  readonly steps: readonly MessageStep[];
  /** How long after its begin it is delivered at the earliest. DTM itself takes whole seconds only. */
  readonly delayMs?: number;
  /** All steps at the same time. Default: one after another. */
  readonly concurrent?: boolean;
}

/** The local transaction has committed: now, or before. */
export type Committed<T> = Extract<BarrierOutcome<T>, { readonly kind: 'done' | 'repeated' }>;

/** A message in the hands of its initiator. Every method rejects as `DtmClient`'s do, and may be called again. */
export interface Message {
  readonly gid: Gid;
  /** Hands the message over, undelivered. From then on the coordinator asks at `queryPrepared` what has become of it. */
  prepare(queryPrepared: string): Promise<void>;
  /** Has it delivered; without a `prepare` before it, at once. */
  submit(): Promise<void>;
  /** It will never be delivered. */
  abort(reason: string): Promise<void>;
  /**
   * Prepares the message, does `work` in a local transaction of `database`, and submits: both take effect or neither does,
   * whatever dies in between. `queryPrepared` is a URL where this service answers with `serveQueryPrepared` of the same
   * database.
   *
   * Resolves when both are certain: with `done` and the value of `work`; with `repeated` when the local transaction of this
   * gid had committed before, or its commit was confirmed only by asking. Where the answer to the submit is lost, the
   * back-check has it delivered; with `waitResult` that is an `OngoingError`.
   * Rejects with what `work` throws, and the message is not delivered: unless that is an error of the database's and it turns
   * out to have committed. Rejects with `CodedError` OUTCOME_UNKNOWN when the database cannot say; the coordinator then asks
   * until it can. Rejects with `FailureError` when the message was given up before.
   */
  doAndSubmit<Tx, T>(
    queryPrepared: string,
    database: Pick<BarrierStore<Tx>, 'call' | 'queryPrepared'>,
    work: (tx: Tx) => Promise<T>,
  ): Promise<Committed<T>>;
}

/** A message that nobody has been told of yet. */
export function newMessage(dtm: DtmClient, message: NewMessage): Message {
  const { gid = newGid(), steps, delayMs = 0, concurrent = false } = message;
  const request: DtmRequest = {
    gid,
    transType: 'msg',
    options: message,
    concurrent,
    steps: steps.map(({ action, payload }) => ({ action, payload: payloadOf(payload) })),
    ...(delayMs === 0 ? {} : { customData: JSON.stringify({ delay: delayMs / 1000 }) }),
  };
  let prepared = request;
  const prepare = async (queryPrepared: string): Promise<void> => {
    prepared = { ...request, queryPrepared };
    await dtm.prepare(prepared);
  };
  const submit = (): Promise<void> => dtm.submit(prepared);
  const abort = (reason: string): Promise<void> =>
    dtm.abort({ ...prepared, rollbackReason: reason.slice(0, 1000).toWellFormed() });
  return {
    gid,
    prepare,
    submit,
    abort,
    doAndSubmit: async (queryPrepared, database, work) => {
      try {
        await prepare(queryPrepared);
      } catch (error) {
        if (!(error instanceof FailureError)) throw error;
        // It is decided already. What an earlier call has submitted may be submitted again; what was given up may not.
        await submit();
        return { kind: 'repeated' };
      }
      const outcome = await doLocally(gid, database, work);
      if (outcome.kind === 'not-done') {
        // Nobody may be there to hear it: the coordinator then asks, and hears the same.
        await abort(messageOf(outcome.error)).catch(() => undefined);
        throw outcome.error;
      }
      await submitCommitted(message, submit);
      return outcome;
    },
  };
}

/** Once the local transaction has committed, a submit that does not arrive delays the message, and nothing else. */
async function submitCommitted({ waitResult = false }: NewMessage, submit: () => Promise<void>): Promise<void> {
  try {
    await submit();
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    if (waitResult) throw new OngoingError(`it will be delivered, but not now: ${error.message}`, { cause: error });
  }
}

type Local<T> = Committed<T> | { readonly kind: 'not-done'; readonly error: unknown };

async function doLocally<Tx, T>(
  gid: Gid,
  database: Pick<BarrierStore<Tx>, 'call' | 'queryPrepared'>,
  work: (tx: Tx) => Promise<T>,
): Promise<Local<T>> {
  let thrown: unknown;
  try {
    const outcome = await database.call(messageBranch(gid), work);
    if (outcome.kind === 'done' || outcome.kind === 'repeated') return outcome;
    return {
      kind: 'not-done',
      error: new FailureError(`message ${gid} was given up: the back-check came before the local transaction`),
    };
  } catch (error) {
    if (error instanceof FailureError) return { kind: 'not-done', error };
    thrown = error;
  }
  // The error may be that of a commit that did take effect; and what has not committed must never commit later.
  const ended = await database.queryPrepared(gid).catch((error: unknown) => {
    const message = `how the local transaction of ${gid} ended is not known: ${messageOf(error)}`;
    throw new CodedError('OUTCOME_UNKNOWN', message, {
      retry: 'ask',
      hint: 'The coordinator asks at the back-check URL until it is known, and delivers or drops the message then.',
      cause: thrown,
    });
  });
  return ended === 'committed' ? { kind: 'repeated' } : { kind: 'not-done', error: thrown };
}
