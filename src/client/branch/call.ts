/** Calls of a branch by its initiator: a Try, an XA action, a step of a workflow. */
import { CodedError } from '../../contract/errors.ts';
import type { BranchIdentity } from '../barrier/types.ts';
import { type HttpEnd, fetchAnswer } from '../fetch-answer.ts';
import { type BranchAnswer, branchAnswer } from './answer.ts';

/** Far more than a branch should say; what it says is held in memory. */
export const ANSWER_BYTES_MAX = 512 * 1024;

export interface HttpCall {
  /** Default POST. */
  readonly method?: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is when text or bytes, else as JSON. */
  readonly body?: unknown;
  /** How long it may take, its one repetition over a connection just closed included. Default 10,000. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;

/**
 * Calls a branch over HTTP with its identity in the query, as DTM's clients do (`dtmimp/trans_base.go`, `RequestBranch`).
 * Resolves with any answer. Rejects with `CodedError` UPSTREAM_TIMEOUT or UPSTREAM_UNREACHABLE when there was none, which
 * leaves open whether the branch did its work; and BAD_REQUEST when `url` is none.
 */
export async function callOverHttp(
  call: HttpCall,
  branch: BranchIdentity,
  extra: Readonly<Record<string, string>> = {},
): Promise<BranchAnswer> {
  const timeoutMs = call.timeoutMs ?? TIMEOUT_MS;
  const url = branchUrl(call.url, branch, extra);
  const { body, contentType } = bodyOf(call.body);
  const headers = new Headers(call.headers);
  if (contentType !== undefined && !headers.has('content-type')) headers.set('content-type', contentType);
  const end = await fetchAnswer({
    method: call.method ?? 'POST',
    url,
    headers: Object.fromEntries(headers),
    ...(body === undefined ? {} : { body }),
    timeoutMs,
    answerBytesMax: ANSWER_BYTES_MAX,
  });
  if (end.kind === 'answered') return branchAnswer(end.status, end.contentType, end.body);
  throw silence(end, call.url, timeoutMs);
}

function silence(end: Exclude<HttpEnd, { kind: 'answered' }>, url: string, timeoutMs: number): CodedError {
  const hint = 'The branch may or may not have done its work: its barrier makes it safe to ask again.';
  if (end.kind === 'late') {
    return new CodedError('UPSTREAM_TIMEOUT', `${url} did not answer within ${timeoutMs} ms`, { retry: 'ask', hint });
  }
  return new CodedError('UPSTREAM_UNREACHABLE', `${url} cannot be reached: ${end.error.message}`, {
    retry: 'ask',
    hint,
    cause: end.error,
  });
}

/** `url` with the branch's identity in its query, keeping what is there. */
function branchUrl(url: string, branch: BranchIdentity, extra: Readonly<Record<string, string>>): string {
  const whole = URL.parse(url);
  if (whole === null || (whole.protocol !== 'http:' && whole.protocol !== 'https:')) {
    throw new CodedError('BAD_REQUEST', `"${url}" is no http or https URL`, {
      hint: 'Give an absolute URL, such as http://accounts/transfer-out.',
    });
  }
  const { gid, transType, branchId, op } = branch;
  const identity = { branch_id: branchId, gid, op, trans_type: transType, ...extra };
  for (const [name, value] of Object.entries(identity)) whole.searchParams.set(name, value);
  return whole.href;
}

/** A request's body and its type. Bytes and texts go as they are; undefined is no body at all. */
function bodyOf(value: unknown): { body?: string | Uint8Array<ArrayBuffer>; contentType?: string } {
  if (value === undefined) return {};
  if (value instanceof Uint8Array) {
    return { body: new Uint8Array(value), contentType: 'application/octet-stream' };
  }
  if (typeof value === 'string') return { body: value, contentType: 'application/json' };
  return { body: JSON.stringify(value), contentType: 'application/json' };
}

/** What goes to the coordinator for a later call: the same bytes that the initiator's own call has as body. */
export function payloadOf(value: unknown): Uint8Array {
  const { body } = bodyOf(value);
  return body === undefined ? new Uint8Array() : Buffer.from(body);
}
