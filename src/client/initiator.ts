/** What TCC and XA have in common: the initiator calls the branches itself, and then has all of them finished one way. */
import { CodedError } from '../contract/errors.ts';
import type { Gid } from '../contract/transaction.ts';
import { newGid } from '../platform/random.ts';
import type { DtmClient, DtmRequest, TransactionOptions } from './dtm/client.ts';
import { FailureError, messageOf, OngoingError } from './errors.ts';

/** Calls of branches that are under way or have not succeeded: while there are any, the transaction cannot be submitted. */
export interface Calls {
  /** Does `call`, and remembers it should it fail. */
  watch<T>(call: () => Promise<T>): Promise<T>;
}

/**
 * Prepares a transaction, does `work`, and submits it; when anything fails, also a call that `work` did not wait for or whose
 * error it swallowed, aborts it and rejects with that error. When the abort does not arrive, the coordinator rolls back at
 * the transaction's own time limit.
 *
 * Rejects with `FailureError` when the coordinator had rolled back before the submit came, with `OngoingError` when the
 * transaction is committed but has not ended (`waitResult`), with `CodedError` OUTCOME_UNKNOWN when the answer to the submit
 * was lost, TRANSACTION_DECIDED when a transaction of this gid has been decided before.
 */
export async function initiate<T>(
  dtm: DtmClient,
  transType: 'tcc' | 'xa',
  options: TransactionOptions,
  work: (gid: Gid, calls: Calls) => Promise<T>,
): Promise<T> {
  const gid = options.gid ?? newGid();
  const request: DtmRequest = { gid, transType, options };
  await prepare(dtm, request);
  let value: T;
  try {
    const calls = new WatchedCalls();
    value = await work(gid, calls);
    await calls.succeeded();
  } catch (error) {
    await rollBack(dtm, request, error);
    throw error;
  }
  await commit(dtm, request);
  return value;
}

/** A refusal says that the gid is taken, and not how that transaction ended: it may be that of an earlier try, and committed. */
async function prepare(dtm: DtmClient, request: DtmRequest): Promise<void> {
  try {
    await dtm.prepare(request);
  } catch (error) {
    if (!(error instanceof FailureError)) throw error;
    throw new CodedError('TRANSACTION_DECIDED', `${request.gid} cannot be begun again: ${error.message}`, {
      retry: 'ask',
      hint: 'Query the gid to learn how it ended. Give another transaction a gid of its own.',
      cause: error,
    });
  }
}

async function rollBack(dtm: DtmClient, request: DtmRequest, error: unknown): Promise<void> {
  // DTM keeps the reason in a column of 1,024 characters.
  const rollbackReason = messageOf(error).slice(0, 1000).toWellFormed();
  try {
    await dtm.abort({ ...request, rollbackReason });
  } catch {
    // Who gave the transaction up learns why from the first error; the coordinator finds out by the time limit.
  }
}

async function commit(dtm: DtmClient, request: DtmRequest): Promise<void> {
  try {
    await dtm.submit(request);
  } catch (error) {
    if (error instanceof FailureError || error instanceof OngoingError) throw error;
    throw new CodedError('OUTCOME_UNKNOWN', `whether ${request.gid} is committed is not known: ${messageOf(error)}`, {
      retry: 'ask',
      hint: 'Query the gid: prepared transactions are rolled back at their time limit, submitted ones are committed.',
      cause: error,
    });
  }
}

class WatchedCalls implements Calls {
  readonly #underWay = new Set<Promise<unknown>>();
  #failed: { readonly error: unknown } | undefined;

  watch<T>(call: () => Promise<T>): Promise<T> {
    const watched = call().catch((error: unknown) => {
      this.#failed ??= { error };
      throw error;
    });
    this.#underWay.add(watched);
    const over = (): void => void this.#underWay.delete(watched);
    watched.then(over, over);
    return watched;
  }

  /** Waits for what is under way; throws the first error of all calls. */
  async succeeded(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    if (this.#failed !== undefined) throw this.#failed.error;
  }
}
