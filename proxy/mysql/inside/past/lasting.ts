/** What a text leaves behind in its session, by its words: found without reading the text as a whole, for it is asked of every statement. */
import { COMMAND } from '../../wire/commands.ts';

/** What a text may leave behind in the session. */
export interface Lasting {
  readonly database: boolean;
  /** `sql_mode` or a character set, by which texts are read. */
  readonly reading: boolean;
  /** The isolation level of the next local transaction, which no variable shows. */
  readonly level: boolean;
  /** A procedure may run, whose text is not seen: on MariaDB it may select a database for its caller. */
  readonly calls: boolean;
}

export const NOTHING: Lasting = { database: false, reading: false, level: false, calls: false };
export const ANYTHING: Lasting = { database: true, reading: true, level: true, calls: true };
export const SELECTS: Lasting = { ...NOTHING, database: true };
/** Both servers set back by what texts are read, as it was before the call. Of the character sets only that of results stays as it is set. */
const CALLS: Lasting = { ...NOTHING, level: true, calls: true };

/**
 * What a text may leave behind, rather too much than too little. Of most texts it looks at two bytes, and for a `;` where `hasSeveral`:
 * several statements in one text are carried out. Query attributes may stand in front. The text is what `bytes` has from `start` to `end`.
 */
export function lastingOf(bytes: Buffer, start = 0, end = bytes.length, hasSeveral = false): Lasting {
  // Mostly there are no attributes, which is said by two bytes. Otherwise it is not known where the text begins.
  const at = start + (bytes[start] === 0 ? 2 : 0);
  if (at === start && bytes[start + 1] === 1) return lastingOfAny(bytes.toString('latin1', at, end));
  const hasMore = hasSeveral && bytes.subarray(at, end).includes(SEMICOLON);
  if (!hasMore && isOrdinary(bytes, at, end)) return NOTHING;
  let lasting = NOTHING;
  let places = 0;
  for (let next = at; next < end;) {
    const place = behindComments(bytes, next, end);
    // In a string or a comment it separates nothing, but that is not worth telling. What looks like a comment may be a string's, too.
    const semicolon = hasMore ? bytes.indexOf(SEMICOLON, next) : -1;
    const isSkipped = semicolon !== -1 && semicolon < place;
    const isPlain = isOrdinary(bytes, place, end);
    if (isSkipped || !isPlain) {
      if (places === PLACES_MAX) return ANYTHING;
      places += 1;
    }
    if (!isPlain) lasting = both(lasting, lastingOfOne(bytes.toString('latin1', place, end)));
    next = semicolon === -1 ? end : semicolon + 1;
  }
  return lasting;
}

/** What a command leaves behind that is no text; undefined where nothing. */
export function lastingOfCommand(code: number): Lasting | undefined {
  if (code === COMMAND.initDb) return SELECTS;
  return code === COMMAND.resetConnection || code === COMMAND.changeUser ? ANYTHING : undefined;
}

const SEMICOLON = 0x3b;
const [BLANK, EXCLAMATION, HASH, MINUS, SLASH, STAR, CAPITAL_M, LINE_END] = [
  0x20, 0x21, 0x23, 0x2d, 0x2f, 0x2a, 0x4d, 0x0a,
];
const [B, C, D, I, L, N, O, P, R, S, T, U, W] = [...Buffer.from('bcdilnoprstuw')];
/** Statements in a text that are looked at more closely, and comments that are skipped and may be none. */
const PLACES_MAX = 50;
/** What begins with BEGIN and is shorter has nothing inside. */
const BLOCK_BYTES_MIN = 'begin p;end'.length;

/** True of a statement that leaves nothing behind, by its first letters: SELECT, INSERT, UPDATE, DELETE, REPLACE, WITH, COMMIT and their like. */
function isOrdinary(bytes: Buffer, at: number, end: number): boolean {
  // Capital letters become small ones.
  const letter = (index: number): number => (bytes[at + index] ?? 0) | BLANK;
  switch (letter(0)) {
    case S:
      return letter(2) !== T;
    case I:
      return letter(1) === N;
    case U:
      return letter(1) === P;
    case W:
      return letter(1) === I;
    case C:
      return letter(1) === O;
    case R:
      return letter(1) === O || letter(3) === L;
    case B:
      return end - at < BLOCK_BYTES_MIN;
    case D:
      return letter(2) !== C;
    default:
      return at >= end;
  }
}

/** Where something stands that is neither a blank nor a comment, from `from` on; comments that servers carry out are none. */
function behindComments(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const [byte = 0, second] = [bytes[at], bytes[at + 1]];
    const isLine = byte === HASH || (byte === MINUS && second === MINUS);
    const mark = bytes[at + 2] === CAPITAL_M ? bytes[at + 3] : bytes[at + 2];
    const isBlock = byte === SLASH && second === STAR && mark !== EXCLAMATION;
    if (byte <= BLANK) at += 1;
    else if (!isLine && !isBlock) break;
    else {
      const close = isLine ? bytes.indexOf(LINE_END, at) : bytes.indexOf('*/', at + 2);
      if (close === -1) return end;
      at = close + (isLine ? 1 : 2);
    }
  }
  return Math.min(at, end);
}

const BLANKS = String.raw`(?:\s|/\*(?:[^*]|\*(?!/))*\*/|(?:#|--)[^\n]*(?:\n|$))`;
/** Without a word for whom, both are about the next transaction alone. Source: MySQL documentation, "SET TRANSACTION Statement". */
const SETS_NEXT = new RegExp(
  String.raw`\bset${BLANKS}+transaction\b|@@t(?:x|ransaction)_(?:isolation|read_only)\b`,
  'is',
);
/** Words without which nothing is left behind, but by a call. */
const SETS = /\b(?:use|set|execute)\b/i;
const CALL = /\bcall\b/i;
/** MariaDB's SET STATEMENT runs what stands behind it. */
const SET_STATEMENT = new RegExp(String.raw`^set(?:${BLANKS}|/\*M?!\d*)+statement\b`, 'is');
const SET_RUNS = /\b(?:use|execute|call)\b/i;
/** Settings by which texts are read; `char` begins `character_set_client`, `CHARACTER SET` and `CHARSET`. */
const READINGS = /sql_mode|old_mode|\bnames\b|char|collation/i;
/**
 * Compound statements, which MariaDB carries out by themselves, in its mode ORACLE without NOT ATOMIC too; BEGIN alone is none.
 * Source: MariaDB documentation, "Using Compound Statements Outside of Stored Programs", "SQL_MODE=ORACLE".
 */
const BLOCK = new RegExp(
  String.raw`^(?:begin\b(?!${BLANKS}*(?:work\b${BLANKS}*)?(?:;|$))|(?:declare|case|for|if|loop|repeat|while)\b)`,
  'is',
);

/** `text` begins with the statement; others may follow. */
function lastingOfOne(text: string): Lasting {
  if (/^use\b/i.test(text)) return SELECTS;
  if (/^execute\b/i.test(text)) return ANYTHING;
  if (/^call\b/i.test(text)) return CALLS;
  if (/^set\b/i.test(text)) {
    if (SET_STATEMENT.test(text) && SET_RUNS.test(text)) return ANYTHING;
    return { ...NOTHING, reading: READINGS.test(text), level: SETS_NEXT.test(text) };
  }
  // In its mode ORACLE a block calls without a word for it.
  if (BLOCK.test(text)) return SETS.test(text) ? ANYTHING : CALLS;
  // Of a comment that servers carry out, and of what else begins with no letter, anything may be read by the server.
  return /^[a-z(]/i.test(text) ? NOTHING : lastingOfAny(text);
}

/** Where the text begins is not known. */
function lastingOfAny(text: string): Lasting {
  if (SETS.test(text)) return ANYTHING;
  return CALL.test(text) ? CALLS : NOTHING;
}

function both(one: Lasting, other: Lasting): Lasting {
  return {
    database: one.database || other.database,
    reading: one.reading || other.reading,
    level: one.level || other.level,
    calls: one.calls || other.calls,
  };
}
