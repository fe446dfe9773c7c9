/** Bind: makes a portal of a prepared statement and values for its parameters. BindComplete is in bodiless.ts. */
import { BodyReader, FrameWriter, encoder, type ProtocolFault } from './body.ts';
import { FRONTEND, HEADER_BYTES } from './frames.ts';

export interface Bind {
  readonly kind: 'bind';
  /** Empty for the unnamed portal. Names are in the session's client_encoding. */
  readonly portal: Buffer;
  readonly statement: Buffer;
  /** 0 text, 1 binary: none for all text, one for all, or one for each value. Whether the number fits, the server checks. */
  readonly formats: readonly number[];
  /** Views of the body; null is NULL. */
  readonly values: readonly (Buffer | null)[];
  /** The same for the columns of the result. */
  readonly resultFormats: readonly number[];
}

/** How `extendBind` changes a client's Bind. */
export interface BindExtension {
  /** Other names than the client's. */
  readonly portal?: Buffer;
  readonly statement?: Buffer;
  /** Further values in text format, behind the client's own. */
  readonly values: readonly (Buffer | null)[];
  /** Instead of the client's result formats. */
  readonly resultFormats?: readonly number[];
}

const COUNT_MAX = 0xffff;
const TEXT = 0;

export function decodeBind(body: Buffer): Bind | ProtocolFault {
  const from = new BodyReader('Bind', body);
  return from.end({
    kind: 'bind',
    portal: from.cstring(),
    statement: from.cstring(),
    formats: from.list(2, () => from.int16()),
    values: from.list(4, () => from.value()),
    resultFormats: from.list(2, () => from.int16()),
  });
}

export function writeBind(out: FrameWriter, message: Bind): void {
  out
    .begin(FRONTEND.bind)
    .cstring(message.portal)
    .cstring(message.statement)
    .list(message.formats, (format) => out.int16(format))
    .list(message.values, (value) => out.value(value))
    .list(message.resultFormats, (format) => out.int16(format))
    .end();
}

export const encodeBind: (message: Bind) => Buffer = encoder(writeBind);

/**
 * The frame of the client's Bind for a statement that has further parameters behind the client's own. The client's values are
 * copied once, in one piece. A fault when the body is not a Bind, when its format codes do not fit its values (which the
 * server would refuse too), or when both together have more than 65535 values.
 */
export function extendBind(body: Buffer, extension: BindExtension): Buffer | ProtocolFault {
  const from = new BodyReader('Bind', body);
  const portal = from.cstring();
  const statement = from.cstring();
  const formats = from.list(2, () => from.int16());
  const valuesAt = from.offset + 2;
  let count = 0;
  from.list(4, () => {
    from.value();
    count += 1;
  });
  const values = body.subarray(valuesAt, from.offset);
  const resultFormats = from.list(2, () => from.int16());
  if (formats.length > 1 && formats.length !== count) {
    from.fail(`${formats.length} parameter formats but ${count} parameters`);
  }
  if (count + extension.values.length > COUNT_MAX) from.fail(`more than ${COUNT_MAX} parameters`);
  const fault = from.end(undefined);
  if (fault !== undefined) return fault;

  const allFormats = formatsFor(formats, count, extension.values.length);
  const newPortal = extension.portal ?? portal;
  const newStatement = extension.statement ?? statement;
  const newResultFormats = extension.resultFormats ?? resultFormats;
  const out = new FrameWriter(
    HEADER_BYTES +
      (newPortal.length + 1 + newStatement.length + 1) +
      (2 + allFormats.length * 2) +
      (2 + values.length + extension.values.reduce((sum, value) => sum + 4 + (value?.length ?? 0), 0)) +
      (2 + newResultFormats.length * 2),
  );
  out
    .begin(FRONTEND.bind)
    .cstring(newPortal)
    .cstring(newStatement)
    .list(allFormats, (format) => out.int16(format))
    .int16(count + extension.values.length)
    .bytes(values);
  for (const value of extension.values) out.value(value);
  out.list(newResultFormats, (format) => out.int16(format)).end();
  return out.take();
}

/** Format codes for `count` values of the client's and `further` text values. */
function formatsFor(formats: readonly number[], count: number, further: number): readonly number[] {
  if (formats.every((format) => format === TEXT)) return [];
  const own = formats.length === 1 ? Array.from({ length: count }, () => formats[0] as number) : formats;
  return [...own, ...Array.from({ length: further }, () => TEXT)];
}
