/** What goes to the server in place of a command that a client has sent. */
import { hasClue } from '../../../binding/gid-clues.ts';
import { stripTraceComments } from '../../../binding/strip-comment.ts';
import type { Capabilities } from '../../wire/capabilities.ts';
import { COMMAND, encodeCommand } from '../../wire/commands.ts';
import { decodeExecute, encodeExecute, statementOf } from '../../wire/execute.ts';
import { encodePackets, packetsIn, type FrameReader } from '../../wire/frames.ts';
import { decodeQuery } from '../../wire/query.ts';
import { contextOf } from '../statements.ts';
import { isExecute, type ReadContext } from './claimants.ts';

/** Of the sequence id in the header of a packet. */
const SEQUENCE_AT = 3;

/** What must be known of the session. */
export interface InsteadContext extends ReadContext {
  /** Comments that carry a gid or a trace do not go on to the server. */
  readonly stripsComments: boolean;
}

/** The packets that the command goes on as which the reader is at; undefined where those are its own. */
export function insteadOf(reader: FrameReader, context: InsteadContext): Buffer | undefined {
  return withTypes(reader, context) ?? withoutMarks(reader, context);
}

/**
 * The packets of the command that the reader is at, without comments that carry a gid or a trace; undefined where it goes on as it came:
 * because it has none, holds no text, or is not here as a whole.
 */
export function withoutMarks(
  reader: FrameReader,
  { stripsComments, capabilities }: InsteadContext,
): Buffer | undefined {
  const { type, isFirst, isLast } = reader;
  if (!stripsComments || !isFirst || !isLast) return undefined;
  if (type !== COMMAND.query && type !== COMMAND.stmtPrepare) return undefined;
  const payload = reader.payload();
  if (!hasClue(payload)) return undefined;
  const text = type === COMMAND.query ? textOf(payload, capabilities) : payload.subarray(1);
  const bare = text && bareOf(text);
  if (text === undefined || bare === undefined) return undefined;
  // Attributes stand in front of the text.
  const said = Buffer.concat([payload.subarray(0, payload.length - text.length), bare]);
  // The answer counts on from the packets of the command.
  if (packetsIn(said.length) !== packetsIn(payload.length)) return undefined;
  return encodePackets(said, reader.bytes[reader.start + SEQUENCE_AT] ?? 0);
}

function textOf(payload: Buffer, capabilities: Capabilities): Buffer | undefined {
  const query = decodeQuery(payload, capabilities);
  return query.kind === 'fault' ? undefined : query.text;
}

/**
 * The text without a comment in front and without one at its end that carries a gid or a trace; undefined where there is none. It is read as
 * bytes, for neither sql_mode nor the character set makes a difference: within a string or a quoted name what is taken off would leave
 * that open, which is an error with it and without; and no character of several bytes has a byte of a comment's ends for its second.
 */
export function bareOf(bytes: Buffer): Buffer | undefined {
  const text = bytes.toString('latin1');
  const bare = stripTraceComments(text).text;
  if (bare.length === text.length) return undefined;
  // What stood in front of a comment at the end.
  const end = endWithout(bare, BLANKS, bare.length - text.length + endWithout(text, BLANKS_AND_ENDS, text.length));
  // Two minus signs begin a comment by what is behind them, and a semicolon is overlooked at the very end only.
  const isOtherwise = bare[end - 1] === '-' || bare[end - 1] === ';';
  return isOtherwise ? undefined : Buffer.from(bare, 'latin1');
}

const BLANKS = ' \t\n\r\f\v';
const BLANKS_AND_ENDS = `${BLANKS};`;

/** Behind the last character up to `end` that is none of these. */
function endWithout(text: string, characters: string, end: number): number {
  let at = end;
  while (at > 0 && characters.includes(text.charAt(at - 1))) at -= 1;
  return at;
}

/**
 * The packets of COM_STMT_RESET for the prepared statement that the command runs which the reader is at: values that were sent ahead for it are
 * dropped. Undefined where it runs none.
 */
export function withoutValues(reader: FrameReader, { statements }: ReadContext): Buffer | undefined {
  const statement = isExecute(reader.type) ? statementOf(reader.payload()) : undefined;
  if (typeof statement !== 'number') return undefined;
  statements.dropValues(statement);
  return encodePackets(encodeCommand({ kind: 'stmt-reset', statement }, 0n), 0);
}

/**
 * The packets of a COM_STMT_EXECUTE whose client has sent the types of the parameters with an earlier run, which did not go to the
 * server as it came; undefined where the server knows them, or hears them with this run.
 */
function withTypes(reader: FrameReader, { statements, capabilities }: ReadContext): Buffer | undefined {
  if (reader.type !== COMMAND.stmtExecute) return undefined;
  const payload = reader.payload();
  const statement = statements.untold(payload);
  if (statement === undefined) return undefined;
  const execute = decodeExecute(payload, capabilities, contextOf(statement));
  if (execute.kind === 'fault') return undefined;
  return encodePackets(encodeExecute({ ...execute, sendsTypes: true }, capabilities), 0);
}
