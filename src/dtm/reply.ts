/** DTM's replies, and what the errors of the runner are in its words. */
import type { CodedError } from '../contract/errors.ts';
import type { DtmReply } from './service.ts';

/** Anything but a success. */
export type Refused = Extract<DtmReply, { message: string }>;

export const SUCCESS: DtmReply = { kind: 'success', value: undefined };

/** A definite no: the same request will never be taken. DTM's messages for it end with the word (svr/api.go). */
export function failure(message: string): Refused {
  return { kind: 'failure', message: `${message} FAILURE` };
}

/** Not yet: the transaction goes on by itself. */
export function ongoing(message: string): Refused {
  return { kind: 'ongoing', message: `${message} ONGOING` };
}

/** Anything else: a request that cannot be read, or a coordinator that cannot do it now. */
export function fault(message: string): Refused {
  return { kind: 'error', message };
}

/** DTM's words for a gid that nobody has begun (svr/utils.go:50). */
export function unknownGid(gid: string): Refused {
  return fault(`no TransGlobal with gid: ${gid} found`);
}

/** What an error of the runner is to a client of DTM. */
export function refusedBy(error: CodedError, gid: string): Refused {
  const message = error.hint === undefined ? error.message : `${error.message}; ${error.hint}`;
  switch (error.code) {
    case 'GID_UNKNOWN':
      return unknownGid(gid);
    case 'GID_CONFLICT':
    case 'TOO_MANY_BRANCHES':
      return failure(`${message}.`);
    default:
      return fault(message);
  }
}
