/** DTM's protocol over HTTP, with nothing but the global `fetch`. */
import { isUtf8 } from 'node:buffer';
import { setTimeout } from 'node:timers/promises';
import { CodedError } from '../../contract/errors.ts';
import { now } from '../../platform/clock.ts';
import { errorOf, unreachable } from '../answers.ts';
import { FailureError, OngoingError } from '../errors.ts';
import { fetchAnswer } from '../fetch-answer.ts';
import {
  type DtmBranch,
  type DtmClient,
  type DtmConnection,
  type DtmProgress,
  type DtmRequest,
  type DtmWorkflow,
  timeLimitOf,
  TIMEOUT_MS,
} from './client.ts';

/** More than the recorded steps of any workflow that a coordinator takes. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
const API = '/api/dtmsvr';
/** Between two queries for the end of a transaction: from the first to the longest pause. */
const FIRST_PAUSE_MS = 50;
const PAUSE_MS_MAX = 1000;

/** Connects when first asked. Throws `TypeError` when `url` is none. */
export function connectDtmHttp({ url, token, timeoutMs = TIMEOUT_MS }: DtmConnection): DtmClient {
  const { origin, pathname, protocol } = new URL(url);
  if (!/^https?:$/.test(protocol)) throw new TypeError(`${JSON.stringify(url)} is no http or https URL`);
  const path = pathname.replace(/\/$/, '');
  const base = origin + (path.endsWith(API) ? path : path + API);
  const headers = {
    'content-type': 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  const ask: Ask = async (verb, body, { limitMs = timeoutMs, mayRepeat = true } = {}) => {
    const end = await fetchAnswer({
      method: body === undefined ? 'GET' : 'POST',
      url: `${base}/${verb}`,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      timeoutMs: limitMs,
      answerBytesMax: ANSWER_BYTES_MAX,
      mayRepeat,
    });
    switch (end.kind) {
      case 'answered':
        return answerOf(end.status, end.body.toString());
      case 'late':
        throw unreachable(`the coordinator did not answer within ${limitMs} ms`);
      case 'lost':
        throw unreachable(`the coordinator cannot be reached: ${end.error.message}`, end.error);
    }
  };
  return {
    url: base,
    prepare: async (request) => void (await ask('prepare', transactionBody(request))),
    submit: (request) => submit(ask, request, timeLimitOf(request, timeoutMs)),
    abort: async (request) => void (await ask('abort', transactionBody(request))),
    registerBranch: async (branch) => void (await ask('registerBranch', branchBody(branch))),
    prepareWorkflow: async (request) => workflowOf(await ask('prepareWorkflow', transactionBody(request))),
    close: () => Promise.resolve(),
  };
}

type Answer = Readonly<Record<string, unknown>>;
interface AskOptions {
  readonly limitMs?: number;
  readonly mayRepeat?: boolean;
}
type Ask = (verb: string, body?: object, options?: AskOptions) => Promise<Answer>;

/**
 * DTM itself takes the second submit of a TCC or XA transaction for its end, and finishes no branch of it; and it answers FAILURE to that of
 * any transaction that has succeeded meanwhile. So when the answer was lost, the coordinator is asked what has become of the first.
 */
async function submit(ask: Ask, request: DtmRequest, limitMs: number): Promise<void> {
  const deadline = now() + limitMs;
  const body = transactionBody(request);
  try {
    await ask('submit', body, { limitMs, mayRepeat: false });
    return;
  } catch (error) {
    if (!(error instanceof CodedError) || error.cause === undefined) throw error;
  }
  switch (await progressOfSubmit(ask, request)) {
    case 'submitted':
      if (request.options?.waitResult === true) await waitForEnd(ask, request, deadline);
      return;
    case 'succeed':
      return;
    case 'not submitted':
      await ask('submit', body, { limitMs: Math.max(1, deadline - now()), mayRepeat: false });
  }
}

/** A query that is not answered leaves what was known before: it is submitted, and has to end. */
async function waitForEnd(ask: Ask, request: DtmRequest, deadline: number): Promise<void> {
  for (let pauseMs = FIRST_PAUSE_MS; now() + pauseMs < deadline; pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX)) {
    await setTimeout(pauseMs);
    const limit = { limitMs: Math.max(1, deadline - now()) };
    const progress = await progressOfSubmit(ask, request, limit).catch((error: unknown) => {
      if (error instanceof CodedError && error.code === 'COORDINATOR_UNREACHABLE') return 'submitted';
      throw error;
    });
    if (progress === 'succeed') return;
  }
  throw new OngoingError(`${request.gid} is submitted, and has not ended in the time that was given`);
}

/** Rejects with `FailureError` when it is rolled back, or is going to be. */
async function progressOfSubmit(
  ask: Ask,
  { gid }: DtmRequest,
  options?: AskOptions,
): Promise<'submitted' | 'succeed' | 'not submitted'> {
  const { transaction } = await ask(`query?gid=${encodeURIComponent(gid)}`, undefined, options);
  const fields = objectIn(transaction);
  const status = textOf(fields['status']);
  if (status === 'aborting' || status === 'failed') {
    const reason = textOf(fields['rollback_reason']);
    throw new FailureError(`${gid} is rolled back${reason === '' ? '' : `: ${reason}`}`);
  }
  return status === 'submitted' || status === 'succeed' ? status : 'not submitted';
}

/** The JSON object of a success; every other answer is thrown. */
function answerOf(status: number, text: string): Answer {
  const body = objectOf(text);
  const message = body?.['message'];
  const said = typeof message === 'string' ? message : text.slice(0, 500);
  if (status === 200 && body !== undefined && body['dtm_result'] !== 'FAILURE') return body;
  // Older servers say FAILURE with status 200 (dtmcli `TransCallDtm`).
  if (body?.['dtm_result'] === 'FAILURE') throw new FailureError(said);
  if (body?.['dtm_result'] === 'ONGOING') throw new OngoingError(said);
  if (status !== 200 && typeof message === 'string') {
    throw new CodedError('OUTCOME_UNKNOWN', `the coordinator answered HTTP ${status}: ${said}`, {
      retry: 'ask',
      hint: 'Read the message; query the gid before you try again.',
    });
  }
  throw errorOf(status, text);
}

function objectOf(text: string): Answer | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Answer) : undefined;
  } catch {
    return undefined;
  }
}

/** Field names and forms of dtmcli (`dtmimp/trans_base.go`); what is undefined is left out by JSON. */
function transactionBody({ gid, transType, options = {}, steps, ...rest }: DtmRequest): object {
  return {
    gid,
    trans_type: transType,
    protocol: 'http',
    steps: steps?.map(({ action, compensate }) => ({ action, compensate })),
    payloads: steps?.map(({ payload }) => payloadText(payload)),
    query_prepared: rest.queryPrepared,
    custom_data: rest.customData,
    concurrent: rest.concurrent,
    rollback_reason: rest.rollbackReason,
    req_extra: rest.reqExtra,
    wait_result: options.waitResult,
    timeout_to_fail: seconds(options.timeoutToFailMs),
    request_timeout: seconds(options.requestTimeoutMs),
    retry_interval: seconds(options.retryIntervalMs),
    retry_limit: options.retryLimit,
    branch_headers: options.branchHeaders,
  };
}

function seconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}

/** A flat map of texts: DTM's server takes nothing else here. */
function branchBody({ gid, transType, branchId, data, payload }: DtmBranch): Readonly<Record<string, string>> {
  return { gid, trans_type: transType, branch_id: branchId, data: payloadText(payload), ...data };
}

/** Bytes that are no text would arrive damaged: they are part of a JSON text here. */
function payloadText(payload: Uint8Array): string {
  if (isUtf8(payload)) return Buffer.from(payload).toString();
  throw new CodedError('BAD_REQUEST', "DTM's protocol over HTTP carries payloads of UTF-8 text only", {
    hint: 'Encode the bytes, in base64 for instance, or connect over gRPC.',
  });
}

function workflowOf(answer: Answer): DtmWorkflow {
  const { transaction, progresses } = answer;
  const stored = objectIn(transaction);
  const list: readonly unknown[] = Array.isArray(progresses) ? progresses : [];
  const status = textOf(stored['status']);
  // Without a status it could not be told from a workflow that has ended.
  if (status === '') throw unreachable('what answers is no coordinator: it knows nothing of the workflow');
  return {
    status,
    rollbackReason: textOf(stored['rollback_reason']),
    result: Buffer.from(textOf(stored['result']), 'base64'),
    progresses: list.map(progressOf),
  };
}

function progressOf(entry: unknown): DtmProgress {
  const fields = objectIn(entry);
  return {
    branchId: textOf(fields['branch_id']),
    op: textOf(fields['op']),
    status: textOf(fields['status']),
    data: Buffer.from(textOf(fields['bin_data']), 'base64'),
  };
}

function objectIn(value: unknown): Answer {
  return typeof value === 'object' && value !== null ? (value as Answer) : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
