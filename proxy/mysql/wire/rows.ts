/**
 * What a server tells of a statement and of a result: the answer to COM_STMT_PREPARE, the count of columns, their definitions, and rows.
 * Source: MySQL documentation, "COM_STMT_PREPARE_OK", "Text Resultset", "Binary Protocol Resultset"; MariaDB documentation,
 * "Result Set Packets" for what its own capabilities add.
 */
import { BodyReader, BodyWriter, type ProtocolFault } from './body.ts';
import { CAPABILITY, has, type Capabilities } from './capabilities.ts';
import { binaryOfText, readBinary, writeBinary } from './values.ts';

export interface PrepareOk {
  readonly kind: 'prepare-ok';
  readonly statement: number;
  readonly columnCount: number;
  readonly parameterCount: number;
  readonly warnings: number;
}

export interface ColumnCount {
  readonly kind: 'column-count';
  readonly columnCount: number;
  /** Do definitions follow? Undefined where nothing is said of it, and they always do: without `mariadbCacheMetadata`. */
  readonly definitionsFollow: boolean | undefined;
}

/** A column of a result or a parameter of a statement. Names are in the session's character set for results. */
export interface ColumnDefinition {
  readonly kind: 'column-definition';
  /** Always `def`. */
  readonly catalog: Buffer;
  readonly schema: Buffer;
  /** By its alias, and by its own name: the same for `name`. */
  readonly table: Buffer;
  readonly originalTable: Buffer;
  readonly name: Buffer;
  readonly originalName: Buffer;
  /** Pairs of a byte and a string, as they came, with `mariadbExtendedMetadata`: the names of types such as `json` and `uuid`. */
  readonly extendedMetadata: Buffer | undefined;
  readonly charset: number;
  /** Characters shown, times the most bytes of each. */
  readonly displayBytes: number;
  /** Of TYPE. */
  readonly type: number;
  /** 1: not NULL; 2: part of the primary key; 32: unsigned; and so on. */
  readonly flags: number;
  readonly decimals: number;
  /** The default, in the answer to COM_FIELD_LIST. */
  readonly defaultValue: Buffer | null | undefined;
}

/** A row in text or binary form. Text values are what the server would print. */
export interface Row {
  readonly kind: 'row';
  /** Views of the payload; null is NULL. Binary ones are for `interpretBinary`. */
  readonly values: readonly (Buffer | null)[];
}

/** What the fixed part of a definition comes to, in bytes. */
const FIXED_BYTES = 12;
/** The first two bits of the null bitmap of a binary row are not used. */
const NULL_BITS_BEFORE = 2;

export function decodePrepareOk(payload: Buffer): PrepareOk | ProtocolFault {
  const from = new BodyReader('COM_STMT_PREPARE_OK', payload);
  const type = from.byte();
  if (type !== 0) from.fail(`it begins with ${type}`);
  const statement = from.uint(4);
  const columnCount = from.uint(2);
  const parameterCount = from.uint(2);
  if (from.byte() !== 0) from.fail('the filler is not 0');
  return from.end({ kind: 'prepare-ok', statement, columnCount, parameterCount, warnings: from.uint(2) });
}

export function encodePrepareOk(message: PrepareOk): Buffer {
  return new BodyWriter()
    .byte(0)
    .uint(4, message.statement)
    .uint(2, message.columnCount)
    .uint(2, message.parameterCount)
    .byte(0)
    .uint(2, message.warnings)
    .take();
}

export function decodeColumnCount(payload: Buffer, capabilities: Capabilities): ColumnCount | ProtocolFault {
  const from = new BodyReader('count of columns', payload);
  const columnCount = from.length();
  const says = has(capabilities, CAPABILITY.mariadbCacheMetadata) ? from.byte() : undefined;
  if (says !== undefined && says > 1) from.fail(`a definition mark of ${says}`);
  return from.end({
    kind: 'column-count',
    columnCount,
    definitionsFollow: says === undefined ? undefined : says === 1,
  });
}

export function encodeColumnCount(message: ColumnCount): Buffer {
  const out = new BodyWriter().length(message.columnCount);
  if (message.definitionsFollow !== undefined) out.byte(message.definitionsFollow ? 1 : 0);
  return out.take();
}

export function decodeColumnDefinition(payload: Buffer, capabilities: Capabilities): ColumnDefinition | ProtocolFault {
  const from = new BodyReader('definition of a column', payload);
  const catalog = from.string();
  const schema = from.string();
  const table = from.string();
  const originalTable = from.string();
  const name = from.string();
  const originalName = from.string();
  const extendedMetadata = has(capabilities, CAPABILITY.mariadbExtendedMetadata) ? from.string() : undefined;
  const fixed = from.length();
  if (fixed !== FIXED_BYTES) from.fail(`a fixed part of ${fixed} bytes`);
  const charset = from.uint(2);
  const displayBytes = from.uint(4);
  const type = from.byte();
  const flags = from.uint(2);
  const decimals = from.byte();
  if (from.uint(2) !== 0) from.fail('the filler is not 0');
  return from.end({
    kind: 'column-definition',
    catalog,
    schema,
    table,
    originalTable,
    name,
    originalName,
    extendedMetadata,
    charset,
    displayBytes,
    type,
    flags,
    decimals,
    defaultValue: from.left > 0 ? from.value() : undefined,
  });
}

export function encodeColumnDefinition(message: ColumnDefinition): Buffer {
  const out = new BodyWriter()
    .string(message.catalog)
    .string(message.schema)
    .string(message.table)
    .string(message.originalTable)
    .string(message.name)
    .string(message.originalName);
  if (message.extendedMetadata !== undefined) out.string(message.extendedMetadata);
  out
    .length(FIXED_BYTES)
    .uint(2, message.charset)
    .uint(4, message.displayBytes)
    .byte(message.type)
    .uint(2, message.flags)
    .byte(message.decimals)
    .uint(2, 0);
  if (message.defaultValue !== undefined) out.value(message.defaultValue);
  return out.take();
}

/** A row of COM_QUERY. */
export function decodeTextRow(payload: Buffer, columnCount: number): Row | ProtocolFault {
  const from = new BodyReader('row', payload);
  return from.end({ kind: 'row', values: from.list(columnCount, 1, () => from.value()) });
}

export function encodeTextRow(row: Row): Buffer {
  const out = new BodyWriter();
  for (const value of row.values) out.value(value);
  return out.take();
}

/** A row of a prepared statement, whose columns have the given types. */
export function decodeBinaryRow(payload: Buffer, types: readonly number[]): Row | ProtocolFault {
  const from = new BodyReader('binary row', payload);
  if (from.byte() !== 0) from.fail('it does not begin with 0');
  const nulls = from.bytes(bitmapBytes(types.length));
  const values = types.map((type, index) => (isNull(nulls, index) ? null : readBinary(from, type)));
  return from.end({ kind: 'row', values });
}

export function encodeBinaryRow(row: Row, types: readonly number[]): Buffer {
  const nulls = Buffer.alloc(bitmapBytes(types.length));
  for (const [index, value] of row.values.entries()) {
    const bit = index + NULL_BITS_BEFORE;
    if (value === null) nulls[bit >> 3] = (nulls[bit >> 3] as number) | (1 << (bit & 7));
  }
  const out = new BodyWriter().byte(0).bytes(nulls);
  for (const [index, value] of row.values.entries()) {
    if (value !== null) writeBinary(out, types[index] as number, value);
  }
  return out.take();
}

/**
 * The packets of an answer to COM_QUERY as those to COM_STMT_EXECUTE would be: rows in binary form. What has no rows stays as it is. Undefined
 * where what is printed does not say a value: of a FLOAT, or in a character set that is not like ASCII.
 */
export function inBinaryForm(packets: readonly Buffer[], capabilities: Capabilities): readonly Buffer[] | undefined {
  const [first, last] = [packets[0], packets.at(-1)];
  // An OK packet begins with 0, an error with 255; neither is a count of columns.
  if (first === undefined || last === undefined || first[0] === 0 || first[0] === 0xff) return packets;
  const counted = decodeColumnCount(first, capabilities);
  if (counted.kind === 'fault') return undefined;
  const { columnCount } = counted;
  const rowsFrom = 1 + columnCount + (has(capabilities, CAPABILITY.deprecateEof) ? 0 : 1);
  const columns = packets.slice(1, 1 + columnCount).map((packet) => decodeColumnDefinition(packet, capabilities));
  const types = columns.flatMap((column) => (column.kind === 'column-definition' ? [column.type] : []));
  if (types.length < columnCount) return undefined;
  const rows = packets.slice(rowsFrom, -1).map((packet) => binaryRowOf(packet, types));
  if (rows.includes(undefined)) return undefined;
  return [...packets.slice(0, rowsFrom), ...rows.filter((row) => row !== undefined), last];
}

function binaryRowOf(packet: Buffer, types: readonly number[]): Buffer | undefined {
  const row = decodeTextRow(packet, types.length);
  if (row.kind === 'fault') return undefined;
  const values: (Buffer | null)[] = [];
  for (const [index, printed] of row.values.entries()) {
    const value = printed === null ? null : binaryOfText(types[index] as number, printed);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return encodeBinaryRow({ kind: 'row', values }, types);
}

function bitmapBytes(columns: number): number {
  return (columns + NULL_BITS_BEFORE + 7) >> 3;
}

function isNull(nulls: Buffer, index: number): boolean {
  const bit = index + NULL_BITS_BEFORE;
  return ((nulls[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
}
