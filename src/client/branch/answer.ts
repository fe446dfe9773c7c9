/** What a branch answered, and what that means. */
import { CodedError } from '../../contract/errors.ts';
import { type CallResult, resultOfHttpStatus } from '../../contract/transaction.ts';
import { FailureError, OngoingError } from '../errors.ts';

/** The answer of a branch, over HTTP or gRPC. */
export interface BranchAnswer {
  /** The HTTP status; over gRPC 200, or the one that stands for its code. */
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
  /** The body as UTF-8 text. */
  readonly text: () => string;
  /** The body as JSON. Throws `SyntaxError` when it is none. */
  readonly json: () => unknown;
}

/** What an answer means: a rule that can be replaced, for services that say it in their own way. */
export type ResultOf = (answer: BranchAnswer) => Exclude<CallResult, 'dirty'>;

/** An answer with its readings. */
export function branchAnswer(status: number, contentType: string, body: Uint8Array): BranchAnswer {
  const text = (): string => Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  return { status, contentType, body, text, json: (): unknown => JSON.parse(text()) };
}

/** The status decides alone: 2xx is success, 409 failure, 425 ongoing (DTM's workflow client, `workflow/utils.go`). */
export const resultOfStatus: ResultOf = ({ status }) => resultOfHttpStatus(status);

/**
 * As `resultOfStatus`, but a success that speaks of FAILURE or ONGOING is none (dtmcli, `HTTPResp2DtmError`): older services
 * say so with status 200. Unlike there, the words mean nothing with any other status: unknown is never taken for failure.
 */
export const resultOfStatusAndWords: ResultOf = (answer) => {
  const result = resultOfStatus(answer);
  if (result !== 'success') return result;
  const text = answer.text();
  if (text.includes('ONGOING')) return 'ongoing';
  return text.includes('FAILURE') ? 'failure' : 'success';
};

/** The answer when it is a success; otherwise throws `FailureError`, `OngoingError`, or `CodedError` OUTCOME_UNKNOWN. */
export function successOf(answer: BranchAnswer, target: string, resultOf: ResultOf): BranchAnswer {
  const said = `${target} answered ${answer.status}: ${answer.text().slice(0, 500)}`;
  switch (resultOf(answer)) {
    case 'success':
      return answer;
    case 'failure':
      throw new FailureError(said);
    case 'ongoing':
      throw new OngoingError(said);
    case 'unknown':
      throw new CodedError('OUTCOME_UNKNOWN', said, {
        retry: 'ask',
        hint: 'The branch may or may not have done its work. Answer 409 for a refusal and 425 for work that goes on.',
      });
  }
}
