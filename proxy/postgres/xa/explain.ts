/** Errors of the server that need a word more where a statement is captured, or a local transaction is prepared. */
import type { Gid } from '../../../src/contract/transaction.ts';
import type { SessionState } from '../../sql/session.ts';
import type { Work } from '../../sql/work.ts';
import { explainInOperation } from '../operation/explain.ts';
import { decodeReport, encodeReport, readReport } from '../wire/error.ts';
import { HEADER_BYTES } from '../wire/frames.ts';
import type { Preparation } from './preparation.ts';

/** PG source: src/include/postgres_ext.h. */
const HINT = 'H'.charCodeAt(0);
/** PG source: src/backend/utils/errcodes.txt. */
const FEATURE_NOT_SUPPORTED = '0A000';
const PREREQUISITE_STATE = '55000';
const LOCK_NOT_AVAILABLE = '55P03';
const ACTIVE_SQL_TRANSACTION = '25001';
const INVALID_TERMINATION = '2D000';
const INSUFFICIENT_PRIVILEGE = '42501';

const CANNOT_BE_PREPARED =
  'Leave out of it what cannot be prepared (temporary tables, LISTEN and NOTIFY, cursors WITH HOLD, exported snapshots, advisory locks of session and transaction at once), or run that outside the global transaction.';
const SWITCHED_OFF = 'Set max_prepared_transactions of the server above 0 and start it again.';
const OWN_PREPARED =
  'The wait may have been for a local transaction of the same global transaction that is prepared and keeps its locks until the decision: let one local transaction change a row. lockTimeout in the sidecar configuration says how long a statement waits.';

const NO_SCHEMA =
  'Inside a global transaction changes are recorded in the schema atomesh: run "atomesh db init" with this role as --grant-to.';
const NO_TABLE =
  'A change that is captured inside a global transaction also reads its rows, as they were and as they are: a role that may change the table needs SELECT on all its columns as well.';

const OWN_TRANSACTION =
  'Inside a global transaction a change without images runs in a block, which is then prepared. Run what begins or ends transactions of its own outside.';

/** The ErrorResponse frame of PREPARE TRANSACTION as the client gets it, which has sent a COMMIT. */
export function explainPrepare(error: Buffer, gid: Gid): Buffer {
  return withHint(error, (code) => {
    const why = `Inside global transaction ${gid} this local transaction is prepared and not committed, because it holds changes that could not be undone by images; it has been rolled back.`;
    if (code === FEATURE_NOT_SUPPORTED) return `${why} ${CANNOT_BE_PREPARED}`;
    return code === PREREQUISITE_STATE ? `${why} ${SWITCHED_OFF}` : why;
  });
}

/** The ErrorResponse frame of a statement inside a global transaction: its own, with a hint where only we know the reason. */
export function explainStatement(
  error: Buffer,
  work: Work | undefined,
  { prepares }: SessionState,
  preparation: Preparation | undefined,
): Buffer {
  if (work?.kind === 'operation') return explainInOperation(error);
  if (work === undefined) return error;
  const isPreparing = prepares || preparation?.hasPrepared(work.branch) === true;
  return withHint(error, (code, message) => {
    if (code === INSUFFICIENT_PRIVILEGE) return hintOfRight(message);
    if (!isPreparing) return undefined;
    if (code === ACTIVE_SQL_TRANSACTION || code === INVALID_TERMINATION) return OWN_TRANSACTION;
    return code === LOCK_NOT_AVAILABLE ? OWN_PREPARED : undefined;
  });
}

/** The server says of which object; its words may be translated, and then there is none. */
function hintOfRight(message: string | undefined): string | undefined {
  if (message === 'permission denied for schema atomesh') return NO_SCHEMA;
  return message?.startsWith('permission denied for table ') === true ? NO_TABLE : undefined;
}

function withHint(
  error: Buffer,
  hintFor: (code: string | undefined, message: string | undefined) => string | undefined,
): Buffer {
  const report = decodeReport('error', error.subarray(HEADER_BYTES));
  if (report.kind === 'fault') return error;
  const { code, message, hint } = readReport(report);
  const added = hint === undefined ? hintFor(code, message) : undefined;
  if (added === undefined) return error;
  return encodeReport({ ...report, fields: [...report.fields, { letter: HINT, value: Buffer.from(added) }] });
}
