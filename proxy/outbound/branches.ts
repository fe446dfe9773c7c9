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
import type { BranchId, Gid, Instant } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import type { Admission, Gate, HeldAnswer, Passage, Verdict } from '../http/admission.ts';
import { abandon, pause } from '../transaction/decide.ts';
import { enlistmentOf, isRefused, isSuccess, type Enlistment, type RoutedCall } from './enlistment.ts';
import { openGates } from './gates.ts';

export interface BranchesParts {
  readonly service: string;
  readonly coordinator: CoordinatorClient;
  /** Up to so many bytes of an answer are looked at, where an operation is made of it. */
  readonly bodyBytesMax: number;
  /** How long an enlistment without an answer is repeated, in milliseconds. Default 10,000. */
  readonly patienceMs?: number;
  readonly log: Log;
}

/** A step of a workflow: the same in every run, and the run that it is made in. */
interface StepOfRun {
  readonly step: string;
  readonly run: number;
}

/** A step that is made, and not answered from its record. */
export interface MadeStep extends StepOfRun {
  /** Records its answer. */
  readonly gate: Gate;
}

/** Enlists calls. */
export interface Branches {
  /**
   * `passage`: the call as it goes out with the gid in all carriers. Answers it with the headers of the branch added and a gate in front
   * where the branch depends on the answer, the one of `step` included; or the answer to a call that is kept for later; or why it must
   * not leave: of these two, the gate of `step` is still to be told. Never rejects.
   */
  admit(call: RoutedCall, passage: Passage, step?: MadeStep): Promise<Admission>;
  /**
   * Enlists the branch of a call that is answered from its record, as that answer leaves it: it is one of this run too. Answers why the
   * program must not have the answer. Never rejects.
   */
  again(call: RoutedCall, step: StepOfRun, answer: HeldAnswer): Promise<CodedError | undefined>;
}

/** Branches of the calls of one service. */
export function openBranches(parts: BranchesParts): Branches {
  const { patienceMs = 10_000 } = parts;

  /** Of one resource, so that a repetition is the same branch: an enlistment whose answer is lost may stand. */
  const enlist = async (gid: Gid, request: EnlistRequest): Promise<BranchId | CodedError> => {
    const until = (now() + patienceMs) as Instant;
    for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_CAP_MS)) {
      try {
        return (await parts.coordinator.enlist(gid, request)).branchId;
      } catch (cause) {
        if (cause instanceof CodedError && cause.code === 'COORDINATOR_UNREACHABLE' && now() < until) {
          await pause(pauseMs);
          continue;
        }
        parts.log.warn({ err: cause, gid, resource: request.resource }, 'a branch could not be enlisted');
        return cause instanceof CodedError
          ? cause
          : new CodedError('INTERNAL', 'A branch could not be enlisted', { cause });
      }
    }
  };

  /** Why the call must not be made. Outside a workflow its next try would be another branch, so the transaction must not commit. */
  const notCalled = (gid: Gid, error: CodedError, step: StepOfRun | undefined): CodedError => {
    if (error.code !== 'COORDINATOR_UNREACHABLE') return error;
    if (step !== undefined) return silent(error, 'Answer with a 5xx: the workflow is run again', 'safe');
    void abandon(parts, gid, 'nobody knows whether a branch of it was enlisted');
    return silent(error, 'Roll back: a repetition would be another branch beside one that may stand', 'never');
  };

  const enlisted = async (
    call: RoutedCall,
    identity: Identity,
    answer?: HeldAnswer,
  ): Promise<BranchId | CodedError> => {
    const { gid, route } = call;
    const known = answer === undefined ? {} : { answer };
    const first = enlistmentOf(call, identity, known);
    if (first.unfilled.length > 0) return unfilled(first.unfilled, route.match);
    const branch = await enlist(gid, first.request);
    if (branch instanceof CodedError || !route.needs.branch) return branch;
    return await enlist(gid, enlistmentOf(call, identity, { ...known, branch }).request);
  };

  /** What the answer has to say of the branch is added, before the application gets it. */
  const completed = async (
    call: RoutedCall,
    identity: Identity,
    branch: BranchId,
    answer: HeldAnswer,
  ): Promise<Verdict> => {
    const whole = enlistmentOf(call, identity, { branch, answer });
    if (isSuccess(answer.status) && whole.open.length > 0) return replace(unanswered(whole, call.route.match));
    const done = await enlist(call.gid, whole.request);
    return done instanceof CodedError ? replace(notCompleted(done)) : PASS;
  };

  return {
    async admit(call, passage, step) {
      const { gid, route } = call;
      const identity = identityOf(parts.service, call, step);
      const branch = await enlisted(call, identity);
      if (branch instanceof CodedError) return refuse(notCalled(gid, branch, step));
      if (route.rule.kind === 'message') return { kind: 'answer', answer: accepted(gid, branch) };
      const isTcc = route.rule.kind === 'tcc';
      const headers = [...passage.headers, BRANCH_HEADER, branch, OPERATION_HEADER, isTcc ? 'try' : 'action'];
      const { timeoutMs, retry } = route;
      const complete = (answer: HeldAnswer): Promise<Verdict> => completed(call, identity, branch, answer);
      // A refusal is recorded before it changes the branch: a later run, which finds the record, changes it again.
      const gate = chained([
        route.needs.response ? answerGate(({ status }) => isSuccess(status), complete, parts.bodyBytesMax) : undefined,
        step?.gate,
        isTcc ? answerGate((answer) => isRefused(route, answer), complete) : undefined,
      ]);
      const sent: Passage = {
        ...passage,
        headers: route.needs.response ? withoutEncodings(headers) : headers,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(retry === undefined ? {} : { retry }),
        ...(gate === undefined ? {} : { gate }),
      };
      return { kind: 'pass', passage: sent };
    },

    async again(call, step, answer) {
      const branch = await enlisted(call, identityOf(parts.service, call, step), answer);
      return branch instanceof CodedError ? notCalled(call.gid, branch, step) : undefined;
    },
  };
}

const RETRY_FIRST_MS = 50;
const RETRY_CAP_MS = 1_000;

interface Identity {
  readonly resource: string;
  readonly run?: number;
}

function identityOf(service: string, call: RoutedCall, step: StepOfRun | undefined): Identity {
  const resource = resourceOf(service, call, step);
  return step === undefined ? { resource } : { resource, run: step.run };
}

const PASS: Verdict = { kind: 'pass', headers: [] };
/** The longest part of a URL in the name of a branch, which has 200 characters. */
const SHOWN_MAX = 90;

/** Asks for a verdict about some answers, and lets the others through. */
function answerGate(
  isAsked: (answer: HeldAnswer) => boolean,
  ask: (answer: HeldAnswer) => Promise<Verdict>,
  keeps?: number,
): Gate {
  return {
    ...(keeps === undefined ? {} : { keeps }),
    answered: (answer) => (isAsked(answer) ? ask(answer) : Promise.resolve(PASS)),
    failed: () => Promise.resolve([]),
    clientLeft: () => undefined,
  };
}

function chained(gates: readonly (Gate | undefined)[]): Gate | undefined {
  return gates.reduce((first, second) => (second === undefined ? first : openGates(first, second)), undefined);
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

function silent(cause: CodedError, hint: string, retry: 'safe' | 'never'): CodedError {
  const message = 'The branch could not be enlisted: the coordinator did not answer';
  return new CodedError('COORDINATOR_UNREACHABLE', message, {
    retry,
    hint: `The other service was not called. ${hint}. Check coordinator.url and that the coordinator is ready`,
    cause,
  });
}

function notCompleted(error: CodedError): CodedError {
  const message = `The call was answered, but the coordinator could not be told of it: ${error.message}`;
  return new CodedError(error.code, message, {
    retry: 'never',
    hint: 'Roll back: the operations of the branch cannot be made without the answer',
    cause: error,
  });
}
