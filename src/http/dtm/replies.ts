/**
 * DTM's replies as HTTP has them (dtmutil/utils.go:69): 200, 409 with FAILURE, 425 with ONGOING, 500 for everything else.
 *
 * Clients look for those two words anywhere in a body, before they look at the status. So a word stands in a body only where it is
 * meant: elsewhere (a gid, a reason, the answer of a branch) one of its letters is written as an escape, which means the same in JSON.
 */
import type { CodedError } from '../../contract/errors.ts';
import { httpStatusOf } from '../../contract/errors.ts';
import type { DtmReply } from '../../dtm/service.ts';
import type { Reply } from '../routes.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

const SUCCESS_REPLY: Reply = { status: 200, text: '{"dtm_result":"SUCCESS"}', contentType: JSON_TYPE };

/** The answer for anything but a success with a value. */
export function dtmReply(reply: DtmReply): Reply {
  switch (reply.kind) {
    case 'success':
      return SUCCESS_REPLY;
    case 'failure':
      return json(409, dtmJson({ dtm_result: 'FAILURE', message: reply.message }, 'failure'));
    case 'ongoing':
      return json(425, dtmJson({ dtm_result: 'ONGOING', message: reply.message }, 'ongoing'));
    case 'error':
      return json(500, faultText(reply.message));
  }
}

/** The answer with what a success carries. */
export function dtmJsonReply(reply: DtmReply<unknown>): Reply {
  return reply.kind === 'success' ? json(200, dtmJson(reply.value)) : dtmReply(reply);
}

/** A request that cannot be understood, as DTM refuses one for a branch: 400, and a text for its type though it is JSON. */
export function badBranchReply(message: string): Reply {
  return { status: 400, text: faultText(message), contentType: 'text/plain; charset=utf-8' };
}

/** An error of the server itself at a path of DTM's. */
export function dtmErrorReply(error: CodedError): Reply {
  if (error.code === 'NOT_FOUND' || error.code === 'METHOD_NOT_ALLOWED') {
    return { status: 404, text: '404 page not found', contentType: 'text/plain', code: error.code };
  }
  const message = error.hint === undefined ? error.message : `${error.message}: ${error.hint}`;
  return { ...json(httpStatusOf(error.code), faultText(message)), code: error.code };
}

/** JSON in which neither word stands, or at most the one that is meant. */
export function dtmJson(value: unknown, meant: 'failure' | 'ongoing' | 'neither' = 'neither'): string {
  const text = JSON.stringify(value);
  if (meant === 'failure') return withoutOngoing(text);
  return meant === 'ongoing' ? withoutFailure(text) : withoutOngoing(withoutFailure(text));
}

function json(status: number, text: string): Reply {
  return { status, text, contentType: JSON_TYPE };
}

function faultText(message: string): string {
  return dtmJson({ message });
}

function withoutFailure(text: string): string {
  return text.includes('FAILURE') ? text.replaceAll('FAILURE', String.raw`FAIL\u0055RE`) : text;
}

function withoutOngoing(text: string): string {
  return text.includes('ONGOING') ? text.replaceAll('ONGOING', String.raw`ONGO\u0049NG`) : text;
}
