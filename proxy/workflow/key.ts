/**
 * A client's `Idempotency-Key` (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/): the same key again is
 * the same workflow. Its gid is made of the key, so that the coordinator alone keeps two of one key apart, whichever sidecar they
 * come to. A key is known for as long as the coordinator keeps its transaction.
 */
import { CodedError } from '../../src/contract/errors.ts';
import type { RunAnswer, TransactionView } from '../../src/contract/messages.ts';
import { parseGid, type Gid } from '../../src/contract/transaction.ts';
import { assert } from '../../src/platform/assert.ts';
import type { OwnAnswer } from '../http/admission.ts';
import { outcomeHeaders } from '../transaction/decide.ts';
import { errorAnswer } from '../http/errors.ts';
import { readSteps } from './replay.ts';
import { decodeRequest, differenceOf, type StoredRequest } from './stored-request.ts';
import { hashOf } from './step.ts';

const KEY_HEADER = 'idempotency-key';
/** On an answer that was given before. */
const REPLAYED_HEADER = 'idempotency-replayed';
const KEY_CHARACTERS_MAX = 255;
const RETRY_AFTER_SECONDS = '1';

/** The key of a request, none, or why it is refused. */
export function keyOf(headers: readonly string[]): string | undefined | CodedError {
  const keys: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (headers[index]?.toLowerCase() === KEY_HEADER) keys.push(headers[index + 1] ?? '');
  }
  const [key, another] = keys;
  if (key === undefined) return undefined;
  if (another === undefined && key !== '' && key.length <= KEY_CHARACTERS_MAX) return key;
  return new CodedError('BAD_REQUEST', 'The header Idempotency-Key is empty, too long, or there more than once', {
    hint: `Send one key of 1 to ${KEY_CHARACTERS_MAX} characters that nobody can guess, such as a UUID`,
  });
}

/** The gid of the workflow that `key` stands for. `route`: method and path. */
export function gidOfKey(service: string, route: string, key: string): Gid {
  const gid = parseGid(`wf-${hashOf([service, route, key].map((part) => JSON.stringify(part)).join())}`);
  assert(gid !== undefined, 'hexadecimal digits make a gid');
  return gid;
}

/**
 * What a client gets that asks for `request` with the key of a workflow that there is already. `keyHeaders`: headers in which the two
 * requests have to agree.
 */
export function answerAgain(
  view: TransactionView,
  history: RunAnswer,
  request: StoredRequest,
  keyHeaders: readonly string[],
): OwnAnswer {
  const { gid, status } = view;
  const begun = decodeRequest(history.payload);
  const difference = begun === undefined ? 'form' : differenceOf(begun, request, keyHeaders);
  if (difference !== undefined) return errorAnswer(reused(difference), [], 422);
  if (status === 'prepared') return errorAnswer(running(gid), ['retry-after', RETRY_AFTER_SECONDS]);
  const outcome = status === 'submitted' || status === 'succeed' ? 'committed' : 'rolled-back';
  const headers = [...outcomeHeaders(gid, outcome), REPLAYED_HEADER, 'true'];
  const { end } = readSteps(history.steps);
  // Nothing was recorded, or the deadline was faster than what was.
  if (end === undefined || end.commits !== (outcome === 'committed')) return errorAnswer(rolledBack(view), headers);
  const { status: answered, headers: recorded, body } = end.answer;
  if (body === undefined) return errorAnswer(notKept(view, answered), headers, 500);
  return { status: answered, headers: [...withoutCookies(recorded), ...headers], body };
}

/** Whoever knows the key gets the answer; a session that the first answer opened is its asker's alone. */
function withoutCookies(headers: readonly string[]): readonly string[] {
  return headers.filter((_, index) => headers[index - (index % 2)]?.toLowerCase() !== 'set-cookie');
}

/** The answer was too long to be kept, or had no end. */
function notKept({ gid }: TransactionView, status: number): CodedError {
  return new CodedError(
    'BODY_TOO_LARGE',
    `The workflow ${gid} has ended, and its answer ${status} was too long to be kept`,
    {
      hint: 'What became of it is in the header atomesh-outcome. Do not repeat the request with another key; read its result where the application keeps it',
    },
  );
}

function reused(difference: string): CodedError {
  return new CodedError(
    'BAD_REQUEST',
    `This Idempotency-Key was sent with another request before: its ${difference} differs`,
    {
      hint: 'Send a new key with a new request; with an old one, exactly the old request',
    },
  );
}

function running(gid: Gid): CodedError {
  return new CodedError('GID_CONFLICT', `The request with this Idempotency-Key is being carried out as ${gid}`, {
    retry: 'safe',
    hint: 'Send it again after the time in Retry-After to get its answer',
  });
}

function rolledBack({ gid, reason }: TransactionView): CodedError {
  const why = reason === undefined ? '' : `: ${reason}`;
  return new CodedError('TRANSACTION_ROLLED_BACK', `The workflow ${gid} was rolled back${why}`, {
    hint: 'Nothing of it remains. Send the request with a new Idempotency-Key to try again',
  });
}
