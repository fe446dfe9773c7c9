/** What a client may ask about its last statement, where statements of ours have run since. */
import { askedOf, type Asked, type Remembered } from '../text/effects.ts';
import type { Piece } from './piece.ts';
import { errorIn, rowsIn, wordsIn, type Reply } from './reply.ts';
import type { Seat } from './seat.ts';
import type { Capabilities } from '../wire/capabilities.ts';
import { decodeError, decodeOk, encodeOk, type Err } from '../wire/outcome.ts';

export interface LastStatement extends Remembered {
  /** The answer to SHOW WARNINGS right behind it, or all that it would have said; undefined where there was nothing to be shown. */
  readonly warnings: Reply | OwnError | undefined;
}

/** Of the server's own. */
type OwnError = Pick<Err, 'errno' | 'message'>;

/** `warnings`: the answer to SHOW WARNINGS; `warningCount`: what the statement's own answer says, which may be more. */
export function lastStatement(
  affectedRows: bigint,
  warnings: Reply | undefined,
  warningCount = warnings === undefined ? 0 : rowsIn(warnings).length,
): LastStatement {
  const levels = (warnings === undefined ? [] : wordsIn(warnings)).map(([level]) => level ?? '');
  return { affectedRows, warningCount, levels, warnings };
}

/** What a statement asks about the one before it, of which nothing is kept where no statement of ours has run since. */
export function questionIn({ parsed: { source, span } }: Piece, last: LastStatement | undefined): Asked {
  return last === undefined ? { kind: 'as-is' } : askedOf(source, span, last);
}

/** A statement of which only the error is known that it ended with. */
export function failedStatement(packet: Buffer, capabilities: Capabilities): LastStatement | undefined {
  const error = decodeError(packet, capabilities);
  if (error.kind !== 'error') return undefined;
  const { errno, message } = error;
  return { affectedRows: -1n, warningCount: 1, levels: ['Error'], warnings: { errno, message } };
}

/** The packets of the answer to a question about warnings; undefined where it is none, or the server's own will do. */
export async function warningsAnswer(
  seat: Pick<Seat, 'ask'>,
  last: LastStatement | undefined,
  asked: Asked,
): Promise<readonly Buffer[] | undefined> {
  if (asked.kind !== 'warnings' || last?.warnings === undefined) return undefined;
  const { warnings, levels } = last;
  const reply = 'packets' in warnings ? warnings : (await seat.ask([{ sql: errorSql(warnings) }]))[0];
  if (reply === undefined || errorIn(reply) !== undefined) return undefined;
  const { packets } = reply;
  const start = packets.length - 1 - levels.length;
  return [
    ...packets.slice(0, start),
    ...asked.rows.flatMap((row) => packets.slice(start + row, start + row + 1)),
    ...packets.slice(-1),
  ];
}

/** A query whose answer is that of SHOW WARNINGS about one error. */
function errorSql({ errno, message }: OwnError): string {
  // With character_set_results = utf16 servers send errors without a text, and that is shown then.
  const text = Buffer.from(message.toString('utf8')).toString('hex');
  return `SELECT 'Error' AS Level, ${errno} AS Code, CONVERT(x'${text}' USING utf8mb4) AS Message`;
}

/** ER_INVALID_CHARACTER_STRING. */
const INVALID = '1300';

/**
 * MySQL warns of a literal that is no UTF-8, and not of a parameter. `texts`: parameters that are none, and were written as literals. What is left
 * for the client to hear, and its OK packet.
 */
export function withoutWarnings(
  last: LastStatement,
  ok: Buffer,
  { texts, capabilities }: { readonly texts: number; readonly capabilities: Capabilities },
): { readonly last: LastStatement; readonly ok: Buffer } {
  const { warnings, levels, warningCount } = last;
  const decoded = decodeOk(ok, capabilities);
  if (warnings === undefined || !('packets' in warnings) || decoded.kind !== 'ok') return { last, ok };
  const codes = wordsIn(warnings).map(([, code]) => code);
  const ours = new Set([...codes.keys()].filter((row) => codes[row] === INVALID).slice(0, texts));
  const { packets } = warnings;
  const start = packets.length - 1 - levels.length;
  const count = warningCount - ours.size;
  const info = decoded.info?.toString('latin1').replace(/(?<=Warnings: )\d+/, `${count}`);
  return {
    last: {
      ...last,
      warningCount: count,
      levels: levels.filter((_, row) => !ours.has(row)),
      warnings: { ...warnings, packets: packets.filter((_, index) => !ours.has(index - start)) },
    },
    ok: encodeOk({ ...decoded, warnings: count, info: info === undefined ? undefined : Buffer.from(info, 'latin1') }),
  };
}

/** What a session remembers beyond its local transactions. */
export interface SessionMemory {
  /** Statements have had warnings here: they are asked for from then on. */
  expectsWarnings: boolean;
}
