/** The settings of a session that what is done inside a global transaction depends on: asked of the server, for no packet tells them all. */
import { assert } from '../../../src/platform/assert.ts';
import { serverOf } from '../setup/version.ts';
import type { Lexical } from '../text/tokens.ts';
import type { SessionChecks } from '../undo/checks.ts';
import { errorIn, rowsIn, type Reply } from './reply.ts';
import { PLACE_SQL } from '../session/interrupting.ts';
import type { Seat } from './seat.ts';

export interface Settings {
  readonly lexical: Lexical;
  /** The selected database; undefined when there is none. */
  readonly database: string | undefined;
  /** The server runs nothing of its own at the beginning of a session (`init_connect`), which might select another one. */
  readonly isPlainLogin: boolean;
  /** READ COMMITTED or below, where rows may appear that a locking read has not found. */
  readonly hasPhantoms: boolean;
  /** `max_allowed_packet`: a longer statement would end the connection. */
  readonly packetBytesMax: number;
  /** `completion_type`: what follows on a COMMIT or ROLLBACK that does not say. */
  readonly completion: string;
  /** `character_set_results` has two bytes or four for each character, so that texts of rows are none in ASCII. */
  readonly hasWideResults: boolean;
  readonly checks: SessionChecks;
  /** What `PLACE_SQL` tells. */
  readonly place: string;
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
  const all = `CONCAT_WS('|', @@session.sql_mode, @@session.character_set_client, ${isolation}, ${numbers}, @@version, @@session.completion_type, IFNULL(@@session.character_set_results, '-'), ${PLACE_SQL}, IFNULL(@@init_connect, '') = '', IFNULL(HEX(CONVERT(DATABASE() USING utf8mb4)), '-'))`;
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
    place = '',
    plainLogin = '0',
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
    isPlainLogin: plainLogin === '1',
    hasPhantoms: !['REPEATABLE-READ', 'SERIALIZABLE'].includes(isolation),
    packetBytesMax: Number(packet),
    completion,
    hasWideResults: WIDE.test(results),
    checks: { unfit: unfit[0], foreignKeys: foreignKeys === '1', uniques: uniques === '1' },
    place,
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

/** True when texts mean the same under both. */
export function readsAlike({ lexical: one }: Settings, { lexical: other }: Settings): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
