/** Parse: makes a prepared statement of one statement's text. ParseComplete is in bodiless.ts. */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { FRONTEND } from './frames.ts';

export interface Parse {
  readonly kind: 'parse';
  /** The prepared statement's name; empty for the unnamed one. In the session's client_encoding, as is `text`. */
  readonly statement: Buffer;
  readonly text: Buffer;
  /** Types of the parameters from the first on, 0 for those that the server is to infer; may be fewer than the text has. */
  readonly parameterTypes: readonly number[];
}

export function decodeParse(body: Buffer): Parse | ProtocolFault {
  const from = new BodyReader('Parse', body);
  return from.end({
    kind: 'parse',
    statement: from.cstring(),
    text: from.cstring(),
    parameterTypes: from.list(4, () => from.uint32()),
  });
}

export function writeParse(out: FrameWriter, message: Parse): void {
  out
    .begin(FRONTEND.parse)
    .cstring(message.statement)
    .cstring(message.text)
    .list(message.parameterTypes, (oid) => out.int32(oid))
    .end();
}

export const encodeParse: (message: Parse) => Buffer = encoder(writeParse);
