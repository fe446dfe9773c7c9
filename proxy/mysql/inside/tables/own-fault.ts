/** What the server itself has against a statement that is going to be refused: then the client hears that, as it would without a sidecar. */
import { failureIn, type Context, type Failure } from '../context.ts';
import type { Piece } from '../piece.ts';

/** Nobody else's: it is there between two statements of ours only. */
const NAME = 'atomesh_asked';

/**
 * ER_DBACCESS_DENIED_ERROR, ER_NO_DB_ERROR, ER_BAD_DB_ERROR, ER_BAD_TABLE_ERROR, ER_BAD_FIELD_ERROR, ER_PARSE_ERROR, ER_WRONG_VALUE_COUNT_ON_ROW,
 * ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_NO_SUCH_TABLE, ER_SP_DOES_NOT_EXIST: what a statement says wrongly, or may not.
 */
const FAULTS: ReadonlySet<number> = new Set([1044, 1046, 1049, 1051, 1054, 1064, 1136, 1142, 1143, 1146, 1305]);

/**
 * Has the server prepare the statement, which changes nothing. Undefined where it has nothing against it, or where that was asked already: a
 * statement that the client has prepared. Not asked of a part of a text: a compound statement has semicolons within it.
 */
export async function ownFault(
  { seat, settings }: Context,
  { sql, isPrepared, isWhole }: Piece,
): Promise<Failure | undefined> {
  const { lexical, packetBytesMax } = settings;
  // In the other character sets half of a character may be a quote.
  if (isPrepared || !isWhole || lexical.charset === 'other') return undefined;
  const quoted = sql.replaceAll("'", "''");
  const text = lexical.noBackslashEscapes ? quoted : quoted.replaceAll('\\', '\\\\');
  if (text.length + 100 > packetBytesMax) return undefined;
  const [reply] = await seat.ask([{ sql: `PREPARE ${NAME} FROM '${text}'` }]);
  const failure = reply && failureIn(reply);
  if (failure === undefined) await seat.ask([{ sql: `DEALLOCATE PREPARE ${NAME}` }]);
  return failure?.kind === 'error' && FAULTS.has(failure.errno) ? failure : undefined;
}
