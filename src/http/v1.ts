/** The native REST API, as `src/contract/messages.ts` documents it: one row and one short handler a request. */
import { type CodedError, errorBody, httpStatusOf } from '../contract/errors.ts';
import type { TransactionList } from '../contract/messages.ts';
import type { Gid } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import type { Outcome, Runner } from '../runner/runner.ts';
import { pageOf, viewOf } from '../runner/view.ts';
import {
  abortRequestOf,
  beginRequestOf,
  emptyRequestOf,
  enlistRequestOf,
  gidOf,
  listFilterOf,
  waitMsOf,
} from './requests.ts';
import type { Call, Reply, Route } from './routes.ts';

/** The routes of the API over `runner`. */
export function v1Routes(runner: Runner): readonly Route[] {
  return [
    { method: 'POST', path: '/v1/transactions', handle: begin },
    { method: 'GET', path: '/v1/transactions', handle: list },
    { method: 'GET', path: '/v1/transactions/{gid}', handle: withGid(waitMsOf, (call) => call.query, read) },
    { method: 'POST', path: '/v1/transactions/{gid}/branches', handle: withGid(enlistRequestOf, bodyOf, enlist) },
    { method: 'POST', path: '/v1/transactions/{gid}/submit', handle: withGid(emptyRequestOf, bodyOf, submit) },
    { method: 'POST', path: '/v1/transactions/{gid}/abort', handle: withGid(abortRequestOf, bodyOf, abort) },
    { method: 'POST', path: '/v1/transactions/{gid}/retry', handle: withGid(emptyRequestOf, bodyOf, retry) },
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

  async function submit(gid: Gid): Promise<Reply> {
    return transactionReply(await runner.submit(gid));
  }

  async function abort(gid: Gid, request: Parameters<Runner['abort']>[1]): Promise<Reply> {
    return transactionReply(await runner.abort(gid, request));
  }

  async function retry(gid: Gid): Promise<Reply> {
    return transactionReply(await runner.retry(gid));
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
