/** Packets of a connection that is logging in, one at a time. What follows them stays in the socket for whoever reads it next. */
import type { Socket } from 'node:net';
import { exactly } from '../../relay/exactly.ts';
import { HEADER_BYTES } from '../wire/frames.ts';

export type LoginPacket =
  | { readonly kind: 'packet'; readonly sequence: number; readonly payload: Buffer }
  /** The other side is gone, or was cut off. */
  | { readonly kind: 'closed' }
  /** The packet is larger than any of a login. */
  | { readonly kind: 'too-large' };

/** Attributes of a connection take up to 64 KiB; tickets of Kerberos about as much. */
const PACKET_BYTES_MAX = 128 * 1024;
const NOTHING: Buffer = Buffer.alloc(0);

/**
 * The next packet; nothing is read beyond it. Waits as long as the socket lives: whoever calls has a deadline after which it destroys the
 * socket. The socket must not be flowing, and nobody else may read it meanwhile.
 */
export async function nextPacket(socket: Socket): Promise<LoginPacket> {
  const header = await exactly(socket, HEADER_BYTES);
  if (header === undefined) return { kind: 'closed' };
  const bytes = header.readUIntLE(0, 3);
  if (bytes > PACKET_BYTES_MAX) return { kind: 'too-large' };
  const payload = bytes === 0 ? NOTHING : await exactly(socket, bytes);
  if (payload === undefined) return { kind: 'closed' };
  return { kind: 'packet', sequence: header.readUInt8(3), payload };
}
