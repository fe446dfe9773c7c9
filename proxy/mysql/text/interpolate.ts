/**
 * The text of a prepared statement with the parameters of one run written into it as literals. What such a literal is taken for has to be
 * what the server makes of the parameter. Pure. Source: MySQL source: sql/sql_prepare.cc (set_param_*), sql/item.cc (Item_param);
 * MariaDB source: sql/sql_type.cc (Item_param_set_param_func).
 */
import type { Parameter } from '../wire/query.ts';
import { literalOf, type Written } from './literal.ts';
import { scan, type Lexical, type Token } from './tokens.ts';

/** A text with the places of its parameters: kept with the statement, so that it is read once. */
export type PreparedText =
  | {
      readonly kind: 'prepared';
      /** Each character stands for one byte. */
      readonly text: string;
      readonly places: readonly Place[];
      /** The settings by which it was read. */
      readonly lexical: Lexical;
    }
  /** The text cannot be read with certainty. */
  | { readonly kind: 'unreadable'; readonly message: string };

/**
 * What a parameter is in its statement. `count`: of LIMIT and its like, which take plain numbers. `item`: all of an item of ORDER BY or
 * GROUP BY, where a plain number is the place of a column. `whole`: all that is compared, assigned, or given in a list. `part`: anything else.
 */
type Role = 'count' | 'item' | 'whole' | 'part';

/** Where a parameter stands. */
export interface Place {
  /** That of its question mark, in bytes. */
  readonly at: number;
  readonly role: Role;
  /** A string stands right beside it: another string would become one with it. */
  readonly isBesideString: boolean;
}

export type Interpolated =
  | { readonly kind: 'text'; readonly text: string }
  /** The literal might be something else than the parameter. `message`: what is in the way, without a full stop. */
  | { readonly kind: 'refuse'; readonly message: string };

/** Finds the parameters of a text, as the server did by the settings of the session when it was prepared. */
export function prepareText(text: string, lexical: Lexical): PreparedText {
  const scanned = scan(text, lexical);
  if (scanned.kind === 'fault') return { kind: 'unreadable', message: scanned.message };
  const { tokens } = scanned;
  const lists = listsOf(tokens);
  const places = tokens.flatMap((token, index): Place[] => {
    if (token.kind !== 'parameter') return [];
    const isBesideString = tokens[index - 1]?.kind === 'string' || tokens[index + 1]?.kind === 'string';
    return [{ at: token.start, role: roleOf(tokens, index, lists), isBesideString }];
  });
  return { kind: 'prepared', text, places, lexical };
}

/**
 * Writes the parameters into the text: those of the statement, whatever attributes stand behind them. Values that were sent ahead
 * (COM_STMT_SEND_LONG_DATA) are put in by the caller. `lexical`: the settings of the session now.
 *
 * What is not the same as with the prepared statement, on the servers that test/mysql-servers/text asks:
 * - Columns of a result are called by the literal where they have no alias, and their types may be wider or narrower.
 * - MySQL warns of a text that is no number where it has to be one, and of one that is no UTF-8 (which the client does not hear: inside/last-statement.ts), and says
 *   neither of a parameter; in strict mode the first is an error. MariaDB warns of a NULL that was sent as a number and is compared with a text.
 * - MySQL 8.0.15 takes a parameter above 2^63 - 1 for a negative number where it becomes a text or a double; a number that becomes a text is one in the
 *   collation `binary`; times and dates lose their microseconds in a text, a TIME has no date when it becomes a DATETIME, and bit operations
 *   take dates and times for texts. Its literals have none of these faults.
 * - A zero date that is compared with a number, or stored as one, is a text that is no number.
 * - JSON tells a blob from another and a TIMESTAMP from a DATETIME by the parameter's own type.
 *
 * MySQL from 8.0.22 on converts a parameter to the type that its place asks for (MySQL documentation, "PREPARE Statement"), which
 * can be something else than the literal where a number is sent for a text, or a text for a number. That has not been tried.
 */
export function interpolate(
  prepared: PreparedText,
  parameters: readonly Parameter[],
  { lexical }: { readonly lexical: Lexical },
): Interpolated {
  if (prepared.kind === 'unreadable') return { kind: 'refuse', message: prepared.message };
  const { text, places } = prepared;
  if (!isSame(prepared.lexical, lexical))
    return refuse('sql_mode or the character set has changed since it was prepared');
  if (parameters.length < places.length) return refuse(`${parameters.length} parameters of ${places.length}`);
  const parts: string[] = [];
  let from = 0;
  for (const [number, place] of places.entries()) {
    const parameter = parameters[number];
    const written: Written =
      parameter === undefined ? { kind: 'refuse', message: 'no value' } : literalOf(parameter, place, lexical);
    if (written.kind === 'refuse') return refuse(`parameter ${number + 1}: ${written.message}`);
    parts.push(text.slice(from, place.at), apart(text, place.at, written.text));
    from = place.at + 1;
  }
  parts.push(text.slice(from));
  return { kind: 'text', text: parts.join('') };
}

function refuse(message: string): Interpolated {
  return { kind: 'refuse', message };
}

function isSame(one: Lexical, other: Lexical): boolean {
  return (
    one.noBackslashEscapes === other.noBackslashEscapes &&
    one.ansiQuotes === other.ansiQuotes &&
    one.charset === other.charset
  );
}

/** What would become one token with a literal beside it. A blank is put there only: behind a minus sign, two of which stand together, it would make a comment. */
const CLINGS = /[\w$.'"`@\u0080-\u00ff]/;

function apart(text: string, at: number, literal: string): string {
  const before = CLINGS.test(text.charAt(at - 1)) ? ' ' : '';
  const behind = CLINGS.test(text.charAt(at + 1)) ? ' ' : '';
  return `${before}${literal}${behind}`;
}

const COMPARED: ReadonlySet<string> = new Set(['=', '<', '>', '<=', '>=', '<>', '!=', '<=>']);
/** What may stand behind a value that is not part of an expression any more. */
const ENDS: ReadonlySet<string> = new Set(
  ', ) ; and or xor && || order group having limit where on union for lock returning then else end as when offset window rows'.split(
    ' ',
  ),
);
const COUNTED: ReadonlySet<string> = new Set(['limit', 'offset', 'first', 'next', 'rows_examined']);

function roleOf(tokens: readonly Token[], index: number, lists: readonly List[]): Role {
  const before = tokens[index - 1]?.text ?? '';
  const behind = tokens[index + 1];
  const isLast = behind === undefined || (behind.kind !== 'name' && behind.kind !== 'string' && ENDS.has(behind.text));
  const kind = lists[index] ?? 'none';
  if (isCount(tokens, index)) return 'count';
  const isFirst = before === ',' || before === '(';
  if (kind === 'items' && (before === 'by' || before === ',')) return 'item';
  // A variable keeps whether its number has a sign.
  const isVariable = tokens[index - 3]?.text === '@' || tokens[index - 3]?.text === '@@';
  if (isLast && COMPARED.has(before) && !isVariable) return 'whole';
  return isLast && isFirst && kind === 'values' ? 'whole' : 'part';
}

function isCount(tokens: readonly Token[], index: number): boolean {
  const before = tokens[index - 1];
  if (before?.kind === 'word' && COUNTED.has(before.text)) return true;
  return before?.text === ',' && tokens[index - 3]?.kind === 'word' && tokens[index - 3]?.text === 'limit';
}

/** What the innermost parentheses around a token are. `values`: those of IN and of a row of VALUES. `items`: not in parentheses, behind ORDER BY or GROUP BY. */
type List = 'values' | 'items' | 'none';

function listsOf(tokens: readonly Token[]): readonly List[] {
  const around: List[] = [];
  let list: List = 'none';
  let closed: List = 'none';
  return tokens.map((token, index) => {
    const before = tokens[index - 1];
    if (token.kind === 'operator' && token.text === '(') {
      around.push(list);
      const isValues =
        (before?.kind === 'word' && ['in', 'values', 'value', 'row'].includes(before.text)) ||
        (before?.text === ',' && tokens[index - 2]?.text === ')' && closed === 'values');
      list = isValues ? 'values' : 'none';
    } else if (token.kind === 'operator' && token.text === ')') {
      closed = list;
      list = around.pop() ?? 'none';
    } else if (token.kind === 'word' && token.text === 'by') list = 'items';
    else if (list === 'items' && token.kind === 'word' && ITEMS_END.has(token.text)) list = 'none';
    return list;
  });
}

const ITEMS_END: ReadonlySet<string> = new Set(
  'having limit offset fetch for lock into union except intersect window procedure rows range separator with on'.split(
    ' ',
  ),
);
