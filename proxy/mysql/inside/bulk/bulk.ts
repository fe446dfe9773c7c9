/**
 * COM_STMT_BULK_EXECUTE of MariaDB, by which Connector/J sends its batches: each row is captured like a run of its own, all of them in one
 * local transaction, and the client hears of them once. Unlike with the server's own, of an UPDATE or a DELETE no row stays either when
 * a later one fails. Source: MariaDB documentation, "COM_STMT_BULK_EXECUTE"; MariaDB source: sql/sql_prepare.cc, execute_bulk_loop.
 */
import type { Bulk } from '../../session/naming/claimants.ts';
import { prepareText, type PreparedText } from '../../text/interpolate.ts';
import { decodeOk, encodeOk, type Ok } from '../../wire/outcome.ts';
import type { Parameter } from '../../wire/query.ts';
import { askAll, isAlone, isOpen, type Context, type Failure } from '../context.ts';
import { beginLocal, beginNamed, commitLocal, isNamed, rollBack } from '../ending.ts';
import { answer, tell, type Piece } from '../piece.ts';
import { bulkLimit, bulkValues, bulkUnits, unreadable } from '../refusals.ts';
import { pieceOf, withValues } from '../written-out.ts';
import { GatheringSeat, seated } from './gathering-seat.ts';

/** Behind it all rows of a command that failed are taken back. */
const SAVEPOINT = 'atomesh_bulk';

/** Serves one row. False when it failed. */
export type ServeRow = (c: Context, piece: Piece) => Promise<boolean>;

/** Serves the command. False when it failed. */
export async function serveBulk(c: Context, piece: Piece, bulk: Bulk, serve: ServeRow): Promise<boolean> {
  const refusal = refusalOf(c, bulk);
  if (refusal !== undefined) return tell(c, refusal);
  const text = prepareText(bulk.text.toString('latin1'), c.settings.lexical);
  const alone = isAlone(c);
  const { local } = c;
  // A savepoint of before its beginning would be none of the local transaction's.
  await beginNamed(c);
  const begun = alone
    ? await beginLocal(c, { isPlain: !isNamed(c) })
    : await askAll(c, [{ sql: `SAVEPOINT ${SAVEPOINT}` }]);
  if (begun !== undefined) return tell(c, begun);
  if (!alone) local.savepoint(SAVEPOINT);
  const served = await serveRows(c, text, bulk, serve);
  if ('kind' in served) {
    // Where the local transaction is over already there is nothing to take back.
    const isOurs = isOpen(c) && c.local === local;
    const broken = isOurs ? await takeBack(c, alone) : undefined;
    return tell(c, broken ?? served);
  }
  const failure = alone ? await commitLocal(c) : await askAll(c, [{ sql: `RELEASE SAVEPOINT ${SAVEPOINT}` }]);
  if (failure !== undefined) return tell(c, failure);
  if (!alone) c.local.released(SAVEPOINT);
  const last = served.oks.at(-1);
  if (last === undefined) return tell(c, { kind: 'refused', refusal: unreadable('no row of parameters') });
  const affectedRows = served.oks.reduce((sum, ok) => sum + ok.affectedRows, 0n);
  c.last = c.last && { ...c.last, affectedRows };
  const warnings = Math.min(
    served.oks.reduce((sum, ok) => sum + ok.warnings, 0),
    WARNINGS_MAX,
  );
  const first = served.oks.find(({ lastInsertId }) => lastInsertId > 0n);
  answer(c, piece, [
    encodeOk({ ...last, affectedRows, warnings, lastInsertId: first?.lastInsertId ?? 0n, info: undefined }),
  ]);
  return true;
}

/** An OK packet has two bytes for them. */
const WARNINGS_MAX = 0xffff;

function refusalOf({ parts }: Context, bulk: Bulk): Failure | undefined {
  if (bulk.wantsEach) return { kind: 'refused', refusal: bulkUnits };
  if (bulk.rows.length > parts.maxRows) return { kind: 'refused', refusal: bulkLimit(parts.maxRows) };
  const isSaid = bulk.rows.some((row) => row.some((value) => value === 'default' || value === 'ignore'));
  return isSaid ? { kind: 'refused', refusal: bulkValues } : undefined;
}

async function serveRows(
  c: Context,
  text: PreparedText,
  { rows, types }: Bulk,
  serve: ServeRow,
): Promise<{ readonly oks: readonly Ok[] } | Failure> {
  const oks: Ok[] = [];
  for (const row of rows) {
    const parameters = row.map((value, index): Parameter => ({
      name: NO_NAME,
      type: types[index] ?? NO_TYPE,
      value: typeof value === 'string' ? null : value,
    }));
    const piece = writtenRow(c, text, parameters);
    if ('kind' in piece) return piece;
    const seat = new GatheringSeat(c.seat);
    const isDone = await serve(seated(c, seat), piece);
    const { said } = seat;
    if (said?.kind === 'refusal') return { kind: 'refused', refusal: said.refusal };
    const packet = said?.packets.at(-1);
    if (packet === undefined) return { kind: 'refused', refusal: unreadable('a row that was not answered') };
    const ok = isDone ? decodeOk(packet, c.seat.capabilities) : undefined;
    if (ok?.kind !== 'ok') return { kind: 'error', packet, errno: packet.readUInt16LE(1) };
    oks.push(ok);
  }
  return { oks };
}

const NO_NAME: Buffer = Buffer.alloc(0);
const NO_TYPE: Parameter['type'] = { code: 6, flags: 0 };

function writtenRow({ settings }: Context, text: PreparedText, parameters: readonly Parameter[]): Piece | Failure {
  const written = withValues(text, parameters, settings);
  if ('kind' in written) return written;
  return { ...pieceOf(written, { isWhole: false, hasMore: false, prepared: undefined }), isPrepared: true };
}

async function takeBack(c: Context, alone: boolean): Promise<Failure | undefined> {
  if (alone) return rollBack(c);
  const failure = await askAll(c, [{ sql: `ROLLBACK TO SAVEPOINT ${SAVEPOINT}` }]);
  if (failure === undefined) c.local.rolledBackTo(SAVEPOINT);
  return failure;
}
