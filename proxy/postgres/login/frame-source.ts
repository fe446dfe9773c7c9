/** Messages of a connection that is logging in, one at a time. What follows them stays in the socket for whoever reads it next. */
import type { Socket } from 'node:net';
import { exactly } from '../../relay/exactly.ts';

export type LoginFrame =
  | { readonly kind: 'frame'; readonly type: number; readonly body: Buffer; readonly bytes: Buffer }
  /** The other side is gone, or was cut off. */
  | { readonly kind: 'closed' }
  /** The message is larger than any of a login, or its length cannot be one. */
  | { readonly kind: 'broken' };

const HEADER_BYTES = 5;
/** The int32 length counts itself. */
const LENGTH_BYTES = 4;

/**
 * The next message; nothing is read beyond it. `bytesMax`: the largest body. Waits as long as the socket lives: whoever calls has a
 * deadline after which it destroys the socket. The socket must not be flowing, and nobody else may read it meanwhile.
 */
export async function nextFrame(socket: Socket, bytesMax: number): Promise<LoginFrame> {
  const header = await exactly(socket, HEADER_BYTES);
  if (header === undefined) return { kind: 'closed' };
  const bodyBytes = header.readInt32BE(1) - LENGTH_BYTES;
  if (bodyBytes < 0 || bodyBytes > bytesMax) return { kind: 'broken' };
  const body = bodyBytes === 0 ? Buffer.alloc(0) : await exactly(socket, bodyBytes);
  if (body === undefined) return { kind: 'closed' };
  return { kind: 'frame', type: header.readUInt8(0), body, bytes: Buffer.concat([header, body]) };
}
