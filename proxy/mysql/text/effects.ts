/**
 * What a client asks about its last statement, where statements of the sidecar have run on its connection since. Pure.
 *
 * What each of these changes, on MariaDB 10.11 and MySQL 8.0 alike (test/mysql-servers/text/effects.test.ts): LAST_INSERT_ID(), @@identity and
 * @@insert_id stay as they are behind all statements of the sidecar, for no table of its own counts by itself. ROW_COUNT() becomes that of the
 * statement, -1 behind one with rows. FOUND_ROWS() is changed by readings only. The warnings and their counts are those of the last
 * reading or change; SAVEPOINT clears them on MySQL and leaves them on MariaDB. Source: MySQL documentation, "Information Functions",
 * "SHOW WARNINGS Statement", "The MySQL Diagnostics Area".
 */
import { findWord, isOperator, isWord, splitAtCommas, textOf, type Source, type Span } from './span.ts';

/** What has been kept of the client's last statement, taken right behind it. */
export interface Remembered {
  /** What ROW_COUNT() says: the count of its OK packet; -1 behind rows and behind an error. */
  readonly affectedRows: bigint;
  /** Of its OK or EOF packet: it may be more than the server keeps (`max_error_count`). */
  readonly warningCount: number;
  /** The first column of each row of SHOW WARNINGS: `Error`, `Warning`, `Note`. */
  readonly levels: readonly string[];
}

/** How a statement that asks is answered. */
export type Asked =
  /** It asks nothing of this, or what it asks is as it was. */
  | { readonly kind: 'as-is' }
  /** To be run in its place. */
  | { readonly kind: 'text'; readonly text: string }
  /** SHOW WARNINGS or SHOW ERRORS: these rows, by number from 0, of the answer to SHOW WARNINGS that was taken behind the statement. */
  | { readonly kind: 'warnings'; readonly rows: readonly number[] }
  /** It cannot be answered. `message`: why, without a full stop. */
  | { readonly kind: 'refuse'; readonly message: string };

/** What to do with a statement of the client, by what is remembered of the one before it. Called only where statements of ours have run since. */
export function askedOf(source: Source, span: Span, remembered: Remembered): Asked {
  if (isWord(source, span.from, 'show')) return shown(source, span, remembered);
  if (isWord(source, span.from, 'get') && findWord(source, span, 'diagnostics') <= span.from + 2)
    return refuse(
      'GET DIAGNOSTICS would tell of statements of the sidecar; SHOW WARNINGS and ROW_COUNT() are answered',
    );
  const found = questionsIn(source, span);
  if (found.length === 0) return AS_IS;
  const edits: Edit[] = [];
  for (const question of found) {
    const value = valueOf(question.about, remembered);
    if (value === undefined)
      return refuse('FOUND_ROWS() is not known any more: a statement of the sidecar has read rows since');
    edits.push({ from: question.start, to: question.end, text: value });
  }
  const names = namesFor(source, span, found);
  if (names === undefined)
    return refuse(
      'it asks for ROW_COUNT() or the like in an expression or a subquery whose column needs a name: give it one with AS',
    );
  return { kind: 'text', text: edited(source, span, [...edits, ...names]) };
}

const AS_IS: Asked = { kind: 'as-is' };

function refuse(message: string): Asked {
  return { kind: 'refuse', message };
}

function shown(source: Source, span: Span, { levels, warningCount }: Remembered): Asked {
  const { tokens } = source;
  const at = span.from + 1;
  if (isWord(source, at, 'count') && isOperator(source, at + 1, '(') && isOperator(source, at + 2, '*')) {
    const errors = errorsIn(levels);
    // The server's own answer has this name.
    if (isWord(source, at + 4, 'warnings')) return counted(warningCount, '@@session.warning_count');
    return isWord(source, at + 4, 'errors') ? counted(errors.length, '@@session.error_count') : AS_IS;
  }
  if (!isWord(source, at, 'warnings', 'errors')) return AS_IS;
  const rows = isWord(source, at, 'errors') ? errorsIn(levels) : [...levels.keys()];
  const clause = LIMIT.exec(
    tokens
      .slice(at + 1, span.to)
      .map(({ text }) => text)
      .join(' '),
  );
  if (clause === null) return AS_IS;
  const [, first, comma, second] = clause;
  if (first === undefined) return { kind: 'warnings', rows };
  const [skipped, most] = comma === ',' ? [first, second] : [second ?? '0', first];
  return { kind: 'warnings', rows: rows.slice(Number(skipped)).slice(0, Number(most)) };
}

/** Of SHOW WARNINGS; anything else there is an error, which the server tells. */
const LIMIT = /^(?:limit (\d+)(?: (,|offset) (\d+))?)?$/;

function counted(count: number, name: string): Asked {
  return { kind: 'text', text: `SELECT ${unsigned(BigInt(count))} AS \`${name}\`` };
}

function errorsIn(levels: readonly string[]): readonly number[] {
  return [...levels.keys()].filter((number) => levels[number] === 'Error');
}

type About = 'row-count' | 'found-rows' | 'warning-count' | 'error-count';

/** A function or a variable of the server that tells of the last statement. `start`, `end`: in bytes. `place`: that of its first token. */
interface Question {
  readonly about: About;
  readonly place: number;
  readonly start: number;
  readonly end: number;
  /** The place behind its last token. */
  readonly behind: number;
}

const FUNCTIONS: ReadonlyMap<string, About> = new Map([
  ['row_count', 'row-count'],
  ['found_rows', 'found-rows'],
]);
const VARIABLES: ReadonlyMap<string, About> = new Map([
  ['warning_count', 'warning-count'],
  ['error_count', 'error-count'],
]);

function questionsIn(source: Source, span: Span): readonly Question[] {
  const { tokens } = source;
  const found: Question[] = [];
  const add = (about: About | undefined, place: number, behind: number): void => {
    const [start, end] = [tokens[place]?.start, tokens[behind - 1]?.end];
    if (about !== undefined && start !== undefined && end !== undefined)
      found.push({ about, place, start, end, behind });
  };
  for (let place = span.from; place < span.to; place += 1) {
    if (isOperator(source, place, '@@')) {
      const isScoped = isWord(source, place + 1, 'session', 'local') && isOperator(source, place + 2, '.');
      const named = place + (isScoped ? 3 : 1);
      add(VARIABLES.get(nameAt(source, named)), place, named + 1);
    } else if (
      isOperator(source, place + 1, '(') &&
      isOperator(source, place + 2, ')') &&
      !isOperator(source, place - 1, '.')
    )
      add(FUNCTIONS.get(nameAt(source, place)), place, place + 3);
  }
  return found.filter(({ behind }) => behind <= span.to);
}

function nameAt({ tokens }: Source, place: number): string {
  const token = tokens[place];
  return token?.kind === 'word' || token?.kind === 'name' ? token.text.toLowerCase() : '';
}

function valueOf(about: About, { affectedRows, warningCount, levels }: Remembered): string | undefined {
  switch (about) {
    case 'row-count':
      return signed(affectedRows);
    case 'found-rows':
      return undefined;
    case 'warning-count':
      return unsigned(BigInt(warningCount));
    case 'error-count':
      return unsigned(BigInt(errorsIn(levels).length));
  }
}

/** A BIGINT: MariaDB makes an INT of fewer digits, whatever they are. */
function signed(value: bigint): string {
  const digits = `${value < 0n ? -value : value}`.padStart(20, '0');
  return `CAST(${value < 0n ? '-' : ''}${digits} AS SIGNED)`;
}

/** A BIGINT UNSIGNED. */
function unsigned(value: bigint): string {
  return `(0 | ${value})`;
}

interface Edit {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

function edited(source: Source, span: Span, edits: readonly Edit[]): string {
  const text = textOf(source, span);
  const start = source.tokens[span.from]?.start ?? 0;
  const parts: string[] = [];
  let at = 0;
  // A name is put in behind what it is the name of, and comes later in the list.
  for (const edit of edits.toSorted((one, other) => one.from - other.from)) {
    parts.push(text.slice(at, edit.from - start), edit.text);
    at = edit.to - start;
  }
  parts.push(text.slice(at));
  return parts.join('');
}

const LIST_ENDS = 'from,into,where,group,having,order,limit,union,except,intersect,for,lock,procedure,window'.split(
  ',',
);

/** The names that columns of the result lose, put behind them; undefined where that cannot be told with certainty. */
function namesFor(source: Source, span: Span, questions: readonly Question[]): readonly Edit[] | undefined {
  if (questions.some(({ place }) => isInSubquery(source, span, place))) return undefined;
  const select = findWord(source, span, 'select');
  if (select >= span.to) return [];
  const first = firstItem(source, select + 1);
  const list = { from: first, to: findWord(source, { from: first, to: span.to }, ...LIST_ENDS) };
  const names: Edit[] = [];
  for (const item of splitAtCommas(source, list)) {
    const asked = questions.filter(({ place }) => place >= item.from && place < item.to);
    const last = asked.at(-1);
    if (last === undefined) continue;
    const name = nameOf(source, item, last);
    if (name === undefined) return undefined;
    const end = source.tokens[item.to - 1]?.end ?? 0;
    if (name !== '') names.push({ from: end, to: end, text: ` AS \`${name.replaceAll('`', '``')}\`` });
  }
  return names;
}

/** Behind the words that may stand between SELECT and its list. */
function firstItem(source: Source, from: number): number {
  let place = from;
  while (isWord(source, place, ...MODIFIERS)) place += 1;
  return place;
}

const MODIFIERS =
  'all,distinct,distinctrow,high_priority,straight_join,sql_small_result,sql_big_result,sql_buffer_result,sql_cache,sql_no_cache,sql_calc_found_rows'.split(
    ',',
  );

/** The name that the server gives to a column without one: its text. Empty where it has one; undefined where that cannot be told. */
function nameOf(source: Source, item: Span, last: Question): string | undefined {
  const { tokens } = source;
  if (isWord(source, item.to - 2, 'as')) return '';
  const end = tokens[item.to - 1];
  const isOnly = last.place === item.from;
  if (isOnly && last.behind === item.to - 1 && end?.kind !== 'operator') return '';
  const isNameLike = end?.kind === 'word' || end?.kind === 'name' || end?.kind === 'string';
  const before = tokens[item.to - 2];
  const isBehindOperator = before?.kind === 'operator' && before.text !== ')';
  // The words of a variable end with one, too.
  const isQuestion = last.behind === item.to;
  return isQuestion || !isNameLike || isBehindOperator ? textOf(source, item) : undefined;
}

/** True within parentheses that begin with SELECT: the names of its columns might be used outside. */
function isInSubquery(source: Source, span: Span, place: number): boolean {
  const around: boolean[] = [];
  for (let at = span.from; at < place; at += 1) {
    if (isOperator(source, at, '(')) around.push(isWord(source, at + 1, 'select', 'with'));
    if (isOperator(source, at, ')')) around.pop();
  }
  return around.includes(true);
}
