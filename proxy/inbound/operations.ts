/**
 * Branch operations that arrive at the inbound listener: each takes effect once without any code in the application. The barrier of
 * its database says what has happened before; the application is called only when that leaves something to do, and never twice at
 * once for one branch. Its success goes out once the barrier's row stands.
 */
import { CodedError } from '../../src/contract/errors.ts';
import type { CallResult } from '../../src/contract/transaction.ts';
import { resultOfHttpStatus } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Arrival, Barrier, OperationOf } from '../branch/barrier.ts';
import type { Gate, HeldAnswer, OperationDesk, OwnAnswer, Verdict } from '../http/admission.ts';
import { errorAnswer } from '../http/errors.ts';

/** Which of the application's statuses mean what, where they do not mean what they say; from and to, both included. */
export type OperationResults = Readonly<
  Record<'success' | 'failure' | 'ongoing', readonly (readonly [from: number, to: number])[]>
>;

export interface OperationDeskParts {
  /** Without one, the application is called each time. */
  readonly barrier?: Barrier | undefined;
  readonly results?: OperationResults | undefined;
  readonly log: Log;
}

/** On answers to branch operations: what the barrier said in place of, or against, the application. */
const BARRIER_HEADER = 'atomesh-barrier';
/** Of an answer with a status that is put in the place of the application's, up to so many bytes of the body go with it. */
const KEPT_BYTES = 65_536;

/** The desk of one inbound listener. */
export function openOperations({ barrier, results, log }: OperationDeskParts): OperationDesk {
  /** Branches of which an operation is being served, as `gid/branch`. The listener limits how many requests run at once. */
  const serving = new Set<string>();

  const ask = async (operation: OperationOf): Promise<Arrival | CodedError> => {
    if (barrier === undefined) return 'open';
    try {
      return await barrier.arrive(operation);
    } catch (cause) {
      log.warn({ err: cause, ...operation }, 'the barrier could not be asked; the application was not called');
      return barrierSilent(cause, 'The application was not called. The operation is asked for again');
    }
  };

  return {
    async admit(operation, pass) {
      const key = `${operation.gid}/${operation.branch}`;
      if (serving.has(key)) return { kind: 'answer', answer: ongoing() };
      serving.add(key);
      const ended = (): void => void serving.delete(key);
      const arrival = await ask(operation);
      if (arrival === 'open') return pass({ gate: openOperationGate({ operation, barrier, results, log }), ended });
      ended();
      if (arrival instanceof CodedError) return { kind: 'refuse', error: arrival };
      return { kind: 'answer', answer: arrival === 'fenced' ? fencedAnswer(operation) : effective(arrival) };
    },
  };
}

interface GateParts extends OperationDeskParts {
  readonly operation: OperationOf;
}

function openOperationGate({ operation, barrier, results, log }: GateParts): Gate {
  const decide = async (answer: HeldAnswer): Promise<Verdict> => {
    const own = resultOfHttpStatus(answer.status);
    const result = resultBy(results, answer.status) ?? own;
    if (result !== 'success' || barrier === undefined) return result === own ? PASS : translated(answer, result);
    try {
      if ((await barrier.complete(operation)) === 'fenced') {
        return { kind: 'replace', error: fenced(operation), headers: [BARRIER_HEADER, 'fenced'] };
      }
    } catch (cause) {
      log.warn({ err: cause, ...operation }, 'the barrier could not be told of a success; it is answered as unknown');
      const error = barrierSilent(cause, 'The operation may have taken effect; asking for it again is safe');
      return { kind: 'replace', error, headers: [] };
    }
    return result === own ? PASS : translated(answer, result);
  };
  return {
    ...(results === undefined ? {} : { keeps: KEPT_BYTES }),
    answered: decide,
    failed: () => Promise.resolve([]),
    clientLeft: () => undefined,
  };
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

function effective(arrival: 'done' | 'absorbed'): OwnAnswer {
  return jsonAnswer(200, {}, arrival);
}

function ongoing(): OwnAnswer {
  return jsonAnswer(425, { result: 'ONGOING', detail: 'an operation of this branch is being served' }, 'ongoing');
}

function fencedAnswer(operation: OperationOf): OwnAnswer {
  return errorAnswer(fenced(operation), [BARRIER_HEADER, 'fenced']);
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
