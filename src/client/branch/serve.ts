/**
 * The other side of a call: a branch operation served by a service, whatever framework it is written in. A request goes in as
 * query, headers and body; what comes out is a status and a body with the words that every coordinator understands.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { CodedError, httpStatusOf } from '../../contract/errors.ts';
import { BRANCH_HEADER, GID_HEADER, OPERATION_HEADER } from '../../contract/propagation.ts';
import { branchFromMetadata, branchFromQuery, branchOf } from '../barrier/identity.ts';
import type { BarrierOutcome, BarrierStore, BranchIdentity } from '../barrier/types.ts';
import { FailureError, messageOf, OngoingError } from '../errors.ts';

/** A request as every framework has it. `query` is the parsed query, or its text, or the request's URL. */
export interface BranchRequest {
  readonly query: URLSearchParams | string | Readonly<Record<string, unknown>>;
  readonly headers?: IncomingHttpHeaders;
  /** Parsed by the framework, or its text or bytes. */
  readonly body?: unknown;
}

/** What to answer. `body` is JSON. */
export interface BranchReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface ServeOptions {
  /** Told of every error that is answered with 500: it is the service's to look into. */
  readonly onError?: (error: unknown) => void;
}

const MESSAGE_CHARACTERS_MAX = 500;

/**
 * Which operation of which branch the request is: by DTM's parameters in the query, by `dtm-…` headers, or by Atomesh's own.
 * Throws `CodedError` BAD_REQUEST or BAD_GID when it is none.
 */
export function branchOfRequest({ query, headers = {} }: BranchRequest): BranchIdentity {
  const parameters = searchParamsOf(query);
  if (parameters.has('gid')) return branchFromQuery(parameters);
  const header = (name: string): string | undefined => {
    const value = headers[name];
    return typeof value === 'string' ? value : value?.[0];
  };
  if (header('dtm-gid') !== undefined) return branchFromMetadata(header);
  return branchOf({
    gid: header(GID_HEADER),
    transType: 'mesh',
    branchId: header(BRANCH_HEADER),
    op: header(OPERATION_HEADER),
  });
}

/** A parameter that DTM's clients send beside the identity: in the query, or with `dtm-` before it in a header. */
export function parameterOf({ query, headers = {} }: BranchRequest, name: string): string | undefined {
  const value = headers[`dtm-${name}`];
  return searchParamsOf(query).get(name) ?? (typeof value === 'string' ? value : value?.[0]);
}

/**
 * Does `work` for a branch operation and says how it went. What it returns is answered as JSON with 200; nothing is answered
 * as success too. A `FailureError` becomes 409 FAILURE, an `OngoingError` 425 ONGOING, any other error 500 or what belongs
 * to its code: the coordinator then asks again. Never rejects.
 */
export async function serveBranch(
  request: BranchRequest,
  work: (branch: BranchIdentity, body: unknown) => unknown,
  options: ServeOptions = {},
): Promise<BranchReply> {
  return replying(async () => {
    const value: unknown = await work(branchOfRequest(request), bodyOf(request.body));
    return value === undefined ? { dtm_result: 'SUCCESS' } : value;
  }, options);
}

/**
 * Serves a branch operation behind the barrier of `database`: `work` takes effect once, however often and in whatever order
 * the operation and what undoes it arrive. See `serveBranch`.
 */
export function serveBehindBarrier<Tx>(
  request: BranchRequest,
  database: Pick<BarrierStore<Tx>, 'call'>,
  work: (tx: Tx, branch: BranchIdentity, body: unknown) => Promise<void>,
  options: ServeOptions = {},
): Promise<BranchReply> {
  return serveBranch(
    request,
    async (branch, body) => successOfOutcome(branch, await database.call(branch, (tx) => work(tx, branch, body))),
    options,
  );
}

/** The back-check of a message: tells the coordinator whether its local transaction has committed in `database`. */
export function serveQueryPrepared(
  request: BranchRequest,
  database: Pick<BarrierStore<never>, 'queryPrepared'>,
  options: ServeOptions = {},
): Promise<BranchReply> {
  return serveBranch(
    request,
    async ({ gid }) => {
      if ((await database.queryPrepared(gid)) === 'rolled-back') {
        throw new FailureError(`the local transaction of ${gid} did not commit`);
      }
    },
    options,
  );
}

/** Throws `FailureError` for an operation that came after the one that undoes it. */
export function successOfOutcome({ gid, branchId, op }: BranchIdentity, outcome: BarrierOutcome<unknown>): void {
  if (outcome.kind !== 'fenced') return;
  throw new FailureError(`${op} of branch ${branchId} of ${gid} came after it had been undone`);
}

/** The reply to what `work` returns or throws. */
export async function replying(work: () => Promise<unknown>, { onError }: ServeOptions): Promise<BranchReply> {
  try {
    return reply(200, await work());
  } catch (error) {
    const message = messageOf(error).slice(0, MESSAGE_CHARACTERS_MAX).toWellFormed();
    if (error instanceof FailureError) return reply(409, { dtm_result: 'FAILURE', message });
    if (error instanceof OngoingError) return reply(425, { dtm_result: 'ONGOING', message });
    onError?.(error);
    return reply(statusOf(error), { message });
  }
}

/** 409 and 425 are words of the protocol: an error that leaves the outcome open must not say them. */
function statusOf(error: unknown): number {
  const status = error instanceof CodedError ? httpStatusOf(error.code) : 500;
  return status === 409 || status === 425 ? 500 : status;
}

function reply(status: number, value: unknown): BranchReply {
  const text = JSON.stringify(value) ?? 'null';
  // DTM looks for its words anywhere in a body, whatever the status. JSON has another way to write the same text.
  const body = text.replaceAll('FAILURE', '\\u0046AILURE').replaceAll('ONGOING', '\\u004fNGOING');
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: status === 409 || status === 425 ? text : body,
  };
}

function searchParamsOf(query: BranchRequest['query']): URLSearchParams {
  if (query instanceof URLSearchParams) return query;
  if (typeof query === 'string') return new URLSearchParams(query.slice(query.indexOf('?') + 1));
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    const first: unknown = Array.isArray(value) ? value[0] : value;
    if (typeof first === 'string') parameters.set(name, first);
  }
  return parameters;
}

/** Text and bytes are JSON, when they are that; an empty body is undefined. */
function bodyOf(body: unknown): unknown {
  const text = body instanceof Uint8Array ? Buffer.from(body).toString() : body;
  if (typeof text !== 'string') return text;
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
