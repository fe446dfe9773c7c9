/**
 * Calls branches as JSON-RPC 2.0 over HTTP, as DTM does (dtmsvr, trans_status.go `getJSONRPCResult`): the URL's parameter
 * `method` names the method, the payload is the object of parameters, and the identity of the operation is added to it.
 */
import type { CallResult } from '../contract/transaction.ts';
import type { BranchCall, Transport } from '../runner/ports.ts';
import { dtmJudge, resultOfDtmAnswer } from './dtm-answers.ts';
import { headersOf, wireOperationOf } from './dtm-http.ts';
import type { HttpCaller } from './http-caller.ts';

/** DTM's codes for FAILURE and ONGOING. DTM itself never recognises them in answers, only the words; here both count. */
const FAILURE_CODE = -32901;
const ONGOING_CODE = -32902;

const JUDGE = dtmJudge(resultOfAnswer);

/** DTM's JSON-RPC calls over `caller`. */
export function jsonRpcCalls(caller: HttpCaller): Transport {
  return {
    call: (request, signal) => {
      const params = paramsOf(request);
      if (params === undefined) {
        const detail = 'not called: the payload of a JSON-RPC call must be a JSON object, its named parameters';
        return Promise.resolve({ result: 'unknown', detail });
      }
      const { url, gid, branch, operation, timeoutMs } = request;
      const method = new URLSearchParams(url.slice(url.indexOf('?') + 1)).get('method') ?? '';
      const id = JSON.stringify(`${gid}-${branch}-${operation}`);
      const body = `{"id":${id},"jsonrpc":"2.0","method":${JSON.stringify(method)},"params":${params}}`;
      return caller.send({ url, method: 'POST', headers: headersOf(request), body, timeoutMs }, JUDGE, signal);
    },
  };
}

/**
 * The payload with the identity at its end, so that it wins over fields of the same names. The initiator's own text stays as
 * it is: parsing and printing would round its large numbers.
 */
function paramsOf(request: BranchCall): string | undefined {
  const { gid, mode, branch, payload } = request;
  const identity = { gid, trans_type: mode, branch_id: branch, op: wireOperationOf(request) };
  const text = Buffer.from(payload ?? '', 'base64')
    .toString()
    .trim();
  if (text === '') return JSON.stringify(identity);
  const value = parsed(text);
  if (!isObject(value) || Array.isArray(value)) return undefined;
  const inner = text.slice(1, -1);
  return `{${inner}${inner.trim() === '' ? '' : ','}${JSON.stringify(identity).slice(1)}`;
}

/** A code says what is meant, whatever the status beside it; then DTM's rule for HTTP; and what is no answer of JSON-RPC is unknown. */
function resultOfAnswer(status: number, body: string): Exclude<CallResult, 'dirty'> {
  const answer = parsed(body);
  const error = isObject(answer) ? answer['error'] : undefined;
  if (isObject(error) && error['code'] === FAILURE_CODE) return 'failure';
  if (isObject(error) && error['code'] === ONGOING_CODE) return 'ongoing';
  const result = resultOfDtmAnswer(status, body);
  if (result !== 'success') return result;
  return isObject(answer) && (error === undefined || error === null) ? 'success' : 'unknown';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
