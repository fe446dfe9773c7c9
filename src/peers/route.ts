/** Takes events from other coordinators, for transactions that this one holds. */
import { CodedError, errorBody, httpStatusOf } from '../contract/errors.ts';
import type { Reply, Route } from '../http/routes.ts';
import type { Runner } from '../runner/runner.ts';
import { PEER_PATH, peerRequestOf } from './event.ts';

/** What a client sent may grow on its way: bytes become base64. */
const GROWTH = 2;
const ENVELOPE_BYTES_MAX = 4096;

/** The row of the route table; `bodyBytesMax` is what a client may send. Only coordinators call it, with the token that they share. */
export function peerRoute(runner: Runner, bodyBytesMax: number): Route {
  return {
    method: 'POST',
    path: PEER_PATH,
    bodyBytesMax: GROWTH * bodyBytesMax + ENVELOPE_BYTES_MAX,
    handle: async ({ body }) => {
      const request = peerRequestOf(body);
      if (request === undefined) return errorReply(NO_EVENT);
      const outcome = await runner.happenHere(request.gid, request.event);
      return outcome.ok ? { status: 200, text: JSON.stringify(outcome.value) } : errorReply(outcome.error);
    },
  };
}

const NO_EVENT = new CodedError('NOT_FOUND', 'this is no event of another coordinator', {
  hint: 'Only coordinators of the same version call this path; clients use /v1/transactions.',
});

function errorReply(error: CodedError): Reply {
  return { status: httpStatusOf(error.code), text: JSON.stringify(errorBody(error)), code: error.code };
}
