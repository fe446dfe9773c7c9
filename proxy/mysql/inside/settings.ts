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
  const all = `CONCAT_WS('|', @@session.sql_mode, @@session.character_set_client, ${isolation}, ${numbers}, @@version, @@session.completion_type, IFNULL(HEX(CONVERT(DATABASE() USING utf8mb4)), '-'))`;
  return `SELECT CAST(CONVERT(${all} USING ascii) AS BINARY)`;
}

/** Reads the answer. */
function readSettings(reply: Reply): Settings {
  const text = rowsIn(reply)[0]?.[0];
  assert(typeof text === 'string', 'a server tells the settings of a session');
  const [mode = '', charset = '', isolation = '', ...others] = text.split('|');
  const [foreignKeys, uniques, autoIsNull, safeUpdates, selectLimit, packet, version, completion = '', database = '-'] =
    others;
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
    checks: { unfit: unfit[0], foreignKeys: foreignKeys === '1', uniques: uniques === '1' },
  };
}

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

/** Bytes at the beginning of a text within which it is looked for, so that a comment may stand in front of it. */
const LOOKED_AT = 300;
const BLANKS = String.raw`(?:\s|/\*.*?\*/)`;
/** Without a word for whom, both are about the next transaction alone. Source: MySQL documentation, "SET TRANSACTION Statement". */
const SETS_NEXT = new RegExp(
  String.raw`\bset${BLANKS}+transaction\b|@@t(?:x|ransaction)_(?:isolation|read_only)\b`,
  'is',
);
const [BLANK, SLASH, LETTER_S, LETTER_T] = [0x20, 0x2f, 0x73, 0x74];

/**
 * True of a text that sets the isolation level of the next local transaction, which no variable shows. Of most other texts it looks at
 * two bytes. Query attributes may stand in front. The text is what `text` has from `start` to `end`.
 */
export function setsNextLevel(text: Buffer, start = 0, end = text.length): boolean {
  // Mostly there are none of them, which is said by two bytes.
  const at = start + (text[start] === 0 ? 2 : 0);
  // Capital letters become small ones, and blanks stay below the rest.
  const first = (text[at] ?? 0) | BLANK;
  const isSet = first === LETTER_S && ((text[at + 2] ?? 0) | BLANK) === LETTER_T;
  return (isSet || first <= SLASH) && SETS_NEXT.test(text.toString('latin1', at, Math.min(at + LOOKED_AT, end)));
}

const USES = new RegExp(String.raw`^${BLANKS}*use\b`, 'is');
const LETTER_U = 0x75;

/** True of a text that selects a database. Of most other texts it looks at two bytes. Query attributes may stand in front. */
export function selectsDatabase(text: Buffer, start = 0, end = text.length): boolean {
  const at = start + (text[start] === 0 ? 2 : 0);
  const first = (text[at] ?? 0) | BLANK;
  return (
    (first === LETTER_U || first <= SLASH) && USES.test(text.toString('latin1', at, Math.min(at + LOOKED_AT, end)))
  );
}

/** True when texts mean the same under both. */
export function readsAlike({ lexical: one }: Settings, { lexical: other }: Settings): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
