/** The initiator, asked like a branch: of a message how its local transaction ended, of a workflow to run its program again. */
import { INITIATOR, type Instant } from '../../contract/transaction.ts';
import type { Branch, GlobalTransaction } from '../global-transaction.ts';
import { tried, triedInVain, type Reply } from './calls.ts';

/** The initiator that is called at `url`, not before `notBefore`. `payload` is in base64. */
export function initiatorAt(
  url: string,
  operation: 'msg' | 'workflow',
  notBefore: Instant,
  payload: string | undefined,
): Branch {
  return {
    id: INITIATOR,
    sequence: 0,
    kind: 'msg',
    resource: url,
    operations: { [operation]: [url] },
    status: 'prepared',
    attempts: 0,
    notBefore,
    ...(payload === undefined ? {} : { payload }),
  };
}

/** What the initiator of this transaction is asked; undefined when it is asked nothing. */
export function questionOf({ callback }: GlobalTransaction): 'msg' | 'workflow' | undefined {
  if (callback === undefined) return undefined;
  return callback.operations.workflow === undefined ? 'msg' : 'workflow';
}

/** The program of a workflow gives a sign of life: it runs, and must not be run a second time beside itself. */
export function alive(state: GlobalTransaction, now: Instant): GlobalTransaction {
  const { callback } = state;
  if (callback === undefined || questionOf(state) !== 'workflow' || state.status !== 'prepared') return state;
  return {
    ...state,
    callback: { ...callback, notBefore: (now + (state.silenceMs ?? state.retryIntervalMs)) as Instant },
  };
}

/** What follows when the initiator of a message has said how its local transaction ended. */
export interface Ends {
  readonly committed: (state: GlobalTransaction) => GlobalTransaction;
  readonly rolledBack: (state: GlobalTransaction, detail: string | undefined) => GlobalTransaction;
}

/** The state after the initiator of a message was asked: without a clear word it is asked again. */
export function checked(state: GlobalTransaction, reply: Reply, now: Instant, ends: Ends): GlobalTransaction {
  const { callback } = state;
  if (callback === undefined || state.status !== 'prepared' || reply.operation !== 'msg') return state;
  switch (reply.result) {
    case 'success':
      return ends.committed({ ...state, callback: tried(callback) });
    case 'failure':
      return ends.rolledBack({ ...state, callback: tried(callback) }, reply.detail);
    default:
      return { ...state, callback: triedInVain(state, callback, reply, now) };
  }
}
