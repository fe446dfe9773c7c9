/** What participants of DTM's protocol mean by their HTTP answers. */
import type { CallResult } from '../contract/transaction.ts';
import type { Answer, Judge } from './http-caller.ts';

/** Results may be anything, and the words of a result may stand anywhere in them. */
const BODY_BYTES_MAX = 1024 * 1024;
const DETAIL_CHARACTERS_MAX = 1000;

/**
 * DTM's rule (dtmcli, `HTTPResp2DtmError`), in its order: 425 or a body that contains ONGOING is ongoing, 409 or a body that
 * contains FAILURE is failure, 200 is success, anything else unknown. One difference: the words count in answers of status
 * 200, 409 and 425 only (docs/decisions/0011). A server that breaks while it reports somebody's FAILURE has not refused.
 */
export function resultOfDtmAnswer(status: number, body: string): Exclude<CallResult, 'dirty'> {
  if (status !== 200 && status !== 409 && status !== 425) return 'unknown';
  if (status === 425 || body.includes('ONGOING')) return 'ongoing';
  if (status === 409 || body.includes('FAILURE')) return 'failure';
  return 'success';
}

/** The judge of answers whose meaning `resultOf` tells. */
export function dtmJudge(resultOf: (status: number, body: string) => Exclude<CallResult, 'dirty'>): Judge {
  return {
    bodyBytesMax: BODY_BYTES_MAX,
    whole: (status, body) => answer(resultOf(status, body), status, body),
    overlong: (status, body) =>
      incomplete(status, body, `its body has more than the ${BODY_BYTES_MAX} bytes that are read`),
    broken: (status, body, reason) =>
      status === 0 ? { result: 'unknown', detail: bounded(reason) } : incomplete(status, body, reason),
  };
}

/** The words that decide may be among what is missing; only 425 means the same whatever the body says. */
function incomplete(status: number, body: string, reason: string): Answer {
  if (status === 425) return answer('ongoing', status, body);
  return { result: 'unknown', detail: bounded(`HTTP ${status}, but ${reason}`) };
}

/** The body's own text is the detail, as DTM puts it into `rollback_reason`. */
function answer(result: Exclude<CallResult, 'dirty'>, status: number, body: string): Answer {
  if (result === 'success') return { result };
  return { result, detail: body === '' ? `HTTP ${status}` : bounded(body) };
}

function bounded(text: string): string {
  return text.slice(0, DETAIL_CHARACTERS_MAX).toWellFormed();
}
