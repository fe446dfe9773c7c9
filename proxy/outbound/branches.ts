/**
 * Calls that become branches: enlisted, durably, before they leave. What their answer has to say is added before the application gets
 * it.
 *
 * Crash rule: from the enlistment on, the coordinator finishes the branch, whether or not the call ever left. Its receiver's barrier
 * absorbs a cancel or a compensation without the call.
 */
import { createHash } from 'node:crypto';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { EnlistRequest } from '../../src/contract/messages.ts';
import { BRANCH_HEADER, GID_HEADER, OPERATION_HEADER } from '../../src/contract/propagation.ts';
import type { BranchId, Gid } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import type { Admission, Gate, Passage, Verdict } from '../http/admission.ts';
import { enlistmentOf, type Enlistment, type RoutedCall } from './enlistment.ts';

export interface BranchesParts {
  readonly service: string;
  readonly coordinator: CoordinatorClient;
  /** Up to so many bytes of an answer are looked at, where an operation is made of it. */
  readonly bodyBytesMax: number;
  readonly log: Log;
}

/** A step of a workflow: the same in every run, and the run that it is made in. */
export interface StepOfRun {
  readonly step: string;
  readonly run: number;
}

/** Enlists calls. */
export interface Branches {
  /**
   * `passage`: the call as it goes out with the gid in all carriers. Answers it with the headers of the branch added and a gate in front
   * where an operation is made of the answer; or the answer to a call that is kept for later; or why it must not leave. Never rejects.
   */
  admit(call: RoutedCall, passage: Passage, step?: StepOfRun): Promise<Admission>;
}

/** Branches of the calls of one service. */
export function openBranches(parts: BranchesParts): Branches {
  const { coordinator, log } = parts;

  const enlist = async (gid: Gid, request: EnlistRequest): Promise<BranchId | CodedError> => {
    try {
      return (await coordinator.enlist(gid, request)).branchId;
    } catch (cause) {
      log.warn({ err: cause, gid, resource: request.resource }, 'a branch could not be enlisted');
      return cause instanceof CodedError
        ? cause
        : new CodedError('INTERNAL', 'A branch could not be enlisted', { cause });
    }
  };

  return {
    async admit(call, passage, step) {
      const { gid, route } = call;
      const resource = resourceOf(parts.service, call, step);
      const identity = step === undefined ? { resource } : { resource, run: step.run };
      const first = enlistmentOf(call, identity, {});
      if (first.unfilled.length > 0) return refuse(unfilled(first.unfilled, route.match));
      const branch = await enlist(gid, first.request);
      if (branch instanceof CodedError) return refuse(notCalled(branch));
      if (route.rule.kind === 'message') return { kind: 'answer', answer: accepted(gid, branch) };
      if (route.needs.branch) {
        const again = await enlist(gid, enlistmentOf(call, identity, { branch }).request);
        if (again instanceof CodedError) return refuse(notCalled(again));
      }
      const operation = route.rule.kind === 'tcc' ? 'try' : 'action';
      const headers = [...passage.headers, BRANCH_HEADER, branch, OPERATION_HEADER, operation];
      const { timeoutMs, retry } = route;
      const sent: Passage = {
        ...passage,
        headers: route.needs.response ? withoutEncodings(headers) : headers,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(retry === undefined ? {} : { retry }),
      };
      if (!route.needs.response) return { kind: 'pass', passage: sent };
      const complete = async (answer: Parameters<Gate['answered']>[0]): Promise<Verdict> => {
        // A call that was refused has nothing to say; its cancel goes out as it stands.
        if (answer.status < 200 || answer.status > 299) return PASS;
        const whole = enlistmentOf(call, identity, { branch, answer });
        if (whole.open.length > 0) return replace(unanswered(whole, route.match));
        const completed = await enlist(gid, whole.request);
        return completed instanceof CodedError ? replace(notCompleted(completed)) : PASS;
      };
      return { kind: 'pass', passage: { ...sent, gate: completionGate(parts.bodyBytesMax, complete) } };
    },
  };
}

const PASS: Verdict = { kind: 'pass', headers: [] };
/** The longest part of a URL in the name of a branch, which has 200 characters. */
const SHOWN_MAX = 90;

function completionGate(keeps: number, answered: Gate['answered']): Gate {
  return { keeps, answered, failed: () => Promise.resolve([]), clientLeft: () => undefined };
}

/**
 * The name of the branch within its gid: readable, and unique for each call. Under a run of a workflow it is made of the step, so that
 * each run names the same branch.
 */
function resourceOf(service: string, { method, url }: RoutedCall, step: StepOfRun | undefined): string {
  const id = step === undefined ? newId() : createHash('sha256').update(step.step).digest('hex').slice(0, 16);
  return `${service} ${method.slice(0, 10)} ${`${url.host}${url.pathname}`.slice(0, SHOWN_MAX)} #${id}`;
}

/** What is kept of an answer is read: it must not be compressed. */
function withoutEncodings(headers: readonly string[]): string[] {
  return headers.filter((_, index) => headers[index - (index % 2)]?.toLowerCase() !== 'accept-encoding');
}

function accepted(gid: Gid, branch: BranchId): Extract<Admission, { kind: 'answer' }>['answer'] {
  return {
    status: 202,
    headers: ['content-type', 'application/json', GID_HEADER, gid, BRANCH_HEADER, branch],
    body: Buffer.from('{}'),
  };
}

function refuse(error: CodedError): Admission {
  return { kind: 'refuse', error };
}

function replace(error: CodedError): Verdict {
  return { kind: 'replace', error, headers: [] };
}

function unfilled(placeholders: readonly string[], match: string): CodedError {
  return new CodedError('TEMPLATE_UNFILLED', `The request has nothing to fill in for ${placeholders.join(', ')}`, {
    hint: `The other service was not called. The route "${match}" makes the operations of the branch out of the request`,
  });
}

function unanswered({ open }: Enlistment, match: string): CodedError {
  return new CodedError('TEMPLATE_UNFILLED', `The answer has nothing to fill in for ${open.join(', ')}`, {
    hint: `Roll back: the other service was called, and the route "${match}" cannot make the operations of its branch out of the answer`,
  });
}

function notCalled(error: CodedError): CodedError {
  if (error.code !== 'COORDINATOR_UNREACHABLE') return error;
  return new CodedError('COORDINATOR_UNREACHABLE', 'The branch could not be enlisted: the coordinator did not answer', {
    retry: 'safe',
    hint: 'The other service was not called. Try again; check coordinator.url and that the coordinator is ready',
    cause: error,
  });
}

function notCompleted(error: CodedError): CodedError {
  const message = `The call was answered, but the coordinator could not be told of it: ${error.message}`;
  return new CodedError(error.code, message, {
    retry: 'ask',
    hint: 'Roll back: the operations of the branch cannot be made without the answer',
    cause: error,
  });
}
