/** Reads whole streams through a frame reader, and checks on the way what must hold for any bytes at all. */
import { strict as assert } from 'node:assert';
import type { ProtocolFault } from '../../../proxy/postgres/wire/body.ts';
import {
  HEADER_BYTES,
  createFrameReader,
  type Direction,
  type FrameReader,
} from '../../../proxy/postgres/wire/frames.ts';
import {
  decodeBackend,
  decodeFrontend,
  encodeBackend,
  encodeFrontend,
  type BackendMessage,
  type FrontendMessage,
} from '../../../proxy/postgres/wire/messages.ts';

export interface Read {
  /** The complete frames. */
  readonly frames: readonly Buffer[];
  /** Every byte that was reported, in order. */
  readonly reported: Buffer;
  readonly fault: FrameReader['fault'];
}

/** Reads `chunks` as a stream of `direction`. Chunks are overwritten once they are read, as a socket may do. */
export function readAll(
  direction: Direction,
  chunks: readonly Buffer[],
  options: { readonly holds: (type: number) => boolean; readonly maxBytes?: number },
): Read {
  const reader = createFrameReader({ direction, holds: options.holds, maxBytes: options.maxBytes ?? 1_000_000 });
  const frames: Buffer[] = [];
  const reported: Buffer[] = [];
  let pieces: Buffer[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let steps = 0; reader.next(); steps += 1) {
      assert(steps < chunk.length, 'more pieces than bytes');
      assert(reader.end > reader.start, 'an empty piece');
      const piece = Buffer.from(reader.bytes.subarray(reader.start, reader.end));
      assert.equal(reader.isFirst, pieces.length === 0);
      assert.equal(reader.isMidFrame, !reader.isLast);
      if (options.holds(reader.type)) assert(reader.isFirst && reader.isLast, 'a held frame in pieces');
      if (reader.isFirst) assert.equal(piece[0], reader.type);
      if (reader.isFirst && reader.isLast) assert(reader.body().equals(piece.subarray(HEADER_BYTES)));
      pieces.push(piece);
      reported.push(piece);
      if (reader.isLast) {
        frames.push(Buffer.concat(pieces));
        pieces = [];
      }
    }
    assert.equal(reader.next(), false);
    chunk.fill(0xaa);
  }
  return { frames, reported: Buffer.concat(reported), fault: reader.fault };
}

export type Decoded = FrontendMessage | BackendMessage | ProtocolFault;

/** Decodes a whole frame. */
export function decodeFrame(direction: Direction, frame: Buffer): Decoded {
  const type = frame[0] as number;
  const body = frame.subarray(HEADER_BYTES);
  return direction === 'frontend' ? decodeFrontend(type, body) : decodeBackend(type, body);
}

/** Decodes a frame; what decodes must encode to the very same bytes. */
export function decodeFaithfully(direction: Direction, frame: Buffer): Decoded {
  const message = decodeFrame(direction, frame);
  if (message.kind === 'fault') {
    assert.equal(message.code, '08P01');
    assert(message.message.length > 0);
    return message;
  }
  const again =
    direction === 'frontend' ? encodeFrontend(message as FrontendMessage) : encodeBackend(message as BackendMessage);
  assert(again.equals(frame), `${message.kind} changes: ${frame.toString('hex')} became ${again.toString('hex')}`);
  return message;
}
