/** Which branch operation a request is: read from what DTM and Atomesh send with it, and checked. */
import { CodedError } from '../../contract/errors.ts';
import { INITIATOR, parseBranchId, parseGid, type Gid } from '../../contract/transaction.ts';
import type { BranchIdentity, BranchOperation, TransType } from './types.ts';

const TRANS_TYPES: ReadonlySet<string> = new Set<TransType>(['saga', 'tcc', 'xa', 'msg', 'workflow', 'mesh']);

const OPERATIONS: ReadonlySet<string> = new Set<BranchOperation>([
  'action',
  'compensate',
  'try',
  'confirm',
  'cancel',
  'commit',
  'rollback',
  'msg',
]);

/**
 * The operation that the parameters `gid`, `trans_type`, `branch_id` and `op` of a branch's URL name, as DTM and the coordinator
 * send them over HTTP. Old clients say `branch_type` for `op`. Throws `CodedError` `BAD_REQUEST` or `BAD_GID`.
 */
export function branchFromQuery(query: URLSearchParams): BranchIdentity {
  return branchOf({
    gid: query.get('gid'),
    transType: query.get('trans_type'),
    branchId: query.get('branch_id'),
    op: query.get('op') ?? query.get('branch_type'),
  });
}

/**
 * The operation that the gRPC metadata `dtm-gid`, `dtm-trans_type`, `dtm-branch_id` and `dtm-op` name; `get` gives the first value
 * of a key. Throws `CodedError` `BAD_REQUEST` or `BAD_GID`.
 */
export function branchFromMetadata(get: (key: string) => string | undefined): BranchIdentity {
  return branchOf({
    gid: get('dtm-gid'),
    transType: get('dtm-trans_type'),
    branchId: get('dtm-branch_id'),
    op: get('dtm-op'),
  });
}

/** The local transaction of the message `gid`: operation `msg` of branch `00`, as DTM numbers it. */
export function messageBranch(gid: Gid): BranchIdentity {
  return { gid, transType: 'msg', branchId: INITIATOR, op: 'msg' };
}

/** The operation that these words name. Throws `CodedError` `BAD_REQUEST` or `BAD_GID` when they name none. */
export function branchOf(words: Readonly<Record<keyof BranchIdentity, string | null | undefined>>): BranchIdentity {
  const gid = parseGid(words.gid ?? '');
  if (gid === undefined) {
    throw new CodedError('BAD_GID', `${said(words.gid)} is no gid`, {
      hint: 'Hand on the gid of the request: 1 to 128 of A-Z a-z 0-9 . _ : { } -',
    });
  }
  const branchId = parseBranchId(words.branchId ?? '');
  if (branchId === undefined) throw noWord('branch_id', words.branchId, 'two digits for each level, such as 01');
  const transType = words.transType ?? '';
  if (!isTransType(transType)) throw noWord('trans_type', words.transType, [...TRANS_TYPES].join(', '));
  const op = words.op ?? '';
  if (!isOperation(op)) throw noWord('op', words.op, [...OPERATIONS].join(', '));
  return { gid, transType, branchId, op };
}

function isTransType(word: string): word is TransType {
  return TRANS_TYPES.has(word);
}

function isOperation(word: string): word is BranchOperation {
  return OPERATIONS.has(word);
}

function noWord(name: string, value: string | null | undefined, expected: string): CodedError {
  return new CodedError('BAD_REQUEST', `${said(value)} is no ${name}`, {
    hint: `Hand on ${name} as the request has it: ${expected}`,
  });
}

function said(value: string | null | undefined): string {
  return value === null || value === undefined ? 'nothing' : JSON.stringify(value.slice(0, 200));
}
