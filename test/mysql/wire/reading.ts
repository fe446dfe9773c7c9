/** Reads whole streams through a frame reader, and checks on the way what must hold for any bytes at all. */
import { strict as assert } from 'node:assert';
import {
  HEADER_BYTES,
  NO_TYPE,
  PACKET_BYTES_MAX,
  createFrameReader,
  type FrameReader,
  type FrameReaderOptions,
} from '../../../proxy/mysql/wire/frames.ts';

export interface Read {
  /** The complete frames. */
  readonly frames: readonly Buffer[];
  /** Every byte that was reported, in order. */
  readonly reported: Buffer;
  readonly fault: FrameReader['fault'];
}

/** Reads `chunks` as a stream. Chunks are overwritten once they are read, as a socket may do. */
export function readAll(
  chunks: readonly Buffer[],
  options: Pick<FrameReaderOptions, 'holds'> &
    Partial<FrameReaderOptions> & { readonly shift?: number; readonly expects?: number },
): Read {
  const reader = createFrameReader({ maxBytes: 1_000_000, ...options });
  reader.shift = options.shift ?? 0;
  reader.expects = options.expects;
  const frames: Buffer[] = [];
  const reported: Buffer[] = [];
  let pieces: Buffer[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let steps = 0; reader.next(); steps += 1) {
      assert(steps <= chunk.length, 'more pieces than bytes');
      assert(reader.end > reader.start, 'an empty piece');
      const piece = Buffer.from(reader.bytes.subarray(reader.start, reader.end));
      assert.equal(reader.isFirst, pieces.length === 0);
      assert.equal(reader.isMidFrame, !reader.isLast);
      if (reader.isFirst) checkHead(reader, piece);
      if (reader.isFirst && !reader.isLarge && options.holds(reader.type, reader.length)) {
        assert(reader.isLast, 'a held frame in pieces');
      }
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

/** The payload of one whole frame. */
export function payloadOf(frame: Buffer): Buffer {
  const reader = createFrameReader({ holds: () => true, maxBytes: frame.length });
  reader.push(Buffer.from(frame));
  assert(reader.next() && reader.end === frame.length, 'these bytes are not one frame');
  return reader.payload();
}

function checkHead(reader: FrameReader, piece: Buffer): void {
  const length = piece.readUIntLE(0, 3);
  assert(piece.length > HEADER_BYTES || length === 0);
  assert.equal(reader.type, length === 0 ? NO_TYPE : piece[HEADER_BYTES]);
  if (!reader.isLast) return;
  const payload = reader.payload();
  assert.equal(payload.length, reader.length);
  if (length < PACKET_BYTES_MAX) assert(payload.equals(piece.subarray(HEADER_BYTES)));
}
