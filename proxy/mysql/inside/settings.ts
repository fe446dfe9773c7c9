/** The settings of a session that what is done inside a global transaction depends on: asked of the server, for no packet tells them all. */
import { assert } from '../../../src/platform/assert.ts';
import { serverOf } from '../setup/version.ts';
import type { Lexical } from '../text/tokens.ts';
import type { SessionChecks } from '../undo/checks.ts';
import { errorIn, rowsIn, type Reply } from './reply.ts';
import type { Seat } from './seat.ts';

export interface Settings {
  readonly lexical: Lexical;
  /** The selected database; undefined when there is none. */
  readonly database: string | undefined;
  /** READ COMMITTED or below, where rows may appear that a locking read has not found. */
  readonly hasPhantoms: boolean;
  /** `max_allowed_packet`: a longer statement would end the connection. */
  readonly packetBytesMax: number;
  /** `completion_type`: what follows on a COMMIT or ROLLBACK that does not say. */
  readonly completion: string;
  /** `character_set_results` has two bytes or four for each character, so that texts of rows are none in ASCII. */
  readonly hasWideResults: boolean;
  readonly checks: SessionChecks;
}

/** Beyond the isolation level: numbers, in this order. */
const NUMBERS = [
  'foreign_key_checks',
  'unique_checks',
  'sql_auto_is_null',
  'sql_safe_updates',
  'sql_select_limit',
  'max_allowed_packet',
] as const;
/** The largest number of 64 bits, which is as good as none. */
const NO_LIMIT = '18446744073709551615';

/** How often they are asked for: a KILL QUERY that was meant for the client's statement may meet the question. */
const TRIES_MAX = 3;

/** Asks the server for all of them. */
export async function askSettings(seat: Pick<Seat, 'ask' | 'isMariadb'>): Promise<Settings> {
  for (let tries = 1; ; tries += 1) {
    const [reply] = await seat.ask([{ sql: settingsSql(seat.isMariadb) }]);
    assert(reply !== undefined, 'a statement was answered');
    if (errorIn(reply) === undefined || tries === TRIES_MAX) return readSettings(reply);
  }
}

/** All of them as one text in ASCII, whatever the session's character sets are. */
function settingsSql(isMariadb: boolean): string {
  const isolation = isMariadb ? '@@session.tx_isolation' : '@@session.transaction_isolation';
  // Some of them are words where a text is wanted.
  const numbers = NUMBERS.map((name) => `@@session.${name} + 0`).join(', ');
  const all = `CONCAT_WS('|', @@session.sql_mode, @@session.character_set_client, ${isolation}, ${numbers}, @@version, @@session.completion_type, IFNULL(@@session.character_set_results, '-'), IFNULL(HEX(CONVERT(DATABASE() USING utf8mb4)), '-'))`;
  return `SELECT CAST(CONVERT(${all} USING ascii) AS BINARY)`;
}

/** Reads the answer. */
function readSettings(reply: Reply): Settings {
  const text = rowsIn(reply)[0]?.[0];
  assert(typeof text === 'string', 'a server tells the settings of a session');
  const [mode = '', charset = '', isolation = '', ...others] = text.split('|');
  const [
    foreignKeys,
    uniques,
    autoIsNull,
    safeUpdates,
    selectLimit,
    packet,
    version,
    completion = '',
    results = '',
    database = '-',
  ] = others;
  const unfit = [
    ...(autoIsNull === '0' ? [] : ['sql_auto_is_null']),
    ...(safeUpdates === '0' ? [] : ['sql_safe_updates']),
    ...(selectLimit === NO_LIMIT ? [] : ['sql_select_limit']),
  ];
  const modes = mode.split(',');
  return {
    lexical: {
      noBackslashEscapes: modes.includes('NO_BACKSLASH_ESCAPES'),
      ansiQuotes: modes.includes('ANSI_QUOTES'),
      charset: kindOf(charset),
      server: serverOf(version ?? '', modes.includes('IGNORE_SPACE')),
    },
    database: database === '-' ? undefined : Buffer.from(database, 'hex').toString('utf8'),
    hasPhantoms: !['REPEATABLE-READ', 'SERIALIZABLE'].includes(isolation),
    packetBytesMax: Number(packet),
    completion,
    hasWideResults: WIDE.test(results),
    checks: { unfit: unfit[0], foreignKeys: foreignKeys === '1', uniques: uniques === '1' },
  };
}

const WIDE = /^(?:ucs2|utf16|utf32)/;

/** Character sets with several bytes for a character, of which the second may be that of a quote or a backslash. */
const TREACHEROUS: ReadonlySet<string> = new Set([
  'big5',
  'cp932',
  'eucjpms',
  'euckr',
  'gb18030',
  'gb2312',
  'gbk',
  'sjis',
  'ujis',
]);

function kindOf(charset: string): Lexical['charset'] {
  if (charset.startsWith('utf8')) return 'utf8';
  return TREACHEROUS.has(charset) ? 'other' : 'single-byte';
}

/** How often something was said that may have changed what prepared texts depend on. They are read as the session was at PREPARE. */
export interface Epoch {
  /** Another database may have been selected. */
  readonly databases: number;
  /** `sql_mode` or a character set may be another one. */
  readonly readings: number;
}

/** What a text may leave behind in the session. */
export interface Lasting {
  readonly database: boolean;
  readonly reading: boolean;
  /** The isolation level of the next local transaction, which no variable shows. */
  readonly level: boolean;
}

const NOTHING: Lasting = { database: false, reading: false, level: false };
const ANYTHING: Lasting = { database: true, reading: true, level: true };

/**
 * What a text may leave behind, rather too much than too little; what procedures do by dynamic SQL is not seen. Of most texts it looks at
 * two bytes, and for a `;` where `hasSeveral`: several statements in one text are carried out. Query attributes may stand in front. The
 * text is what `bytes` has from `start` to `end`.
 */
export function lastingOf(bytes: Buffer, start = 0, end = bytes.length, hasSeveral = false): Lasting {
  // Mostly there are no attributes, which is said by two bytes. Otherwise it is not known where the text begins.
  const at = start + (bytes[start] === 0 ? 2 : 0);
  if (at === start && bytes[start + 1] === 1) return SETS.test(bytes.toString('latin1', at, end)) ? ANYTHING : NOTHING;
  const hasMore = hasSeveral && bytes.subarray(at, end).includes(SEMICOLON);
  if (!hasMore && isOrdinary(bytes, at, end)) return NOTHING;
  let lasting = NOTHING;
  let places = 0;
  for (let next = at; next < end;) {
    const place = behindComments(bytes, next, end);
    if (!isOrdinary(bytes, place, end)) {
      if (places === PLACES_MAX) return ANYTHING;
      places += 1;
      lasting = both(lasting, lastingOfOne(bytes.toString('latin1', place, end)));
    }
    // In a string or a comment it separates nothing, but that is not worth telling.
    const semicolon = hasMore ? bytes.indexOf(SEMICOLON, place) : -1;
    next = semicolon === -1 ? end : semicolon + 1;
  }
  return lasting;
}

const SEMICOLON = 0x3b;
const [BLANK, EXCLAMATION, HASH, MINUS, SLASH, STAR, CAPITAL_M, LINE_END] = [
  0x20, 0x21, 0x23, 0x2d, 0x2f, 0x2a, 0x4d, 0x0a,
];
const [B, C, D, I, L, N, O, P, R, S, T, U, W] = [...Buffer.from('bcdilnoprstuw')];
/** Statements in a text that are looked at more closely. */
const PLACES_MAX = 50;
/** What begins with BEGIN and is shorter has nothing inside. */
const BLOCK_BYTES_MIN = 16;

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
      return true;
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

const BLANKS = String.raw`(?:\s|/\*(?:[^*]|\*(?!/))*\*/)`;
/** Without a word for whom, both are about the next transaction alone. Source: MySQL documentation, "SET TRANSACTION Statement". */
const SETS_NEXT = new RegExp(
  String.raw`\bset${BLANKS}+transaction\b|@@t(?:x|ransaction)_(?:isolation|read_only)\b`,
  'is',
);
/** Words without which nothing is left behind. */
const SETS = /\b(?:use|set|execute)\b/i;
/** MariaDB's SET STATEMENT runs what stands behind it. */
const SET_RUNS = /\b(?:use|execute)\b/i;
/** Settings by which texts are read; `char` begins `character_set_client`, `CHARACTER SET` and `CHARSET`. */
const READINGS = /sql_mode|old_mode|\bnames\b|char|collation/i;
/** Compound statements, which MariaDB carries out by themselves. Source: MariaDB documentation, "Using Compound Statements Outside of Stored Programs". */
const BLOCK = /^(?:begin\b.*\batomic|case|for|if|loop|repeat|while)\b/is;

/** `text` begins with the statement; others may follow. */
function lastingOfOne(text: string): Lasting {
  if (/^use\b/i.test(text)) return { ...NOTHING, database: true };
  if (/^execute\b/i.test(text)) return ANYTHING;
  if (/^set\b/i.test(text)) {
    return SET_RUNS.test(text)
      ? ANYTHING
      : { database: false, reading: READINGS.test(text), level: SETS_NEXT.test(text) };
  }
  // Of a comment that servers carry out, and of what else begins with no letter, anything may be read by the server.
  const isAny = BLOCK.test(text) || !/^[a-z(]/i.test(text);
  return isAny && SETS.test(text) ? ANYTHING : NOTHING;
}

function both(one: Lasting, other: Lasting): Lasting {
  return {
    database: one.database || other.database,
    reading: one.reading || other.reading,
    level: one.level || other.level,
  };
}

/** True when texts mean the same under both. */
export function readsAlike({ lexical: one }: Settings, { lexical: other }: Settings): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
