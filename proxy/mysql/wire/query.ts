/**
 * COM_QUERY and its attributes, which stand before the text: whoever takes the text for the bytes behind the first one misreads
 * every statement of a client with `queryAttributes`. Source: MySQL documentation, "COM_QUERY"; MySQL source: parse_query_attributes.
 */
import { assert } from '../../../src/platform/assert.ts';
import { BodyReader, BodyWriter, type ProtocolFault } from './body.ts';
import { CAPABILITY, has, type Capabilities } from './capabilities.ts';
import { readBinary, writeBinary, type ParameterType } from './values.ts';

/** A parameter of a statement, or an attribute of a query. */
export interface Parameter {
  readonly type: ParameterType;
  /** Of an attribute; empty for parameters, and where names are not sent. */
  readonly name: Buffer;
  /** Its bytes in binary form, see `interpretBinary`; null is NULL; undefined was sent ahead, by COM_STMT_SEND_LONG_DATA. */
  readonly value: Buffer | null | undefined;
}

export interface Query {
  readonly kind: 'query';
  /** Undefined when the session has none by its capabilities. */
  readonly attributes: readonly Parameter[] | undefined;
  /** The statement, or several, in the session's character set. */
  readonly text: Buffer;
}

const QUERY_COMMAND = 0x03;
const SETS = 1;
const TYPES_BOUND = 1;
/** Two bytes of type, one of an empty name. */
const TYPE_BYTES_MIN = 2;
const NO_NAME: Buffer = Buffer.alloc(0);

export function decodeQuery(payload: Buffer, capabilities: Capabilities): Query | ProtocolFault {
  const from = new BodyReader('COM_QUERY', payload);
  if (from.byte() !== QUERY_COMMAND) from.fail('it is another command');
  let attributes: readonly Parameter[] | undefined;
  if (has(capabilities, CAPABILITY.queryAttributes)) {
    const count = from.length();
    const sets = from.length();
    if (sets !== SETS) from.fail(`${sets} sets of attributes`);
    attributes =
      count > 0 ? readParameters(from, { count, areNamed: true, types: undefined, isLong: never }).parameters : [];
  }
  return from.end({ kind: 'query', attributes, text: from.rest() });
}

/** The attributes fit the session's capabilities: the text would be taken for them, or they for the text. */
export function encodeQuery(message: Query): Buffer {
  const out = new BodyWriter().byte(QUERY_COMMAND);
  if (message.attributes !== undefined) {
    out.length(message.attributes.length).length(SETS);
    if (message.attributes.length > 0) writeParameters(out, message.attributes, { areNamed: true, sendsTypes: true });
  }
  return out.bytes(message.text).take();
}

/** What must be known to read parameters, besides their bytes. */
export interface ParameterContext {
  readonly count: number;
  /** A name comes behind each type: the session has `queryAttributes`. */
  readonly areNamed: boolean;
  /** The types that were sent last: they are sent again only when they change. */
  readonly types: readonly ParameterType[] | undefined;
  /** Was the value of this parameter sent ahead? */
  readonly isLong: (index: number) => boolean;
}

/** Takes the null bitmap, the types and the values: of attributes, and of COM_STMT_EXECUTE. */
export function readParameters(
  from: BodyReader,
  context: ParameterContext,
): { readonly parameters: readonly Parameter[]; readonly sendsTypes: boolean } {
  const { count, areNamed, isLong } = context;
  const nulls = from.bytes(bitmapBytes(count));
  const sendsTypes = from.byte() === TYPES_BOUND;
  const named = sendsTypes
    ? from.list(count, TYPE_BYTES_MIN, () => ({
        type: { code: from.byte(), flags: from.byte() },
        name: areNamed ? from.string() : NO_NAME,
      }))
    : context.types?.slice(0, count).map((type) => ({ type, name: NO_NAME }));
  if (named?.length !== count) {
    from.fail('the types of the parameters have not been sent');
    return { parameters: [], sendsTypes };
  }
  const parameters = named.map(({ type, name }, index): Parameter => {
    if (isLong(index)) return { type, name, value: undefined };
    const isNull = ((nulls[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
    return { type, name, value: isNull ? null : readBinary(from, type.code) };
  });
  return { parameters, sendsTypes };
}

export function writeParameters(
  out: BodyWriter,
  parameters: readonly Parameter[],
  options: { readonly areNamed: boolean; readonly sendsTypes: boolean },
): void {
  const nulls = Buffer.alloc(bitmapBytes(parameters.length));
  for (const [index, { value }] of parameters.entries()) {
    if (value === null) nulls[index >> 3] = (nulls[index >> 3] as number) | (1 << (index & 7));
  }
  out.bytes(nulls).byte(options.sendsTypes ? TYPES_BOUND : 0);
  if (options.sendsTypes) {
    for (const { type, name } of parameters) {
      assert(options.areNamed || name.length === 0, 'a name for a parameter that cannot have one');
      out.byte(type.code).byte(type.flags);
      if (options.areNamed) out.string(name);
    }
  }
  for (const { type, value } of parameters) {
    if (value !== null && value !== undefined) writeBinary(out, type.code, value);
  }
}

/** Not by shifting: a count from outside may be above 32 bits, and must not come out negative. */
function bitmapBytes(count: number): number {
  return Math.ceil(count / 8);
}

function never(): boolean {
  return false;
}
