/** Reads from commands what can name a gid: texts, attributes, parameters. Only commands with a clue come here. */
import { ClueSearch, hasClue } from '../../../binding/gid-clues.ts';
import type { Capabilities } from '../../wire/capabilities.ts';
import { COMMAND } from '../../wire/commands.ts';
import { decodeBulkExecute, decodeExecute, statementOf, type BulkExecute } from '../../wire/execute.ts';
import { HEADER_BYTES, NO_TYPE, PACKET_BYTES_MAX, type FrameReader } from '../../wire/frames.ts';
import { STATUS } from '../../wire/outcome.ts';
import { decodeQuery, type Parameter } from '../../wire/query.ts';
import { interpretBinary } from '../../wire/values.ts';
import type { Claimant } from './carriers.ts';
import { protocolBroken, type Refusal } from '../refusals.ts';
import { contextOf, type Statement, type Statements } from '../statements.ts';

const NO_TEXT: Buffer = Buffer.alloc(0);

/** What a command says, or why that cannot be told. */
export type Read =
  | { readonly kind: 'claimant'; readonly claimant: Claimant; readonly said: Said }
  | { readonly kind: 'unreadable'; readonly refusal: Refusal };

/** What a command runs. */
export interface Said {
  /** In the character set of the session. */
  readonly text: Buffer;
  /** The prepared statement that it runs. */
  readonly prepared?: {
    readonly statement: Statement;
    readonly parameters: readonly Parameter[] | Bulk | 'malformed';
  };
}

/** Several rows of parameters at once: COM_STMT_BULK_EXECUTE. */
export interface Bulk extends Pick<BulkExecute, 'types' | 'rows'> {
  readonly text: Buffer;
  /** The client wants the result of each row. */
  readonly wantsEach: boolean;
}

/** MariaDB documentation, "COM_STMT_BULK_EXECUTE": STMT_BULK_FLAG_SEND_UNIT_RESULTS. */
const UNIT_RESULTS = 64;

/** What must be known of the session. */
export interface ReadContext {
  readonly capabilities: Capabilities;
  /** Runs of prepared statements may carry query attributes, by the capabilities. */
  readonly mayHaveAttributes: boolean;
  readonly statements: Statements;
  /** Of the server's last OK. */
  readonly status: number;
}

/** The code of the command that the reader is at. One without a single byte a server takes for COM_SLEEP. */
export function codeOf({ type }: FrameReader): number {
  return type === NO_TYPE ? 0 : type;
}

/** True for commands that run a statement, or several. */
export function runs(code: number): boolean {
  return code === COMMAND.query || isExecute(code);
}

/** True for commands that run a prepared statement. */
export function isExecute(code: number): boolean {
  return code === COMMAND.stmtExecute || code === COMMAND.bulkExecute;
}

/** True for commands that have to be looked at as a whole in a session that belongs to nobody. */
export function mayConcern(code: number, { mayHaveAttributes, statements }: ReadContext): boolean {
  switch (code) {
    case COMMAND.query:
    case COMMAND.stmtPrepare:
    case COMMAND.stmtClose:
    case COMMAND.changeUser:
    case COMMAND.setOption:
      return true;
    case COMMAND.stmtExecute:
    case COMMAND.bulkExecute:
    case COMMAND.stmtSendLongData:
      return statements.mayConcern || mayHaveAttributes;
    default:
      return false;
  }
}

/** True when the whole command that the reader is at may name a gid. Cheap, for most do not: of a text no view is made. */
export function mayName(reader: FrameReader, { mayHaveAttributes, statements }: ReadContext): boolean {
  if (reader.type === COMMAND.query && reader.length < PACKET_BYTES_MAX) {
    return hasClue(reader.bytes, reader.start + HEADER_BYTES, reader.end);
  }
  if (reader.type === COMMAND.query) return hasClue(reader.payload());
  if (!isExecute(reader.type)) return false;
  const id = statements.mayConcern ? statementOf(reader.payload()) : undefined;
  if (typeof id === 'number' && statements.concerns(id)) return true;
  return mayHaveAttributes && hasClue(reader.payload());
}

/** A command that is too large to be kept, as it passes. */
export class LargeCommand {
  #clues = new ClueSearch();

  /** True when it may name a gid. As long as its end has not been sent, the server does nothing with it. */
  isSuspect(reader: FrameReader, { statements, mayHaveAttributes }: ReadContext): boolean {
    const { type, bytes, start, end, isFirst, isLast } = reader;
    if (isFirst) this.#clues = new ClueSearch();
    this.#clues.push(bytes.subarray(start, end));
    const { hasClue: isNamed } = this.#clues;
    if (type === COMMAND.query) return isNamed;
    if (type === COMMAND.stmtPrepare && isLast) statements.lose(isNamed);
    return isExecute(type) && (statements.mayConcern || (mayHaveAttributes && isNamed));
  }
}

/** Reads a command that runs something. */
export function readClaimant(code: number, payload: Buffer, context: ReadContext): Read {
  const hasPlainBackslash = (context.status & STATUS.noBackslashEscapes) !== 0;
  if (code === COMMAND.query) {
    const query = decodeQuery(payload, context.capabilities);
    if (query.kind === 'fault') return { kind: 'unreadable', refusal: protocolBroken(query.message) };
    const { text, attributes } = query;
    const claimant = claimantOf(text, attributes ?? [], [], hasPlainBackslash);
    return { kind: 'claimant', claimant, said: { text } };
  }
  const statement = statementFor(payload, context.statements);
  if (statement === undefined) {
    // The server has none of that number either, and says so.
    if (context.statements.hasLostSome) return { kind: 'unreadable', refusal: unknownStatement };
    return { kind: 'claimant', claimant: claimantOf(NO_TEXT, [], [], hasPlainBackslash), said: { text: NO_TEXT } };
  }
  const { text } = statement;
  if (code === COMMAND.bulkExecute) {
    const bulk = decodeBulkExecute(payload, contextOf(statement));
    if (bulk.kind === 'stmt-bulk-execute') context.statements.typed(statement, bulk.types);
    const wantsEach = bulk.kind === 'stmt-bulk-execute' && (bulk.flags & UNIT_RESULTS) !== 0;
    const parameters = bulk.kind === 'fault' ? 'malformed' : { text, types: bulk.types, rows: bulk.rows, wantsEach };
    const said: Said = { text, prepared: { statement, parameters } };
    return { kind: 'claimant', claimant: claimantOf(text, [], [], hasPlainBackslash), said };
  }
  const execute = decodeExecute(payload, context.capabilities, contextOf(statement));
  if (execute.kind === 'fault') {
    // The server says itself what it thinks of that, unless what cannot be read may be a gid.
    const isSuspect = context.mayHaveAttributes && hasClue(payload);
    if (isSuspect) return { kind: 'unreadable', refusal: protocolBroken(execute.message) };
    const said: Said = { text, prepared: { statement, parameters: 'malformed' } };
    return { kind: 'claimant', claimant: claimantOf(text, [], [], hasPlainBackslash), said };
  }
  const { parameters = [], sendsTypes } = execute;
  if (sendsTypes)
    context.statements.typed(
      statement,
      parameters.slice(0, statement.parameterCount).map(({ type }) => type),
    );
  const own = parameters
    .slice(0, statement.parameterCount)
    .map((parameter, index) => (parameter.value === undefined ? sentAhead(parameter, statement, index) : parameter));
  const attributes = parameters.slice(statement.parameterCount);
  const claimant = claimantOf(text, attributes, own, hasPlainBackslash);
  return { kind: 'claimant', claimant, said: { text, prepared: { statement, parameters: own } } };
}

/** A parameter whose value was sent ahead, with that value where it was kept. */
function sentAhead(parameter: Parameter, statement: Statement, index: number): Parameter {
  const kept = statement.long.get(index);
  return kept === undefined || kept === 'too much' ? parameter : { ...parameter, value: Buffer.concat(kept) };
}

/** The statement that a command on one names, if it is known. */
function statementFor(payload: Buffer, statements: Statements): Statement | undefined {
  const id = statementOf(payload);
  return typeof id === 'number' ? statements.get(id) : undefined;
}

function claimantOf(
  text: Buffer,
  attributes: readonly Parameter[],
  parameters: readonly Parameter[],
  hasPlainBackslash: boolean,
): Claimant {
  return {
    text: text.toString('utf8'),
    attributes: new Map(
      attributes.flatMap((attribute): [string, string][] => {
        const value = textOf(attribute);
        return typeof value === 'string' ? [[attribute.name.toString('latin1'), value]] : [];
      }),
    ),
    parameter(index) {
      const parameter = parameters[index];
      return parameter && textOf(parameter);
    },
    hasPlainBackslash,
  };
}

function textOf({ type, value }: Parameter): string | null | undefined {
  if (value === null || value === undefined) return value;
  const meaning = interpretBinary(type, value);
  return meaning.kind === 'bytes' ? meaning.value.toString('utf8') : undefined;
}

/** ER_UNKNOWN_STMT_HANDLER. */
const unknownStatement: Refusal = {
  errno: 1243,
  code: 'HY000',
  message: 'a prepared statement that is not remembered may belong to a global transaction',
  hint: 'Prepare it again; keep fewer and smaller statements prepared in one connection.',
};
