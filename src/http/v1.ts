/** The native REST API, as `src/contract/messages.ts` documents it: one row and one short handler a request. */
import { type CodedError, errorBody, httpStatusOf } from '../contract/errors.ts';
import type { TransactionList } from '../contract/messages.ts';
import type { Gid } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Outcome, Runner } from '../runner/runner.ts';
import { noRuns } from '../runner/refusals.ts';
import { pageOf, runOf, viewOf } from '../runner/view.ts';
import {
  abortRequestOf,
  beginRequestOf,
  emptyRequestOf,
  enlistRequestOf,
  gidOf,
  listFilterOf,
  noParametersOf,
  resolveRequestOf,
  retryRequestOf,
  stepRequestOf,
  submitRequestOf,
  waitMsOf,
} from './requests.ts';
import type { Call, Reply, Route } from './routes.ts';

/** A branch may carry a body for each of two operations, and base64 makes four characters of three bytes. */
const GROWTH = 3;
/** Headers for two operations, their URLs, and the rest of the request. */
const ENVELOPE_BYTES_MAX = 256 * 1024;
/** More than one transaction may keep of what others carry. */
const CARRIED_BYTES_MAX = 24 * 1024 * 1024;

/** The largest request that carries bodies of others, where others send at most `bodyBytesMax`: those of begins, branches and steps. */
export function carryingBytesMax(bodyBytesMax: number): number {
  return Math.max(bodyBytesMax, Math.min(GROWTH * bodyBytesMax + ENVELOPE_BYTES_MAX, CARRIED_BYTES_MAX));
}

/** The routes of the API over `runner`; `limit` is the largest body of a request that carries none of another. */
export function v1Routes(runner: Runner, limit: number): readonly Route[] {
  const bodyBytesMax = carryingBytesMax(limit);
  return [
    { method: 'POST', path: '/v1/transactions', bodyBytesMax, handle: begin },
    { method: 'GET', path: '/v1/transactions', handle: list },
    { method: 'GET', path: '/v1/transactions/{gid}', handle: withGid(waitMsOf, (call) => call.query, read) },
    {
      method: 'POST',
      path: '/v1/transactions/{gid}/branches',
      bodyBytesMax,
      handle: withGid(enlistRequestOf, bodyOf, enlist),
    },
    { method: 'POST', path: '/v1/transactions/{gid}/runs', handle: withGid(emptyRequestOf, bodyOf, run) },
    {
      method: 'POST',
      path: '/v1/transactions/{gid}/steps',
      bodyBytesMax,
      handle: withGid(stepRequestOf, bodyOf, step),
    },
    {
      method: 'GET',
      path: '/v1/transactions/{gid}/steps',
      handle: withGid(noParametersOf, (call) => call.query, steps),
    },
    { method: 'POST', path: '/v1/transactions/{gid}/submit', handle: withGid(submitRequestOf, bodyOf, submit) },
    { method: 'POST', path: '/v1/transactions/{gid}/abort', handle: withGid(abortRequestOf, bodyOf, abort) },
    { method: 'POST', path: '/v1/transactions/{gid}/retry', handle: withGid(retryRequestOf, bodyOf, retry) },
    { method: 'POST', path: '/v1/transactions/{gid}/resolve', handle: withGid(resolveRequestOf, bodyOf, resolve) },
    { method: 'POST', path: '/v1/transactions/{gid}/stop', handle: withGid(retryRequestOf, bodyOf, stop) },
  ];

  async function begin(call: Call): Promise<Reply> {
    const request = beginRequestOf(call.body);
    if (!request.ok) return errorReply(request.error);
    const outcome = await runner.begin(request.value);
    if (!outcome.ok) return errorReply(outcome.error);
    return jsonReply(outcome.value.created ? 201 : 200, viewOf(outcome.value.transaction));
  }

  async function enlist(gid: Gid, request: Parameters<Runner['enlist']>[1]): Promise<Reply> {
    const outcome = await runner.enlist(gid, request);
    return outcome.ok ? jsonReply(200, outcome.value) : errorReply(outcome.error);
  }

  async function run(gid: Gid): Promise<Reply> {
    const outcome = await runner.run(gid);
    return outcome.ok ? jsonReply(200, outcome.value) : errorReply(outcome.error);
  }

  async function step(gid: Gid, request: Parameters<Runner['step']>[1]): Promise<Reply> {
    const outcome = await runner.step(gid, request);
    return outcome.ok ? jsonReply(200, {}) : errorReply(outcome.error);
  }

  async function steps(gid: Gid): Promise<Reply> {
    const outcome = await runner.read(gid);
    if (!outcome.ok) return errorReply(outcome.error);
    const answer = runOf(outcome.value);
    return answer === undefined ? errorReply(noRuns(gid)) : jsonReply(200, answer);
  }

  async function submit(gid: Gid, request: Parameters<Runner['submit']>[1]): Promise<Reply> {
    return transactionReply(await runner.submit(gid, request));
  }

  async function abort(gid: Gid, request: Parameters<Runner['abort']>[1]): Promise<Reply> {
    return transactionReply(await runner.abort(gid, request));
  }

  async function retry(gid: Gid, request: Parameters<Runner['retry']>[1]): Promise<Reply> {
    return transactionReply(await runner.retry(gid, request));
  }

  async function resolve(gid: Gid, request: Parameters<Runner['resolve']>[1]): Promise<Reply> {
    return transactionReply(await runner.resolve(gid, request));
  }

  async function stop(gid: Gid, request: Parameters<Runner['giveUp']>[1]): Promise<Reply> {
    return transactionReply(await runner.giveUp(gid, request));
  }

  async function read(gid: Gid, waitMs: number, call: Call): Promise<Reply> {
    return transactionReply(
      waitMs === 0 ? await runner.read(gid) : await runner.waitForEnd(gid, waitMs, call.signal()),
    );
  }

  async function list(call: Call): Promise<Reply> {
    const filter = listFilterOf(call.query);
    if (!filter.ok) return errorReply(filter.error);
    const outcome = await pageOf((part) => runner.list(part), filter.value, viewOf);
    if (!outcome.ok) return errorReply(outcome.error);
    const { views, next } = outcome.value;
    return jsonReply(200, {
      transactions: views,
      ...(next === undefined ? {} : { next }),
    } satisfies TransactionList);
  }
}

/** The answer for an error that the other side is to see. */
export function errorReply(error: CodedError): Reply {
  return { status: httpStatusOf(error.code), text: JSON.stringify(errorBody(error)), code: error.code };
}

/** Checks the gid and what `parse` makes of `part`, then handles. */
function withGid<T>(
  parse: (text: string) => Outcome<T>,
  part: (call: Call) => string,
  handle: (gid: Gid, value: T, call: Call) => Promise<Reply>,
): Route['handle'] {
  return (call) => {
    const gid = gidOf(call.segment);
    if (!gid.ok) return errorReply(gid.error);
    const parsed = parse(part(call));
    return parsed.ok ? handle(gid.value, parsed.value, call) : errorReply(parsed.error);
  };
}

function bodyOf(call: Call): string {
  return call.body;
}

function transactionReply(outcome: Outcome<GlobalTransaction>): Reply {
  return outcome.ok ? jsonReply(200, viewOf(outcome.value)) : errorReply(outcome.error);
}

function jsonReply(status: number, body: unknown): Reply {
  return { status, text: JSON.stringify(body) };
}
