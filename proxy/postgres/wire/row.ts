/** What a statement takes and gives: ParameterDescription, RowDescription, DataRow. NoData is in bodiless.ts. */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { BACKEND } from './frames.ts';

export interface ParameterDescription {
  readonly kind: 'parameter-description';
  readonly parameterTypes: readonly number[];
}

export interface Field {
  /** In the session's client_encoding. */
  readonly name: Buffer;
  /** The table column that the field is, or 0 and 0. */
  readonly tableOid: number;
  readonly column: number;
  readonly typeOid: number;
  /** Bytes of a value; negative for types of varying size. */
  readonly typeSize: number;
  readonly typeModifier: number;
  /** 0 text, 1 binary; 0 also when a statement is described, where it is not yet known. */
  readonly format: number;
}

export interface RowDescription {
  readonly kind: 'row-description';
  readonly fields: readonly Field[];
}

export interface DataRow {
  readonly kind: 'data-row';
  /** Views of the body; null is NULL. */
  readonly values: readonly (Buffer | null)[];
}

/** An empty name and the six numbers. */
const FIELD_BYTES_MIN = 1 + 4 + 2 + 4 + 2 + 4 + 2;

export function decodeParameterDescription(body: Buffer): ParameterDescription | ProtocolFault {
  const from = new BodyReader('ParameterDescription', body);
  return from.end({ kind: 'parameter-description', parameterTypes: from.list(4, () => from.uint32()) });
}

export function writeParameterDescription(out: FrameWriter, message: ParameterDescription): void {
  out
    .begin(BACKEND.parameterDescription)
    .list(message.parameterTypes, (oid) => out.int32(oid))
    .end();
}

export const encodeParameterDescription: (message: ParameterDescription) => Buffer = encoder(writeParameterDescription);

export function decodeRowDescription(body: Buffer): RowDescription | ProtocolFault {
  const from = new BodyReader('RowDescription', body);
  const field = (): Field => ({
    name: from.cstring(),
    tableOid: from.uint32(),
    column: from.int16(),
    typeOid: from.uint32(),
    typeSize: from.int16(),
    typeModifier: from.int32(),
    format: from.int16(),
  });
  return from.end({ kind: 'row-description', fields: from.list(FIELD_BYTES_MIN, field) });
}

export function writeRowDescription(out: FrameWriter, message: RowDescription): void {
  out
    .begin(BACKEND.rowDescription)
    .list(message.fields, (field) =>
      out
        .cstring(field.name)
        .int32(field.tableOid)
        .int16(field.column)
        .int32(field.typeOid)
        .int16(field.typeSize)
        .int32(field.typeModifier)
        .int16(field.format),
    )
    .end();
}

export const encodeRowDescription: (message: RowDescription) => Buffer = encoder(writeRowDescription);

export function decodeDataRow(body: Buffer): DataRow | ProtocolFault {
  const from = new BodyReader('DataRow', body);
  return from.end({ kind: 'data-row', values: from.list(4, () => from.value()) });
}

export function writeDataRow(out: FrameWriter, message: DataRow): void {
  out
    .begin(BACKEND.dataRow)
    .list(message.values, (value) => out.value(value))
    .end();
}

export const encodeDataRow: (message: DataRow) => Buffer = encoder(writeDataRow);
