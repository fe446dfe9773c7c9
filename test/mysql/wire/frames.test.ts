import test from 'ava';
import {
  PACKET_BYTES_MAX,
  createFrameReader,
  encodePackets,
  packetsIn,
  type FrameReader,
} from '../../../proxy/mysql/wire/frames.ts';
import { chunksOf } from '../../sql/codec-properties.ts';
import { payloadOf, readAll } from './reading.ts';

const pass = (): boolean => false;
const hold = (): boolean => true;
const ping = encodePackets(Buffer.from([0x0e]), 0);
const nothing = encodePackets(Buffer.alloc(0), 3);
const query = encodePackets(Buffer.from('\x03select 1'), 0);

function large(bytes: number): Buffer {
  const payload = Buffer.alloc(bytes, 0x61);
  payload[0] = 0x03;
  return payload;
}

/** All pieces of a frame, as [length, isFirst, isLast]. */
function pieces(reader: FrameReader, chunk: Buffer): (readonly [number, boolean, boolean])[] {
  reader.push(chunk);
  const found: (readonly [number, boolean, boolean])[] = [];
  while (reader.next()) found.push([reader.end - reader.start, reader.isFirst, reader.isLast]);
  return found;
}

test('a packet is three bytes of length, a sequence id and the payload', (t) => {
  t.is(ping.toString('hex'), '010000000e');
  t.is(nothing.toString('hex'), '00000003');
  t.is(encodePackets(Buffer.from('ab'), 0xff).toString('hex'), '020000ff6162');
});

test('a whole frame is a view of the chunk, held or not', (t) => {
  for (const holds of [pass, hold]) {
    const reader = createFrameReader({ holds, maxBytes: 100 });
    const chunk = Buffer.concat([query, nothing, ping]);
    reader.push(chunk);
    t.true(reader.next());
    t.is(reader.bytes, chunk);
    t.is(reader.payload().toString(), '\x03select 1');
    t.is(reader.payload().buffer, chunk.buffer);
    t.true(reader.next());
    t.deepEqual([reader.type, reader.length, reader.payload().length, reader.sequence], [-1, 0, 0, 4]);
    t.true(reader.next());
    t.deepEqual([reader.type, reader.end], [0x0e, chunk.length]);
    t.false(reader.next());
  }
});

test('frames cut at every place come out the same', (t) => {
  const bytes = Buffer.concat([query, nothing, ping, nothing, query]);
  for (let size = 1; size <= bytes.length; size += 1) {
    for (const holds of [pass, hold]) {
      const read = readAll(chunksOf(bytes, [size]), { holds });
      t.deepEqual(read.frames, [query, nothing, ping, nothing, query]);
    }
  }
});

test('a payload of 16,777,215 bytes and more takes several packets, the last of which may be empty', (t) => {
  for (const [bytes, packets] of [
    [PACKET_BYTES_MAX - 1, 1],
    [PACKET_BYTES_MAX, 2],
    [PACKET_BYTES_MAX + 1, 2],
    [PACKET_BYTES_MAX * 2, 3],
  ] as const) {
    const payload = large(bytes);
    const frame = encodePackets(payload, 255);
    t.is(frame.length, bytes + packets * 4);
    t.is(packetsIn(bytes), packets);
    t.true(payloadOf(frame).equals(payload));
    // The pieces are the same bytes, and only the last one ends the frame.
    const reader = createFrameReader({ holds: pass, maxBytes: 10 });
    const found = chunksOf(Buffer.concat([frame, ping]), [1_000_000, 3]).flatMap((chunk) => pieces(reader, chunk));
    t.is(found.filter(([, , isLast]) => isLast).length, 2);
    t.is(
      found.reduce((sum, [length]) => sum + length, 0),
      frame.length + ping.length,
    );
    t.is(reader.sequence, 1);
  }
});

test('a held frame of several packets comes whole, its payload without the headers in between', (t) => {
  const payload = large(PACKET_BYTES_MAX + 5);
  const frame = encodePackets(payload, 0);
  const reader = createFrameReader({ holds: hold, maxBytes: frame.length });
  let whole = 0;
  for (const chunk of chunksOf(frame, [PACKET_BYTES_MAX + 2, 1, 1, 1])) {
    reader.push(chunk);
    if (!reader.next()) continue;
    whole += 1;
    t.true(reader.payload().equals(payload));
    t.is(reader.length, payload.length);
  }
  t.is(whole, 1);
});

test('a row of 1 GB passes in the pieces that it came in', (t) => {
  const reader = createFrameReader({ holds: pass, maxBytes: 100 });
  const body = Buffer.alloc(PACKET_BYTES_MAX);
  let reported = 0;
  for (let packet = 0; packet < 64; packet += 1) {
    const header = Buffer.from([0xff, 0xff, 0xff, packet]);
    for (const chunk of [header, body]) {
      for (const [length] of pieces(reader, chunk)) reported += length;
    }
  }
  t.is(reported, 64 * (PACKET_BYTES_MAX + 4));
  t.true(reader.isMidFrame);
  t.deepEqual(pieces(reader, Buffer.from([0, 0, 0, 64])), [[4, false, true]]);
  t.false(reader.isMidFrame);
});

test('a held frame above the cap is a fault as soon as its length is known', (t) => {
  const reader = createFrameReader({ holds: hold, maxBytes: 100 });
  t.deepEqual(pieces(reader, Buffer.from([97, 0, 0, 0, 3])), []);
  t.is(reader.fault?.kind, 'too-large');
  t.deepEqual(pieces(reader, ping), [], 'nothing comes after a fault');
});

test('a frame of exactly the cap is held', (t) => {
  const frame = encodePackets(large(96), 0);
  t.is(readAll([Buffer.from(frame)], { holds: hold, maxBytes: 100 }).frames.length, 1);
  t.is(readAll([Buffer.from(frame)], { holds: hold, maxBytes: 99 }).frames.length, 0);
});

test('a frame that is too large to be held passes in pieces where that is allowed, however it is cut', (t) => {
  const frame = encodePackets(large(200), 0);
  const bytes = Buffer.concat([ping, frame, ping]);
  for (let size = 1; size <= bytes.length; size += 1) {
    const read = readAll(chunksOf(bytes, [size]), { holds: hold, maxBytes: 100, passesLarge: () => true });
    t.true(read.reported.equals(bytes));
    t.deepEqual(read.frames, [ping, frame, ping]);
  }
});

test('a frame that a further packet makes too large is let go with what was kept of it', (t) => {
  const frame = encodePackets(large(PACKET_BYTES_MAX + 50), 0);
  for (const size of [1_000_003, PACKET_BYTES_MAX + 4, PACKET_BYTES_MAX + 6]) {
    const options = { holds: hold, maxBytes: PACKET_BYTES_MAX + 20 };
    const chunks = chunksOf(Buffer.concat([frame, ping]), [size]);
    const reader = createFrameReader({ ...options, passesLarge: () => true });
    const parts: Buffer[] = [];
    for (const chunk of chunks) {
      reader.push(chunk);
      while (reader.next()) {
        parts.push(Buffer.from(reader.bytes.subarray(reader.start, reader.end)));
        t.is(reader.isLarge, reader.type === 3);
      }
    }
    t.true(Buffer.concat(parts).equals(Buffer.concat([frame, ping])));
    t.is(readAll(chunksOf(frame, [size]), options).fault?.kind, 'too-large');
  }
});

test('an announced length alone takes no memory', (t) => {
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 100 }, () => {
    const reader = createFrameReader({ holds: hold, maxBytes: 1 << 30 });
    reader.push(Buffer.from([0xff, 0xff, 0xff, 0, 3]));
    reader.next();
    return reader;
  });
  t.true(process.memoryUsage().arrayBuffers - before < 50 * 1024 * 1024);
  t.true(readers.every((reader) => reader.fault === undefined));
});

test('a packet out of order is a fault with the number that servers have for it', (t) => {
  const stream = Buffer.concat([1, 2, 3].map((sequence) => encodePackets(Buffer.from('x'), sequence)));
  t.is(readAll([Buffer.from(stream)], { holds: pass, expects: 1 }).fault, undefined);
  const read = readAll([Buffer.from(stream)], { holds: pass, expects: 2 });
  t.like(read.fault, { kind: 'fault', errno: 1156, sqlState: '08S01' });
  t.is(read.frames.length, 0);
  // Sequence ids begin again behind 255.
  const round = Buffer.concat([254, 255, 0, 1].map((sequence) => encodePackets(Buffer.from('x'), sequence)));
  t.is(readAll([round], { holds: pass, expects: 254 }).frames.length, 4);
});

test('the second packet of a frame has the next sequence id, whether or not the first one’s is looked at', (t) => {
  const frame = encodePackets(large(PACKET_BYTES_MAX), 7);
  frame[frame.length - 1] = 9;
  t.like(readAll([frame], { holds: pass }).fault, { kind: 'fault', errno: 1156 });
});

test('sequence ids move by the shift, in every packet, however they are cut', (t) => {
  const payload = large(PACKET_BYTES_MAX + 2);
  const bytes = Buffer.concat([encodePackets(payload, 254), nothing, query]);
  const moved = Buffer.concat([
    encodePackets(payload, 1),
    encodePackets(Buffer.alloc(0), 6),
    encodePackets(Buffer.from('\x03select 1'), 3),
  ]);
  for (const sizes of [[bytes.length], [2, 1, 4_000_000], [PACKET_BYTES_MAX + 7, 1, 1]]) {
    for (const holds of [pass, hold]) {
      const read = readAll(chunksOf(bytes, sizes), { holds, maxBytes: 1 << 25, shift: 3 });
      t.true(read.reported.equals(moved));
    }
  }
});

test('what stands behind a frame that ends the packets can be taken as it is', (t) => {
  const reader = createFrameReader({ holds: hold, maxBytes: 100 });
  reader.push(Buffer.concat([ping, Buffer.from('\x16\x03\x01hello')]));
  t.true(reader.next());
  t.is(reader.takeRest().toString(), '\x16\x03\x01hello');
  t.false(reader.next());
  reader.push(Buffer.from([1, 0]));
  t.false(reader.next());
  t.deepEqual(reader.takeRest(), Buffer.from([1, 0]));
});
