/**
 * A two-phase message around one inbound request: what the application has left in its local transaction decides, not what it
 * answered. Its answer only says when to look.
 *
 * Crash rule: whoever dies, the barrier's row stands with the local transaction or does not stand. The coordinator asks for it at the
 * control listener when it has not heard the end, and the question itself keeps out what has not committed by then.
 */
import { CodedError } from '../../src/contract/errors.ts';
import { INITIATOR, type Gid } from '../../src/contract/transaction.ts';
import type { Barrier } from '../branch/barrier.ts';
import type { OperationRows } from '../branch/operation-rows.ts';
import type { Gate, Verdict } from '../http/admission.ts';
import type { BeginRule } from '../transaction/begin.ts';
import { abort, isIn, outcomeHeaders, submit, type Outcome, type Undecided } from '../transaction/decide.ts';
import { gateOf, submitted } from './gate.ts';

/** What messages need of the sidecar. */
export interface MessageDesk {
  /** Of the database that the application's local transaction runs in. */
  readonly barrier: Pick<Barrier, 'backCheck'>;
  /** What its sessions have written for messages. */
  readonly rows: Pick<OperationRows, 'has' | 'forget'>;
  /** Where the coordinator asks how a local transaction ended. */
  readonly checkUrl: string;
}

/** The gate of a request whose local transaction decides over `transaction`. */
export function openMessageGate(transaction: Undecided, rule: BeginRule, { barrier, rows }: MessageDesk): Gate {
  const { gid, log } = transaction;
  const operation = { gid, branch: INITIATOR, task: 'msg' } as const;

  const decide = async (status: number): Promise<Verdict> => {
    if (!isIn(rule.commitOn, status)) {
      return { kind: 'pass', headers: outcomeHeaders(gid, await settle(`the application answered ${status}`)) };
    }
    // An application that changed nothing has nothing to be looked up; one that did may have lost it, and answer success nevertheless.
    const ended = rows.has(operation) ? await lookedUp('the application answered success') : 'committed';
    rows.forget(operation);
    if (ended === undefined) return { kind: 'replace', error: inDoubt(gid), headers: outcomeHeaders(gid, 'unknown') };
    if (ended === 'rolled-back') {
      const outcome = await abort(
        transaction,
        'the application answered success, but its local transaction was not committed',
      );
      return { kind: 'replace', error: notCommitted(gid), headers: outcomeHeaders(gid, outcome) };
    }
    return await submitted(transaction, rule);
  };

  /** How the local transaction ended; undefined when its database does not say. */
  const lookedUp = (reason: string): Promise<'committed' | 'rolled-back' | undefined> =>
    barrier.backCheck(gid).catch((cause: unknown) => {
      log.warn({ err: cause, gid, reason }, 'the local transaction of a message is in doubt; the coordinator will ask');
      return undefined;
    });

  /** As the local transaction ended. When its database does not say, the coordinator asks again later. */
  const settle = async (reason: string): Promise<Outcome> => {
    const ended = await lookedUp(reason);
    rows.forget(operation);
    if (ended === undefined) return 'unknown';
    if (ended === 'rolled-back') return await abort(transaction, reason);
    return (await submit(transaction)).outcome;
  };

  return gateOf(transaction, { answered: decide, unanswered: settle });
}

/**
 * How the coordinator is answered that asks for the local transaction of `gid`. Rejects with a `CodedError` when the database does not
 * say, or when there is none that carries barriers.
 */
export async function checkMessage(desk: MessageDesk | undefined, gid: Gid): Promise<'committed' | 'rolled-back'> {
  if (desk === undefined) {
    throw new CodedError('BRANCH_UNKNOWN', 'this sidecar has no database that carries barriers', {
      hint: 'Configure the database again, and inbound.barrier, until the messages that were begun with it have ended.',
    });
  }
  try {
    return await desk.barrier.backCheck(gid);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError('STORE_FAILED', `the local transaction of ${gid} is in doubt: ${detail}`, {
      retry: 'safe',
      hint: 'It is asked for again. Check that the database of the barrier runs.',
      cause,
    });
  }
}

function notCommitted(gid: Gid): CodedError {
  return new CodedError(
    'TRANSACTION_ROLLED_BACK',
    `The application answered success, but its local transaction for ${gid} was not committed`,
    {
      hint: 'Nothing was changed and no message is sent. Let the application commit before it answers, and answer an error when the commit fails',
    },
  );
}

function inDoubt(gid: Gid): CodedError {
  return new CodedError(
    'OUTCOME_UNKNOWN',
    `Whether the local transaction for ${gid} was committed cannot be told yet`,
    {
      retry: 'ask',
      hint: 'Read the transaction with this gid: the coordinator asks the database again until it answers',
    },
  );
}
