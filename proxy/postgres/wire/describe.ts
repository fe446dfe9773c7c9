/** Describe and Close, which name a prepared statement or a portal in the same way. CloseComplete is in bodiless.ts. */
import { BodyReader, encoder, type FrameWriter, type ProtocolFault } from './body.ts';
import { FRONTEND } from './frames.ts';

/** What is named. A statement and a portal may have the same name. */
export type Target = 'statement' | 'portal';

/** Answered by ParameterDescription (statements only), then RowDescription or NoData. */
export interface Describe {
  readonly kind: 'describe';
  readonly target: Target;
  /** Empty for the unnamed one; in the session's client_encoding. */
  readonly name: Buffer;
}

/** Answered by CloseComplete, also if there is nothing of that name. */
export interface Close {
  readonly kind: 'close';
  readonly target: Target;
  readonly name: Buffer;
}

const STATEMENT = 0x53; // S
const PORTAL = 0x50; // P

export function decodeDescribe(body: Buffer): Describe | ProtocolFault {
  const from = new BodyReader('Describe', body);
  return from.end({ kind: 'describe', target: target(from), name: from.cstring() });
}

export function writeDescribe(out: FrameWriter, message: Describe): void {
  writeNamed(out, FRONTEND.describe, message);
}

export const encodeDescribe: (message: Describe) => Buffer = encoder(writeDescribe);

export function decodeClose(body: Buffer): Close | ProtocolFault {
  const from = new BodyReader('Close', body);
  return from.end({ kind: 'close', target: target(from), name: from.cstring() });
}

export function writeClose(out: FrameWriter, message: Close): void {
  writeNamed(out, FRONTEND.close, message);
}

export const encodeClose: (message: Close) => Buffer = encoder(writeClose);

function target(from: BodyReader): Target {
  const byte = from.byte();
  if (byte !== STATEMENT && byte !== PORTAL) from.fail('neither a statement nor a portal');
  return byte === PORTAL ? 'portal' : 'statement';
}

function writeNamed(out: FrameWriter, type: number, message: Describe | Close): void {
  out
    .begin(type)
    .byte(message.target === 'portal' ? PORTAL : STATEMENT)
    .cstring(message.name)
    .end();
}
