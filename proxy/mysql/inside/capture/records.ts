/** The text of what is written for a captured statement: its undo records. */
import type { KeyObject } from 'node:crypto';
import { INSERT_RECORD } from '../../schema.ts';
import { sealOf } from '../../seal.ts';
import { encodeRecord, type UndoRecord } from '../../undo/record.ts';
import type { UndoBranch } from '../../../sql/work.ts';
import type { Settings } from '../settings.ts';
import { filled, plainText } from '../enter.ts';

/** About as many bytes of images as one record takes: one statement may change many rows. */
const RECORD_BYTES = 512 * 1024;
/** Of several records in one statement: well below the smallest max_allowed_packet that servers come with. */
const STATEMENT_BYTES = 2 * 1024 * 1024;

/**
 * One INSERT of all records, in their order; several only where one would be too long. Each has to be answered before the next is sent:
 * behind a deadlock the server would carry the next one out outside of the local transaction that it has rolled back, and the record of
 * a change that never was would keep the branch from being undone.
 */
export function recordStatements(
  records: readonly UndoRecord[],
  branch: UndoBranch,
  { secret, settings }: { readonly secret: KeyObject; readonly settings: Settings },
): readonly string[] {
  const [head = '', tail = ''] = INSERT_RECORD.split(/ VALUES (?=\()/);
  const statements: string[] = [];
  let rows: string[] = [];
  let bytes = 0;
  const end = (): void => {
    if (rows.length > 0) statements.push(`${head} VALUES ${rows.join(', ')}`);
    rows = [];
    bytes = 0;
  };
  for (const record of records.flatMap(inParts)) {
    const body = encodeRecord(record);
    const seal = sealOf(secret, { gid: branch.gid, resource: branch.resource, body });
    const values = [plainText(branch.gid), plainText(branch.resource)];
    const row = filled(tail, [...values, bodySql(body, settings), `X'${seal.toString('hex')}'`]);
    if (bytes + row.length > STATEMENT_BYTES) end();
    rows.push(row);
    bytes += row.length;
  }
  end();
  return statements;
}

function inParts(record: UndoRecord): readonly UndoRecord[] {
  const parts: UndoRecord[] = [];
  let rows: UndoRecord['rows'][number][] = [];
  let bytes = 0;
  for (const row of record.rows) {
    const size = (row.before?.length ?? 0) + (row.after?.length ?? 0);
    if (rows.length > 0 && bytes + size > RECORD_BYTES) {
      parts.push({ ...record, rows });
      rows = [];
      bytes = 0;
    }
    rows.push(row);
    bytes += size;
  }
  return [...parts, { ...record, rows }];
}

/** Text in ASCII as it is, so that it is no longer than it has to be; other text in hexadecimal, which no character set changes. */
function bodySql(body: string, { lexical }: Settings): string {
  if (!/^[ -~]*$/.test(body)) return `CONVERT(X'${Buffer.from(body).toString('hex')}' USING utf8mb4)`;
  const quoted = body.replaceAll("'", "''");
  return `_utf8mb4'${lexical.noBackslashEscapes ? quoted : quoted.replaceAll('\\', '\\\\')}'`;
}
