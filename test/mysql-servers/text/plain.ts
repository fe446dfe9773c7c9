/** Results in a form in which those of a prepared statement and of a text can be compared. */
import type { ColumnDefinition } from '../../../proxy/mysql/wire/rows.ts';
import { TYPE, interpretBinary } from '../../../proxy/mysql/wire/values.ts';
import type { Result } from './asking.ts';

const UNSIGNED_COLUMN = 32;

/** Its rows as text, its count, or its error's number: not its warnings. */
export function plain(result: Result, isBinary: boolean): unknown {
  if (result.kind === 'error') return `error ${result.errno}`;
  if (result.kind === 'ok') return `${result.affectedRows} rows`;
  return result.rows.map((row) => row.map((value, index) => plainValue(value, result.columns[index], isBinary)));
}

function plainValue(value: string | null, column: ColumnDefinition | undefined, isBinary: boolean): string | null {
  if (value === null || column === undefined) return null;
  const bytes = Buffer.from(value, 'latin1');
  // Numbers are not printed in the same way, and a FLOAT not in full.
  if (column.type === TYPE.double) return `${isBinary ? bytes.readDoubleLE() : Number(value)}`;
  if (column.type === TYPE.float) return `${isBinary ? bytes.readFloatLE() : Math.fround(Number(value))}`;
  if (!isBinary) return value;
  const flags = (column.flags & UNSIGNED_COLUMN) === 0 ? 0 : 0x80;
  const meaning = interpretBinary({ code: column.type, flags }, bytes);
  switch (meaning.kind) {
    case 'integer':
      return `${meaning.value}`;
    case 'moment': {
      const date = `${two(meaning.year, 4)}-${two(meaning.month)}-${two(meaning.day)}`;
      return column.type === TYPE.date ? date : `${date} ${clock(meaning.hour, meaning, column)}`;
    }
    case 'time':
      return `${meaning.isNegative ? '-' : ''}${clock(meaning.days * 24 + meaning.hour, meaning, column)}`;
    default:
      return value;
  }
}

interface Parts {
  readonly minute: number;
  readonly second: number;
  readonly microsecond: number;
}

function clock(hours: number, { minute, second, microsecond }: Parts, { decimals }: ColumnDefinition): string {
  const fraction = two(microsecond, 6).slice(0, decimals);
  // Beyond 6 the column does not say how many there are.
  const shown =
    decimals > 6 ? (microsecond === 0 ? '' : `.${two(microsecond, 6)}`) : decimals === 0 ? '' : `.${fraction}`;
  return `${two(hours)}:${two(minute)}:${two(second)}${shown}`;
}

function two(value: number, digits = 2): string {
  return `${value}`.padStart(digits, '0');
}
