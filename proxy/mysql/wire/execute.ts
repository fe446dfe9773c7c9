/**
 * Running a prepared statement: COM_STMT_EXECUTE, MariaDB's COM_STMT_BULK_EXECUTE, and COM_STMT_SEND_LONG_DATA ahead of them.
 * Source: MySQL documentation, "COM_STMT_EXECUTE"; MariaDB documentation, "COM_STMT_BULK_EXECUTE".
 */
import { assert } from '../../../src/platform/assert.ts';
import { BodyReader, BodyWriter, type ProtocolFault } from './body.ts';
import { CAPABILITY, has, type Capabilities } from './capabilities.ts';
import { readParameters, writeParameters, type Parameter } from './query.ts';
import { readBinary, writeBinary, type ParameterType } from './values.ts';

export interface Execute {
  readonly kind: 'stmt-execute';
  /** LAST_STATEMENT: the one that was prepared last, which a pipelining client of MariaDB cannot know the number of. */
  readonly statement: number;
  /** The low three bits ask for a cursor; 0x08 says that a count of parameters follows, with attributes behind the statement's own. */
  readonly flags: number;
  /** How often; always 1, and not looked at. */
  readonly iterations: number;
  /** The statement's own, and attributes behind them. Undefined when the packet ends before them, for want of any. */
  readonly parameters: readonly Parameter[] | undefined;
  /** The types stand in the packet; otherwise they are those of the run before. */
  readonly sendsTypes: boolean;
}

/** One value of a bulk row: default and ignore are said instead of a value. */
export type BulkValue = Buffer | 'null' | 'default' | 'ignore';

export interface BulkExecute {
  readonly kind: 'stmt-bulk-execute';
  readonly statement: number;
  /** 64: answer with generated keys; 128: the types stand in the packet. */
  readonly flags: number;
  readonly types: readonly ParameterType[];
  readonly rows: readonly (readonly BulkValue[])[];
}

export interface SendLongData {
  readonly kind: 'stmt-send-long-data';
  readonly statement: number;
  readonly parameter: number;
  readonly data: Buffer;
}

/** What the session remembers of a statement. */
export interface StatementContext {
  /** Of the answer to COM_STMT_PREPARE. */
  readonly parameterCount: number;
  /** As sent with the last run. */
  readonly types: readonly ParameterType[] | undefined;
  /** Was a value sent ahead for this parameter since the last run? */
  readonly isLong: (index: number) => boolean;
}

const EXECUTE_COMMAND = 0x17;
const LONG_DATA_COMMAND = 0x18;
const BULK_COMMAND = 0xfa;
/** MariaDB documentation, "COM_STMT_EXECUTE": the number -1. */
export const LAST_STATEMENT = 0xffff_ffff;
const COUNT_AVAILABLE = 0x08;
const SENDS_TYPES = 128;
const INDICATORS = ['value', 'null', 'default', 'ignore'] as const;

/** The number of the statement that any command on one names: it is needed before the rest can be decoded. */
export function statementOf(payload: Buffer): number | ProtocolFault {
  const from = new BodyReader('command on a statement', payload);
  from.byte();
  const statement = from.uint(4);
  from.rest();
  return from.end(statement);
}

export function decodeExecute(
  payload: Buffer,
  capabilities: Capabilities,
  context: StatementContext,
): Execute | ProtocolFault {
  const from = new BodyReader('COM_STMT_EXECUTE', payload);
  if (from.byte() !== EXECUTE_COMMAND) from.fail('it is another command');
  const statement = from.uint(4);
  const flags = from.byte();
  const iterations = from.uint(4);
  const head = { kind: 'stmt-execute' as const, statement, flags, iterations };
  const areNamed = has(capabilities, CAPABILITY.queryAttributes);
  const isCounted = areNamed && (flags & COUNT_AVAILABLE) !== 0;
  if (context.parameterCount === 0 && !isCounted) {
    return from.end({ ...head, parameters: undefined, sendsTypes: false });
  }
  // MySQL source: a client with query attributes that does not count its parameters has exactly the statement's own.
  const count = isCounted ? from.length() : context.parameterCount;
  if (count < context.parameterCount) from.fail(`${count} parameters for a statement of ${context.parameterCount}`);
  if (count === 0) return from.end({ ...head, parameters: [], sendsTypes: false });
  const { types, isLong } = context;
  const read = readParameters(from, { count, areNamed: isCounted, types, isLong });
  return from.end({ ...head, ...read });
}

/** Its parameters fit the session and the statement as `decodeExecute` has them. */
export function encodeExecute(message: Execute, capabilities: Capabilities): Buffer {
  const out = new BodyWriter()
    .byte(EXECUTE_COMMAND)
    .uint(4, message.statement)
    .byte(message.flags)
    .uint(4, message.iterations);
  const { parameters, sendsTypes } = message;
  if (parameters === undefined) return out.take();
  const isCounted = has(capabilities, CAPABILITY.queryAttributes) && (message.flags & COUNT_AVAILABLE) !== 0;
  if (isCounted) out.length(parameters.length);
  if (parameters.length > 0) writeParameters(out, parameters, { areNamed: isCounted, sendsTypes });
  return out.take();
}

export function decodeBulkExecute(payload: Buffer, context: StatementContext): BulkExecute | ProtocolFault {
  const from = new BodyReader('COM_STMT_BULK_EXECUTE', payload);
  if (from.byte() !== BULK_COMMAND) from.fail('it is another command');
  const statement = from.uint(4);
  const flags = from.uint(2);
  const count = context.parameterCount;
  const types =
    (flags & SENDS_TYPES) === 0
      ? (context.types?.slice(0, count) ?? [])
      : from.list(count, 2, () => ({ code: from.byte(), flags: from.byte() }));
  if (count === 0 || types.length !== count) from.fail('the types of the parameters have not been sent');
  const rows = count === 0 ? [] : from.all(() => types.map(({ code }) => bulkValue(from, code)));
  return from.end({ kind: 'stmt-bulk-execute', statement, flags, types, rows });
}

export function encodeBulkExecute(message: BulkExecute): Buffer {
  const out = new BodyWriter().byte(BULK_COMMAND).uint(4, message.statement).uint(2, message.flags);
  if ((message.flags & SENDS_TYPES) !== 0) for (const { code, flags } of message.types) out.byte(code).byte(flags);
  for (const row of message.rows) {
    assert(row.length === message.types.length, 'a bulk row has not as many values as there are types');
    for (const [index, value] of row.entries()) {
      const indicator = typeof value === 'string' ? value : 'value';
      out.byte(INDICATORS.indexOf(indicator));
      if (typeof value !== 'string') writeBinary(out, message.types[index]?.code ?? 0, value);
    }
  }
  return out.take();
}

export function decodeSendLongData(payload: Buffer): SendLongData | ProtocolFault {
  const from = new BodyReader('COM_STMT_SEND_LONG_DATA', payload);
  if (from.byte() !== LONG_DATA_COMMAND) from.fail('it is another command');
  return from.end({
    kind: 'stmt-send-long-data',
    statement: from.uint(4),
    parameter: from.uint(2),
    data: from.rest(),
  });
}

export function encodeSendLongData(message: SendLongData): Buffer {
  const out = new BodyWriter().byte(LONG_DATA_COMMAND).uint(4, message.statement).uint(2, message.parameter);
  return out.bytes(message.data).take();
}

function bulkValue(from: BodyReader, code: number): BulkValue {
  const indicator = INDICATORS[from.byte()];
  if (indicator === undefined) from.fail('an unknown indicator of a bulk value');
  return indicator === undefined || indicator === 'value' ? readBinary(from, code) : indicator;
}
