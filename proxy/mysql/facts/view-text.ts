/** What reading a view does, told from the text by which the server would make it again. Pure. */
import type { AskedTable } from '../catalog-sql.ts';
import { unicode } from '../text/change.ts';
import { callsUnknown } from '../text/functions.ts';
import { namedTables } from '../text/named-tables.ts';
import { findWord, type Source } from '../text/span.ts';
import { scan, type Server } from '../text/tokens.ts';

/** Why reading a view may change rows. `why` continues "the view v, …". */
export interface ViewFault {
  readonly why: string;
  /** The second phase may not see what it has to know. */
  readonly isHidden?: true;
}

export interface ViewFacts {
  /** Undefined where it may not, but by views that it reads. */
  readonly fault: ViewFault | undefined;
  /** The tables and views that it reads, and perhaps more. */
  readonly reads: readonly AskedTable[];
}

/** An answer of SHOW CREATE VIEW: its text, and the character set of the session in which the view was made. */
export interface ShownView {
  readonly database: string;
  readonly text: string;
  readonly charset: string;
}

const UNCLEAR: ViewFacts = { fault: { why: 'whose text could not be read with certainty' }, reads: [] };

/**
 * Reads the answer. Functions that are stored are quoted in it, and those of the server's own are not; all tables have their database. What
 * is not understood may change rows. Sources: MySQL documentation, "SHOW CREATE VIEW Statement"; test/mysql-servers/views, on both servers.
 */
export function readView({ database, text, charset }: ShownView, server: Server | undefined): ViewFacts {
  // Servers convert all of it from that character set, names too, which are in UTF-8.
  // oxlint-disable-next-line no-control-regex
  if (/[^\u0000-\u007f]/.test(text) && !charset.startsWith('utf8')) return UNCLEAR;
  const bytes = Buffer.from(text, 'utf8').toString('latin1');
  const scanned = scan(bytes, { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8', server });
  if (scanned.kind === 'fault') return UNCLEAR;
  const source: Source = { text: bytes, tokens: scanned.tokens, server };
  const to = source.tokens.length;
  const view = findWord(source, { from: 0, to }, 'view');
  const body = { from: findWord(source, { from: view, to }, 'as') + 1, to };
  // With sql_quote_show_create = 0 a stored function could look like one of the server's own.
  if (source.tokens[view + 1]?.kind !== 'name' || body.from >= to) return UNCLEAR;
  const called = callsUnknown(source, body);
  return {
    fault: called === undefined ? undefined : { why: `which calls ${unicode(called)}()` },
    reads: namedTables(source, body).map((name) => ({ database: name.database ?? database, table: name.table })),
  };
}
