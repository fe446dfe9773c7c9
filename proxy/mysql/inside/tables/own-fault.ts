/** What the server itself has against a statement that is going to be refused: then the client hears that, as it would without a sidecar. */
import { failureIn, type Context, type Failure } from '../context.ts';
import type { Piece } from '../piece.ts';
import type { Own } from '../seat.ts';
import type { Settings } from '../settings.ts';

/** Nobody else's: it is there between two statements of ours only. */
const NAME = 'atomesh_asked';

/**
 * ER_DBACCESS_DENIED_ERROR, ER_NO_DB_ERROR, ER_BAD_DB_ERROR, ER_BAD_TABLE_ERROR, ER_BAD_FIELD_ERROR, ER_PARSE_ERROR, ER_WRONG_VALUE_COUNT_ON_ROW,
 * ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_NO_SUCH_TABLE, ER_SP_DOES_NOT_EXIST, ER_NON_UNIQ_ERROR, ER_FIELD_SPECIFIED_TWICE,
 * ER_INVALID_GROUP_FUNC_USE, ER_UPDATE_TABLE_USED, ER_OPERAND_COLUMNS, ER_SUBQUERY_NO_1_ROW, ER_WRONG_PARAMCOUNT_TO_NATIVE_FCT,
 * ER_NO_DEFAULT_FOR_FIELD, ER_NON_DEFAULT_VALUE_FOR_GENERATED_COLUMN: what a statement says wrongly, or may not.
 */
const FAULTS: ReadonlySet<number> = new Set([
  1044, 1046, 1049, 1051, 1054, 1064, 1136, 1142, 1143, 1146, 1305, 1052, 1110, 1111, 1093, 1241, 1242, 1582, 1364,
  3105,
]);

/** What has the server prepare a statement, and forget it again. Undefined where that cannot be said with certainty, or would be too long. */
export function preparing(sql: string, { lexical, packetBytesMax }: Settings): readonly Own[] | undefined {
  // In the other character sets half of a character may be a quote.
  if (lexical.charset === 'other') return undefined;
  const quoted = sql.replaceAll("'", "''");
  const text = lexical.noBackslashEscapes ? quoted : quoted.replaceAll('\\', '\\\\');
  if (text.length + 100 > packetBytesMax) return undefined;
  return [{ sql: `PREPARE ${NAME} FROM '${text}'` }, { sql: `DEALLOCATE PREPARE ${NAME}` }];
}

/** True for what the server has against the statement itself, and would say of it too. */
export function isOwnFault(failure: Failure): boolean {
  return failure.kind === 'error' && FAULTS.has(failure.errno);
}

/**
 * Has the server prepare the statement, which changes nothing. Undefined where it has nothing against it, or where that was asked already: a
 * statement that the client has prepared. Not asked of a part of a text: a compound statement has semicolons within it.
 */
export async function ownFault(
  { seat, settings }: Context,
  { sql, isPrepared, isWhole }: Piece,
): Promise<Failure | undefined> {
  const asked = isPrepared || !isWhole ? undefined : preparing(sql, settings);
  if (asked === undefined) return undefined;
  const [failure] = (await seat.script(asked)).map(failureIn);
  return failure !== undefined && isOwnFault(failure) ? failure : undefined;
}
