/** From bytes to the requests of `src/contract/messages.ts`: parsed once here, trusted inside. */
import { CodedError, type ErrorCode } from '../contract/errors.ts';
import type {
  AbortRequest,
  BeginRequest,
  Callback,
  EnlistRequest,
  ResolveRequest,
  RetryRequest,
  StepRequest,
  SubmitRequest,
} from '../contract/messages.ts';
import { type Gid, type GlobalStatus, type Mode, parseBranchId, parseGid } from '../contract/transaction.ts';
import type { ListFilter } from '../runner/ports.ts';
import type { Outcome } from '../runner/runner.ts';
import { branchFaults, branchUrl, ENLIST } from './branch-fields.ts';
import { base64, type Check, type Field, integer, objectFaults, oneOf, optional, required, text } from './fields.ts';

const DAY_MS = 86_400_000;
const LIST_LIMIT_DEFAULT = 100;
const LIST_LIMIT_MAX = 1000;
/** A long poll ends after this at the latest; a longer `wait` is cut to it. */
const WAIT_MS_MAX = 60_000;

/** What is begun here; the other modes are begun by DTM's protocol. */
const MODES: readonly Mode[] = ['mesh'];
const STATUSES: Readonly<Record<GlobalStatus, true>> = {
  prepared: true,
  submitted: true,
  aborting: true,
  succeed: true,
  failed: true,
};

const gid: Check = (value) => (typeof value === 'string' && parseGid(value) !== undefined ? undefined : GID_FORM);
const GID_FORM = 'expected 1 to 128 characters of A-Z a-z 0-9 . _ : { } -';

const BEGIN: Readonly<Record<keyof BeginRequest, Field>> = {
  gid: optional(gid),
  mode: optional(oneOf(MODES)),
  timeoutMs: optional(integer(1, 30 * DAY_MS)),
  retryIntervalMs: optional(integer(1, DAY_MS)),
  requestTimeoutMs: optional(integer(1, DAY_MS)),
  initiator: optional(text(0, 200)),
  callback: optional(() => undefined),
};
const CALLBACK: Readonly<Record<keyof Callback, Field>> = {
  operation: required(oneOf(['msg', 'workflow'])),
  url: required(branchUrl),
  afterMs: required(integer(1, 30 * DAY_MS)),
  payload: optional(base64),
};
const run = integer(1, Number.MAX_SAFE_INTEGER);
const STEP: Readonly<Record<keyof StepRequest, Field>> = {
  run: required(run),
  step: required(text(1, 300)),
  data: required(base64),
};
const SUBMIT: Readonly<Record<keyof SubmitRequest, Field>> = { run: optional(run), ended: optional(run) };
const ABORT: Readonly<Record<keyof AbortRequest, Field>> = { reason: optional(text(0, 1000)), run: optional(run) };

const branchId: Check = (value) =>
  typeof value === 'string' && parseBranchId(value) !== undefined ? undefined : 'expected a branch id such as "01"';
const RETRY: Readonly<Record<keyof RetryRequest, Field>> = {
  by: optional(text(0, 200)),
  reason: optional(text(0, 1000)),
};
const RESOLVE: Readonly<Record<keyof ResolveRequest, Field>> = {
  ...RETRY,
  branch: optional(branchId),
  how: required(oneOf(['apply-before', 'keep-current', 'retry'])),
};

/** The gid of a path segment, percent-encoded or not. */
export function gidOf(segment: string): Outcome<Gid> {
  const parsed = parseGid(segment) ?? (segment.includes('%') ? parseGid(decoded(segment)) : undefined);
  return parsed === undefined ? refuse('BAD_GID', [`gid in the path: ${GID_FORM}`]) : { ok: true, value: parsed };
}

/** The body of `POST /v1/transactions`. */
export function beginRequestOf(body: string): Outcome<BeginRequest> {
  const read = objectOf<BeginRequest>(body, BEGIN, callbackFaults);
  if (read.ok || !read.error.message.startsWith('gid: ')) return read;
  return { ok: false, error: new CodedError('BAD_GID', read.error.message, { hint: HINT }) };
}

function callbackFaults(value: object): readonly string[] {
  const { callback, timeoutMs } = value as Readonly<Record<string, unknown>>;
  if (callback === undefined) return [];
  const faults = objectFaults(callback, CALLBACK, 'callback');
  const isMessage = faults.length === 0 && (callback as Callback).operation === 'msg';
  if (!isMessage || timeoutMs === undefined) return faults;
  return ['timeoutMs: a message has no deadline, its initiator is asked instead; leave it out'];
}

/** The body of `POST /v1/transactions/{gid}/branches`. */
export function enlistRequestOf(body: string): Outcome<EnlistRequest> {
  return objectOf<EnlistRequest>(body, ENLIST, branchFaults);
}

/** The body of `POST /v1/transactions/{gid}/steps`. */
export function stepRequestOf(body: string): Outcome<StepRequest> {
  return objectOf<StepRequest>(body, STEP);
}

/** The body of `POST /v1/transactions/{gid}/submit`; an empty one is `{}`. */
export function submitRequestOf(body: string): Outcome<SubmitRequest> {
  return body === '{}' || body === '' ? { ok: true, value: {} } : objectOf<SubmitRequest>(body, SUBMIT);
}

/** The body of `POST /v1/transactions/{gid}/abort`; an empty one is `{}`. */
export function abortRequestOf(body: string): Outcome<AbortRequest> {
  return objectOf<AbortRequest>(body, ABORT);
}

/** The body of `POST /v1/transactions/{gid}/retry`, and of `…/stop`, which says the same; an empty one is `{}`. */
export function retryRequestOf(body: string): Outcome<RetryRequest> {
  return body === '{}' || body === '' ? { ok: true, value: {} } : objectOf<RetryRequest>(body, RETRY);
}

/** The body of `POST /v1/transactions/{gid}/resolve`. */
export function resolveRequestOf(body: string): Outcome<ResolveRequest> {
  return objectOf<ResolveRequest>(body, RESOLVE);
}

/** A body that says nothing: `{}`, or no bytes at all. */
export function emptyRequestOf(body: string): Outcome<unknown> {
  return body === '{}' || body === '' ? { ok: true, value: {} } : objectOf(body, {});
}

/** The query of `GET /v1/transactions/{gid}`: how long to wait, 0 when not at all. */
export function waitMsOf(query: string): Outcome<number> {
  if (query === '') return { ok: true, value: 0 };
  const read = parametersOf(query, ['wait']);
  if (!read.ok) return read;
  const wait = read.value.get('wait') ?? '0s';
  const [, count, unit] = /^([0-9]{1,9})(ms|s|m)$/.exec(wait) ?? [];
  if (count === undefined) return refuse('BAD_REQUEST', ['wait: expected a duration such as 500ms, 30s or 1m']);
  const unitMs = unit === 'ms' ? 1 : unit === 's' ? 1000 : 60_000;
  return { ok: true, value: Math.min(Number(count) * unitMs, WAIT_MS_MAX) };
}

/** A query that says nothing. */
export function noParametersOf(query: string): Outcome<unknown> {
  return query === '' ? { ok: true, value: {} } : parametersOf(query, []);
}

/** The query of `GET /v1/transactions`. */
export function listFilterOf(query: string): Outcome<ListFilter> {
  const read = parametersOf(query, ['status', 'limit', 'after']);
  if (!read.ok) return read;
  const status = read.value.get('status');
  const after = read.value.get('after');
  const limit = read.value.get('limit');
  const count = limit === null ? LIST_LIMIT_DEFAULT : /^[0-9]{1,9}$/.test(limit) ? Number(limit) : limit;
  const faults = [
    ...named('status', status === null ? undefined : oneOf(Object.keys(STATUSES))(status)),
    ...named('limit', integer(1, LIST_LIMIT_MAX)(count)),
    ...named('after', after === null ? undefined : gid(after)),
  ];
  if (faults.length > 0) return refuse('BAD_REQUEST', faults);
  return {
    ok: true,
    value: {
      ...(status === null ? {} : { status: status as GlobalStatus }),
      ...(after === null ? {} : { after }),
      limit: Number(count),
    },
  };
}

function objectOf<T>(
  body: string,
  fields: Readonly<Record<string, Field>>,
  further: (value: object) => readonly string[] = () => [],
): Outcome<T> {
  let value: unknown;
  try {
    value = body === '' ? {} : JSON.parse(body);
  } catch (cause) {
    return refuse('BAD_REQUEST', [`body: not JSON (${cause instanceof Error ? cause.message : String(cause)})`]);
  }
  const faults = objectFaults(value, fields);
  const all = typeof value === 'object' && value !== null ? [...faults, ...further(value)] : faults;
  return all.length > 0 ? refuse('BAD_REQUEST', all) : { ok: true, value: value as T };
}

function parametersOf(query: string, known: readonly string[]): Outcome<URLSearchParams> {
  const parameters = new URLSearchParams(query);
  const faults = [...new Set(parameters.keys())].flatMap((name) => {
    if (!known.includes(name)) {
      return [`${JSON.stringify(name.slice(0, 60))}: unknown parameter, known are ${known.join(', ') || 'none'}`];
    }
    return parameters.getAll(name).length > 1 ? [`${name}: given more than once`] : [];
  });
  return faults.length > 0 ? refuse('BAD_REQUEST', faults) : { ok: true, value: parameters };
}

const FAULTS_SHOWN_MAX = 20;
const HINT = 'Correct the request; docs/api.md in the repository of Atomesh lists every field and parameter.';

function refuse(code: ErrorCode, faults: readonly string[]): { readonly ok: false; readonly error: CodedError } {
  const shown = faults.slice(0, FAULTS_SHOWN_MAX).join('; ');
  const rest = faults.length > FAULTS_SHOWN_MAX ? `; and ${faults.length - FAULTS_SHOWN_MAX} more` : '';
  return { ok: false, error: new CodedError(code, shown + rest, { hint: HINT }) };
}

function named(name: string, fault: string | undefined): readonly string[] {
  return fault === undefined ? [] : [`${name}: ${fault}`];
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return '';
  }
}
