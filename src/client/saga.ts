/** Saga: the coordinator calls the steps, and compensates them in reverse when one fails. */
import { CodedError } from '../contract/errors.ts';
import type { Gid } from '../contract/transaction.ts';
import { newGid } from '../platform/random.ts';
import { payloadOf } from './branch/call.ts';
import type { DtmClient, TransactionOptions } from './dtm/client.ts';

export interface SagaStep {
  /** Where the step is carried out; called with POST when there is a payload, else with GET. */
  readonly action: string;
  /** Where it is taken back; without one there is nothing to take back. */
  readonly compensate?: string;
  /** What both calls carry: text and bytes as they are, anything else as JSON. */
  readonly payload?: unknown;
  /** In a concurrent saga: the indexes of the steps that must have succeeded before this one is called. */
  readonly after?: readonly number[];
}

export interface Saga extends TransactionOptions {
  readonly steps: readonly SagaStep[];
  /** Steps run at the same time, but for those that name others in `after`. Default: one after another. */
  readonly concurrent?: boolean;
}

/**
 * Hands a saga to the coordinator and resolves with its gid: from then on it ends, whatever dies. With `waitResult` resolves
 * when it has succeeded. Rejects with `FailureError` when it was rolled back, `OngoingError` when it has not ended in time,
 * and `CodedError`: BAD_REQUEST for a saga that cannot be, COORDINATOR_UNREACHABLE or OUTCOME_UNKNOWN when it is not known
 * whether the coordinator has it; then hand it in again with the same gid.
 */
export async function submitSaga(dtm: DtmClient, saga: Saga): Promise<Gid> {
  const { gid = newGid(), steps, concurrent = false } = saga;
  if (concurrent) refuseCircles(steps);
  else if (steps.some(({ after }) => after !== undefined)) {
    throw new CodedError('BAD_REQUEST', 'the steps of a saga that is not concurrent come one after another', {
      hint: 'Set concurrent: true, or leave `after` away.',
    });
  }
  await dtm.submit({
    gid,
    transType: 'saga',
    options: saga,
    concurrent,
    steps: steps.map(({ action, compensate, payload }) => ({
      action,
      ...(compensate === undefined ? {} : { compensate }),
      payload: payloadOf(payload),
    })),
    ...(concurrent ? { customData: JSON.stringify({ concurrent, orders: ordersOf(steps) }) } : {}),
  });
  return gid;
}

/** DTM's form: from the index of a step to those before it, without the steps that have none. */
function ordersOf(steps: readonly SagaStep[]): Readonly<Record<string, readonly number[]>> {
  return Object.fromEntries(
    steps.flatMap(({ after = [] }, index) => (after.length === 0 ? [] : [[String(index), after]])),
  );
}

/** A step that waits for itself would keep the saga from ending, one that waits for nobody's would be a mistyped number. */
function refuseCircles(steps: readonly SagaStep[]): void {
  const done = new Set<number>();
  for (let grown = true; grown;) {
    grown = false;
    for (const [index, { after = [] }] of steps.entries()) {
      if (done.has(index) || !after.every((before) => done.has(before))) continue;
      done.add(index);
      grown = true;
    }
  }
  if (done.size === steps.length) return;
  const stuck = [...steps.keys()].filter((index) => !done.has(index));
  throw new CodedError('BAD_REQUEST', `steps ${stuck.join(', ')} of the saga would never be called`, {
    hint: '`after` holds indexes of steps, from 0, and no step may wait for itself, not even through others.',
  });
}
