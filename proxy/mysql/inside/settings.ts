/** The settings of a session that what is done inside a global transaction depends on: asked of the server, for no packet tells them all. */
import { assert } from '../../../src/platform/assert.ts';
import type { Lexical } from '../text/tokens.ts';
import { rowsIn, type Reply } from './reply.ts';

export interface Settings {
  readonly lexical: Lexical;
  /** The selected database; undefined when there is none. */
  readonly database: string | undefined;
  /** READ COMMITTED or below, where rows may appear that a locking read has not found. */
  readonly hasPhantoms: boolean;
  /** `max_allowed_packet`: a longer statement would end the connection. */
  readonly packetBytesMax: number;
}

/** All of them as one text in ASCII, whatever the session's character sets are. */
export function settingsSql(isMariadb: boolean): string {
  const isolation = isMariadb ? '@@session.tx_isolation' : '@@session.transaction_isolation';
  const all = `CONCAT_WS('|', @@session.sql_mode, @@session.character_set_client, ${isolation}, @@session.max_allowed_packet, IFNULL(HEX(CONVERT(DATABASE() USING utf8mb4)), '-'))`;
  return `SELECT CAST(CONVERT(${all} USING ascii) AS BINARY)`;
}

/** Reads the answer. */
export function readSettings(reply: Reply): Settings {
  const text = rowsIn(reply)[0]?.[0];
  assert(typeof text === 'string', 'a server tells the settings of a session');
  const [mode = '', charset = '', isolation = '', packet = '', database = '-'] = text.split('|');
  const modes = mode.split(',');
  return {
    lexical: {
      noBackslashEscapes: modes.includes('NO_BACKSLASH_ESCAPES'),
      ansiQuotes: modes.includes('ANSI_QUOTES'),
      charset: kindOf(charset),
    },
    database: database === '-' ? undefined : Buffer.from(database, 'hex').toString('utf8'),
    hasPhantoms: !['REPEATABLE-READ', 'SERIALIZABLE'].includes(isolation),
    packetBytesMax: Number(packet),
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
