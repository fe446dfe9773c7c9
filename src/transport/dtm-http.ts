/**
 * Calls branches over HTTP as DTM does (dtmsvr, trans_status.go `getHTTPResult`): the identity of the operation in the query,
 * the payload as body. The initiator chose the URL, so the coordinator's own token stays here: what a branch asks for goes
 * into the transaction's headers.
 */
import type { BranchCall, Transport } from '../runner/ports.ts';
import { dtmJudge, resultOfDtmAnswer } from './dtm-answers.ts';
import { ownHeaders } from './dtm-headers.ts';
import type { HttpCaller } from './http-caller.ts';

const JUDGE = dtmJudge(resultOfDtmAnswer);

/** DTM's HTTP calls over `caller`. */
export function dtmHttpCalls(caller: HttpCaller): Transport {
  return {
    call: (request, signal) => {
      const { url, timeoutMs, mode, operation, payload = '' } = request;
      // The callback of a workflow is a POST even when the workflow has no data.
      const isPost = payload !== '' || mode === 'xa' || operation === 'workflow';
      const headers = headersOf(request);
      const body = Buffer.from(payload, 'base64');
      return caller.send(
        {
          url,
          query: queryOf(request),
          method: isPost ? 'POST' : 'GET',
          headers,
          ...(isPost ? { body } : {}),
          timeoutMs,
        },
        JUDGE,
        signal,
      );
    },
  };
}

/** The word for the operation on the wire: for the callback of a workflow its name. */
export function wireOperationOf({ operation, name }: BranchCall): string {
  return operation === 'workflow' ? (name ?? '') : operation;
}

/** Names and values in turn: JSON, unless the initiator says otherwise. */
export function headersOf({ headers }: BranchCall): readonly string[] {
  const own = ownHeaders(headers);
  const type = own.some(([name]) => name === 'content-type') ? [] : ['content-type', 'application/json'];
  return [...type, ...own.flat()];
}

function queryOf(request: BranchCall): string {
  const { branch, gid, mode } = request;
  return new URLSearchParams({ branch_id: branch, gid, op: wireOperationOf(request), trans_type: mode }).toString();
}
