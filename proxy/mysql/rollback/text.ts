/** Images as a person reads them. Pure. */
import { valuesOf, type ImageColumn } from '../undo/image.ts';

/** A whole row: its values in the order of the columns. */
export function imageText(columns: readonly ImageColumn[], image: string): string {
  const values = valuesOf(columns, image);
  return `(${columns.map((column, index) => valueText(column, values[index]) ?? 'NULL').join(', ')})`;
}

/** Character sets by what the platform calls them: MySQL's latin1 is that of Windows. Text in others is shown in hexadecimal, as bytes are. */
const DECODERS: Readonly<Record<string, string>> = {
  ascii: 'utf-8',
  utf8: 'utf-8',
  utf8mb3: 'utf-8',
  utf8mb4: 'utf-8',
  latin1: 'windows-1252',
};

/** One value; null for SQL's NULL. */
export function valueText({ form, charset }: ImageColumn, value: string | undefined): string | null {
  if (value === undefined) return null;
  switch (form) {
    case 'text':
    case 'padded':
    case 'enum':
    case 'json': {
      const hex = value.replace(/^!/, '');
      if (form === 'enum' && value === '0') return '';
      const encoding = form === 'json' ? 'utf-8' : DECODERS[charset ?? ''];
      return encoding === undefined ? `0x${hex}` : new TextDecoder(encoding).decode(Buffer.from(hex, 'hex'));
    }
    case 'timestamp':
      return Number(value) === 0 ? '0000-00-00 00:00:00' : `${dateText(value)} UTC`;
    case 'bytes':
    case 'geometry':
      return `0x${value}`;
    default:
      return value;
  }
}

/** Seconds since 1970, with their fraction as it is stored. */
function dateText(seconds: string): string {
  const [whole = '', fraction] = seconds.split('.');
  const date = new Date(Number(whole) * 1000);
  const text = Number.isNaN(date.getTime()) ? whole : date.toISOString().slice(0, 19).replace('T', ' ');
  return fraction === undefined ? text : `${text}.${fraction}`;
}
