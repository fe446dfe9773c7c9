/**
 * Branch operations that arrive at the inbound listener: each takes effect once without any code in the application. The barrier of
 * its database says what has happened before; the application is called only when that leaves something to do, and never twice at
 * once for one branch. Its success goes out once the barrier's row stands.
 */
import { CodedError } from '../../src/contract/errors.ts';
import { BARRIER_HEADER } from '../../src/contract/propagation.ts';
import type { CallResult } from '../../src/contract/transaction.ts';
import { resultOfHttpStatus } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import { originOf, type Arrival, type Barrier, type KeptAnswer, type OperationOf } from '../branch/barrier.ts';
import type { OperationRows } from '../branch/operation-rows.ts';
import type { Gate, HeldAnswer, OperationDesk, OwnAnswer, Verdict } from '../http/admission.ts';
import { errorAnswer } from '../http/errors.ts';

/** Which of the application's statuses mean what, where they do not mean what they say; from and to, both included. */
export type OperationResults = Readonly<
  Record<'success' | 'failure' | 'ongoing', readonly (readonly [from: number, to: number])[]>
>;

/** The database that has the rows of operations. */
export interface OperationsHere {
  readonly barrier: Barrier;
  readonly rows: OperationRows;
  /** Rolls back the local transactions of an operation that are open though nobody waits for it any more. */
  abandon(operation: OperationOf): void;
}

export interface OperationDeskParts {
  /** Without one, the application is called each time. */
  readonly here?: OperationsHere | undefined;
  readonly results?: OperationResults | undefined;
  readonly log: Log;
}

/** Of an answer with a status that is put in the place of the application's, up to so many bytes of the body go with it. */
const KEPT_BYTES = 65_536;

/** The desk of one inbound listener. */
export function openOperations({ here, results, log }: OperationDeskParts): OperationDesk {
  /** Branches of which an operation is being served, as `gid/branch`. The listener limits how many requests run at once. */
  const serving = new Set<string>();

  const ask = async (operation: OperationOf): Promise<Arrival | OwnAnswer | CodedError> => {
    if (here === undefined) return 'open';
    try {
      const arrival = await here.barrier.arrive(operation);
      if (arrival === 'busy') abandonUndone(here, operation);
      if (arrival === 'absorbed' && operation.task === 'confirm') {
        log.warn(
          operation,
          'a try was refused or never came, and its transaction commits; there is nothing to confirm',
        );
      }
      if (arrival === 'half') log.error(operation, 'an operation is asked for again of which only a part took effect');
      if (arrival !== 'done' || !isAnswered(operation)) return arrival;
      const answer = await here.barrier.answerOf(operation);
      return answer === undefined
        ? errorAnswer(answerLost(operation), [BARRIER_HEADER, arrival], 409)
        : { ...answer, headers: [...answer.headers, BARRIER_HEADER, arrival] };
    } catch (cause) {
      log.warn({ err: cause, ...operation }, 'the barrier could not be asked; the application was not called');
      return barrierSilent(cause, 'The application was not called. The operation is asked for again');
    }
  };

  return {
    async admit(operation, pass) {
      const key = `${operation.gid}/${operation.branch}`;
      if (serving.has(key)) return { kind: 'answer', answer: ongoing('an operation of this branch is being served') };
      serving.add(key);
      const ended = (): void => void serving.delete(key);
      const arrival = await ask(operation);
      if (arrival === 'open') {
        const answered = here?.rows.serve(operation);
        const admission = pass({ gate: openOperationGate({ operation, here, answered, results, log }), ended });
        if (admission.kind !== 'pass') answered?.();
        return admission;
      }
      ended();
      if (arrival instanceof CodedError) return { kind: 'refuse', error: arrival };
      return { kind: 'answer', answer: typeof arrival === 'object' ? arrival : ownAnswer(operation, arrival) };
    },
  };
}

/** Nothing of the branch is being served here: what is still open of the operation will be answered to nobody. */
function abandonUndone(here: OperationsHere, operation: OperationOf): void {
  const { task } = operation;
  if (task === 'cancel' || task === 'compensate') here.abandon({ ...operation, task: originOf(task) });
}

interface GateParts extends OperationDeskParts {
  readonly operation: OperationOf;
  /** To be told when the application has answered. */
  readonly answered: (() => void) | undefined;
}

function openOperationGate({ operation, here, answered, results, log }: GateParts): Gate {
  const decide = async (answer: HeldAnswer): Promise<Verdict> => {
    answered?.();
    const own = resultOfHttpStatus(answer.status);
    const result = resultBy(results, answer.status) ?? own;
    const verdict = result === own ? PASS : translated(answer, result);
    if (result !== 'success' || here === undefined) return verdict;
    try {
      const said = await here.barrier.complete(operation, isAnswered(operation) ? keptOf(answer, verdict) : undefined);
      if (said === 'fenced') return { kind: 'replace', error: fenced(operation), headers: [BARRIER_HEADER, said] };
      if (said === 'half') return { kind: 'replace', error: half(operation), headers: [BARRIER_HEADER, said] };
    } catch (cause) {
      log.warn({ err: cause, ...operation }, 'the barrier could not be told of a success; it is answered as unknown');
      const error = barrierSilent(cause, 'The operation may have taken effect; asking for it again is safe');
      return { kind: 'replace', error, headers: [] };
    }
    return verdict;
  };
  const keeps = results !== undefined || (here !== undefined && isAnswered(operation));
  return {
    ...(keeps ? { keeps: KEPT_BYTES } : {}),
    answered: decide,
    failed: () => Promise.resolve([]),
    clientLeft: () => undefined,
  };
}

/** True for operations whose answers a program reads; of the others the coordinator reads the status alone. */
function isAnswered({ task }: OperationOf): boolean {
  return task === 'try' || task === 'action';
}

/** What whoever asks again is to get; undefined when it is too long, or has no end. */
function keptOf(answer: HeldAnswer, verdict: Verdict): KeptAnswer | undefined {
  const { status, headers, body } = verdict.kind === 'answer' ? verdict.answer : answer;
  if (body === undefined || body.byteLength > KEPT_BYTES) return undefined;
  const kept: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    if (!/^(?:content-length|trailer|set-cookie)$/i.test(name)) kept.push(name, headers[index + 1] ?? '');
  }
  return { status, headers: kept, body };
}

const PASS: Verdict = { kind: 'pass', headers: [] };

function resultBy(results: OperationResults | undefined, status: number): keyof OperationResults | undefined {
  if (results === undefined) return undefined;
  const kinds = ['success', 'failure', 'ongoing'] as const;
  return kinds.find((kind) => results[kind].some(([from, to]) => from <= status && status <= to));
}

const STATUS = { success: 200, failure: 409, ongoing: 425 } as const;

/** The application's answer under the status that says what it means: 200, 409 or 425, as callers of branch operations read them. */
function translated(answer: HeldAnswer, result: Exclude<CallResult, 'dirty'>): Verdict {
  if (result === 'unknown') return PASS;
  // A body that was not kept is left out, and with it what says how to read it.
  const headers: string[] = [];
  for (let index = 0; index + 1 < answer.headers.length; index += 2) {
    const name = answer.headers[index] ?? '';
    const isOfBody = /^content-(?:length|encoding|type)$/i.test(name);
    if (isOfBody && (answer.body === undefined || /length$/i.test(name))) continue;
    headers.push(name, answer.headers[index + 1] ?? '');
  }
  return { kind: 'answer', answer: { status: STATUS[result], headers, body: answer.body ?? Buffer.alloc(0) } };
}

function jsonAnswer(status: number, body: object, said: Arrival | 'ongoing'): OwnAnswer {
  const headers = ['content-type', 'application/json', BARRIER_HEADER, said];
  return { status, headers, body: Buffer.from(JSON.stringify(body)) };
}

/** What is answered without calling the application. */
function ownAnswer(operation: OperationOf, arrival: Exclude<Arrival, 'open'>): OwnAnswer {
  switch (arrival) {
    case 'done':
    case 'absorbed':
      return jsonAnswer(200, {}, arrival);
    case 'fenced':
      return errorAnswer(fenced(operation), [BARRIER_HEADER, arrival]);
    case 'half':
      return errorAnswer(half(operation), [BARRIER_HEADER, arrival]);
    case 'busy':
      return ongoing('a local transaction of what it undoes is still open');
  }
}

function ongoing(detail: string): OwnAnswer {
  return jsonAnswer(425, { result: 'ONGOING', detail }, 'ongoing');
}

function half({ gid, branch, task }: OperationOf): CodedError {
  return new CodedError(
    'BRANCH_DIRTY',
    `Only a part of the ${task} of branch ${branch} of ${gid} took effect: a second local transaction of it was refused`,
    {
      hint: "Let the service make all changes of an operation in one local transaction. Put this one right by hand; then delete its row with barrier_id 'half' from atomesh.barrier, and it counts as done",
    },
  );
}

/** It took effect, and the sidecar died before its answer was kept, or that was too long. */
function answerLost({ gid, branch, task }: OperationOf): CodedError {
  return new CodedError(
    'OUTCOME_UNKNOWN',
    `The ${task} of branch ${branch} of ${gid} has taken effect, and its answer is lost`,
    {
      hint: 'Roll back: the operation is then undone. Begin a new global transaction to try again',
    },
  );
}

function fenced({ gid, branch, task }: OperationOf): CodedError {
  return new CodedError(
    'TRANSACTION_ROLLED_BACK',
    `The ${task} of branch ${branch} of ${gid} comes after what undoes it, and never takes effect`,
    { hint: 'The global transaction was rolled back. Begin a new one to try again' },
  );
}

function barrierSilent(cause: unknown, hint: string): CodedError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new CodedError('STORE_FAILED', `The database of the barrier does not answer: ${detail}`, {
    retry: 'safe',
    hint: `${hint}. Check that the database runs and lets the sidecar's own role in`,
    cause,
  });
}
