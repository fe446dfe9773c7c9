/** Errors of the server that need a word more inside an operation. */
import { decodeReport, encodeReport, readReport } from '../wire/error.ts';
import { HEADER_BYTES } from '../wire/frames.ts';

/** PG source: src/backend/utils/errcodes.txt, `active_sql_transaction`: a command that cannot run inside a block. */
const ACTIVE_SQL_TRANSACTION = '25001';
/** PG source: src/include/postgres_ext.h. */
const HINT = 'H'.charCodeAt(0);
const OWN_TRANSACTION =
  'Inside an operation of a branch every change runs in a block, with the row of the barrier. Run commands that need a transaction of their own, such as VACUUM, outside.';

/** The ErrorResponse frame as the client gets it: the server's own, with a hint where only we know the reason. */
export function explainInOperation(error: Buffer): Buffer {
  const report = decodeReport('error', error.subarray(HEADER_BYTES));
  if (report.kind === 'fault') return error;
  const { code, hint } = readReport(report);
  if (code !== ACTIVE_SQL_TRANSACTION || hint !== undefined) return error;
  return encodeReport({ ...report, fields: [...report.fields, { letter: HINT, value: Buffer.from(OWN_TRANSACTION) }] });
}
