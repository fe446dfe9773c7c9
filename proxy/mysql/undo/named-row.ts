/** Conditions that name one row by its key: `id = 5`, alone or with further conditions beside it. */
import { findWord, isOperator, isWord, type Source, type Span } from '../text/span.ts';
import type { ChangeStatement } from '../text/statement.ts';
import type { CapturedTable } from './capture.ts';
import type { ImageColumn } from './image.ts';

/** A column of the key, and the constant that it is equal to, as written. */
export interface NamedColumn {
  readonly column: string;
  readonly value: string;
}

/**
 * The columns of the table's key and their values, where the condition can be true for that row alone; undefined where it may be true for
 * others, or where that is not plain to see. A constant of another type than the column's is equal to many values: `'5'` and `'5.0'` are
 * both 5, so types have to be the same.
 */
export function namedRow(
  { where, order, isJoined }: Pick<ChangeStatement, 'where' | 'order' | 'isJoined'>,
  source: Source,
  table: CapturedTable,
): readonly NamedColumn[] | undefined {
  if (where === undefined || order !== undefined || isJoined) return undefined;
  // What binds less than AND, or has an AND of its own.
  if (findWord(source, where, 'or', 'xor', 'between', 'case') < where.to) return undefined;
  if (source.tokens.slice(where.from, where.to).some(({ text }) => LOOSE.has(text))) return undefined;
  const equal = conjuncts(source, where).flatMap((span) => equalityIn(source, span, table) ?? []);
  const named = table.key.map((name) => equal.find(({ column }) => column === name));
  return named.every((each) => each !== undefined) ? named : undefined;
}

const LOOSE: ReadonlySet<string> = new Set(['||', '&&', ':=', '?']);

function conjuncts(source: Source, where: Span): readonly Span[] {
  const spans: Span[] = [];
  let { from } = where;
  for (;;) {
    const and = findWord(source, { from, to: where.to }, 'and');
    spans.push({ from, to: and });
    if (and === where.to) return spans;
    from = and + 1;
  }
}

/** `column = constant`, the column with or without the name of its table. */
function equalityIn(source: Source, { from, to }: Span, table: CapturedTable): NamedColumn | undefined {
  const { tokens } = source;
  const isQualified = isOperator(source, from + 1, '.');
  if (isQualified && quoted(tokens[from]?.text) !== table.row) return undefined;
  const at = isQualified ? from + 2 : from;
  const name = tokens[at];
  if ((name?.kind !== 'word' && name?.kind !== 'name') || !isOperator(source, at + 1, '=')) return undefined;
  if (isWord(source, at, 'binary')) return undefined;
  const column = table.columns.find((each) => each.name.toLowerCase() === name.text.toLowerCase());
  const isNegative = isOperator(source, at + 2, '-');
  const value = tokens[isNegative ? at + 3 : at + 2];
  const last = isNegative ? at + 4 : at + 3;
  if (column === undefined || value === undefined || last !== to) return undefined;
  const text = source.text.slice(tokens[at + 2]?.start, value.end);
  return isAlike(column, text) ? { column: column.name, value: text } : undefined;
}

function quoted(name: string | undefined): string {
  return `\`${name ?? ''}\``;
}

/** A whole number for a column of whole numbers; for one of text a text in ASCII, which every character set and collation has the same. */
function isAlike({ form, type }: ImageColumn, value: string): boolean {
  if (form === 'number') return /int\b/.test(type) && /^-?\d{1,20}$/.test(value);
  return (form === 'text' || form === 'padded') && !type.startsWith('set(') && /^'[ -&(-[\]-~]*'$/.test(value);
}
