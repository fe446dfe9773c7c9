import test from 'ava';
import { encodeDataRow } from '../../../proxy/postgres/wire/row.ts';
import { SYNC } from '../../../proxy/postgres/wire/bodiless.ts';
import { createFrameReader } from '../../../proxy/postgres/wire/frames.ts';
import { encodeQuery } from '../../../proxy/postgres/wire/query.ts';
import { encodeBind, extendBind } from '../../../proxy/postgres/wire/bind.ts';
import { decodeFaithfully, readAll } from './reading.ts';
import { NASTY_INT16, NASTY_INT32, mutate } from './arbitraries.ts';
import { SESSION } from './session-corpus.ts';

const pass = (): boolean => false;
const hold = (): boolean => true;

function header(type: string, length: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.write(type, 0, 'latin1');
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

test('a whole frame is a view of the chunk, held or not', (t) => {
  for (const holds of [pass, hold]) {
    const reader = createFrameReader({ direction: 'frontend', holds, maxBytes: 100 });
    const query = encodeQuery({ kind: 'query', text: Buffer.from('select 1') });
    const chunk = Buffer.concat([query, SYNC]);
    reader.push(chunk);
    t.true(reader.next());
    t.is(reader.bytes, chunk);
    t.deepEqual([reader.start, reader.end], [0, query.length]);
    t.is(reader.body().buffer, chunk.buffer);
    t.true(reader.next());
    t.deepEqual([reader.type, reader.start, reader.end], [0x53, query.length, chunk.length]);
    t.false(reader.next());
  }
});

test('a row of 1 GB passes in the pieces that it came in', (t) => {
  const reader = createFrameReader({ direction: 'backend', holds: pass, maxBytes: 100 });
  const total = 1_000_000_000;
  const chunk = Buffer.alloc(1_000_000);
  reader.push(header('D', total + 4));
  t.true(reader.next());
  t.deepEqual([reader.isFirst, reader.isLast, reader.isMidFrame], [true, false, true]);
  t.false(reader.next());
  for (let sent = 0; sent < total; sent += chunk.length) {
    reader.push(chunk);
    if (!reader.next() || reader.end !== chunk.length || reader.isFirst) return t.fail();
    if (reader.isLast !== (sent + chunk.length === total)) return t.fail();
    if (reader.next()) return t.fail();
  }
  t.false(reader.isMidFrame);
});

test('a held frame above the cap is a fault as soon as its length is known', (t) => {
  const reader = createFrameReader({ direction: 'frontend', holds: hold, maxBytes: 100 });
  reader.push(header('Q', 100));
  t.false(reader.next());
  t.is(reader.fault?.kind, 'too-large');
  reader.push(SYNC);
  t.false(reader.next(), 'nothing comes after a fault');
});

test('a held frame beyond what a server takes is a fault, whatever the cap is', (t) => {
  for (const length of [0x3fff_ffff, 0x7fff_ffff]) {
    const reader = createFrameReader({
      direction: 'frontend',
      holds: hold,
      maxBytes: 2 ** 32,
      passesLarge: () => true,
    });
    reader.push(header('Q', length));
    t.false(reader.next());
    t.like(reader.fault, { kind: 'fault', message: `invalid message length ${length}` });
  }
});

test('a frame that is too large to be held passes in pieces where that is allowed, however it is cut', (t) => {
  const query = encodeQuery({ kind: 'query', text: Buffer.from('x'.repeat(200)) });
  const bytes = Buffer.concat([SYNC, query, SYNC]);
  for (let size = 1; size < query.length; size += 1) {
    const reader = createFrameReader({ direction: 'frontend', holds: hold, maxBytes: 100, passesLarge: () => true });
    const pieces: Buffer[] = [];
    const firsts: number[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      reader.push(Buffer.from(bytes.subarray(at, at + size)));
      while (reader.next()) {
        if (reader.isLarge !== (reader.type === 0x51)) return t.fail(`large, cut at ${size}`);
        if (reader.isFirst) firsts.push(reader.end - reader.start);
        pieces.push(Buffer.from(reader.bytes.subarray(reader.start, reader.end)));
      }
    }
    if (!Buffer.concat(pieces).equals(bytes)) return t.fail(`cut at ${size}`);
    if (firsts.length !== 3 || firsts.some((length) => length < 5)) return t.fail(`pieces, cut at ${size}`);
  }
  return t.pass();
});

test('a frame of exactly the cap is held', (t) => {
  const query = encodeQuery({ kind: 'query', text: Buffer.from('x'.repeat(94)) });
  t.is(query.length, 100);
  t.is(readAll('frontend', [Buffer.from(query)], { holds: hold, maxBytes: 100 }).frames.length, 1);
  t.is(readAll('frontend', [Buffer.from(query)], { holds: hold, maxBytes: 99 }).frames.length, 0);
});

test('an announced length alone takes no memory', (t) => {
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 50 }, () => {
    const reader = createFrameReader({ direction: 'frontend', holds: hold, maxBytes: 1 << 30 });
    reader.push(header('Q', 1 << 29));
    reader.next();
    return reader;
  });
  t.true(process.memoryUsage().arrayBuffers - before < 50 * 1024 * 1024);
  t.true(readers.every((reader) => reader.fault === undefined));
});

test('whether a frame is held is asked after the frames before it were handled', (t) => {
  let holding = false;
  const reader = createFrameReader({ direction: 'frontend', holds: () => holding, maxBytes: 100 });
  reader.push(Buffer.concat([SYNC, SYNC.subarray(0, 3)]));
  t.true(reader.next());
  holding = true;
  t.false(reader.next(), 'the second frame is held');
  holding = false;
  reader.push(SYNC.subarray(3));
  t.true(reader.next());
  t.deepEqual([reader.isFirst, reader.isLast], [true, true]);
  t.deepEqual(reader.bytes.subarray(reader.start, reader.end), SYNC);
});

for (const length of [0, 1, 3, 0x8000_0000, 0xffff_ffff]) {
  test(`a frame of length ${length} is a fault, and what came before it is good`, (t) => {
    for (const holds of [pass, hold]) {
      const read = readAll('frontend', [Buffer.concat([SYNC, header('Q', length), SYNC])], { holds });
      t.deepEqual(read.frames, [SYNC]);
      t.is(read.fault?.message, `invalid message length ${length | 0}`);
    }
  });
}

test('a type byte that the direction does not know is a fault before its length is looked at', (t) => {
  t.is(readAll('backend', [Buffer.from('Q')], { holds: pass }).fault?.message, 'invalid backend message type 81');
  t.is(readAll('frontend', [Buffer.from('Z')], { holds: pass }).fault?.message, 'invalid frontend message type 90');
  // What a web browser or a TLS client says.
  t.is(readAll('frontend', [Buffer.from('GET / HTTP/1.1')], { holds: pass }).fault?.kind, 'fault');
  t.is(readAll('frontend', [Buffer.from([0x16, 3, 1])], { holds: pass }).fault?.kind, 'fault');
});

test('a session cut off at any byte, in any two chunks, gives the frames that are whole', (t) => {
  for (const [side, bytes] of Object.entries(SESSION) as ['frontend' | 'backend', Buffer][]) {
    const all = readAll(side, [Buffer.from(bytes)], { holds: hold }).frames;
    for (let at = 0; at < bytes.length; at += 1) {
      const cutOff = Buffer.from(bytes.subarray(0, at));
      const read = readAll(side, [cutOff], { holds: hold });
      t.deepEqual(read.frames, all.slice(0, read.frames.length));
      const two = [Buffer.from(bytes.subarray(0, at)), Buffer.from(bytes.subarray(at))];
      const again = readAll(side, two, { holds: hold });
      if (again.frames.length !== all.length || again.fault !== undefined) t.fail(`cut at ${at}`);
    }
  }
});

test('a session with any bit flipped gives frames that decode faithfully, or a fault', (t) => {
  for (const [side, bytes] of Object.entries(SESSION) as ['frontend' | 'backend', Buffer][]) {
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const place = bit >> 3;
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(place) ^ (1 << (bit & 7)), place);
      for (const frame of readAll(side, [damaged], { holds: hold }).frames) decodeFaithfully(side, frame);
    }
  }
  t.pass();
});

test('a session with a bad length or count at any byte gives frames that decode faithfully, or a fault', (t) => {
  const changes = [
    ...NASTY_INT32.map((value) => ({ kind: 'int32', value }) as const),
    ...NASTY_INT16.map((value) => ({ kind: 'int16', value }) as const),
  ];
  for (const [side, bytes] of Object.entries(SESSION) as ['frontend' | 'backend', Buffer][]) {
    for (let place = 0; place < bytes.length - 3; place += 1) {
      for (const change of changes) {
        const damaged = mutate(bytes, { ...change, place });
        for (const frame of readAll(side, [damaged], { holds: hold }).frames) decodeFaithfully(side, frame);
      }
    }
  }
  t.pass();
});

test('any values of Bind and of a row travel without a copy', (t) => {
  const value = Buffer.alloc(1000, 'x');
  const row = encodeDataRow({ kind: 'data-row', values: [value] });
  const message = decodeFaithfully('backend', row);
  t.true(message.kind === 'data-row' && message.values[0]?.buffer === row.buffer);
});

test('a Bind is extended to exactly these bytes', (t) => {
  const bind = { kind: 'bind', portal: Buffer.from('p'), statement: Buffer.from('s') } as const;
  const client = { ...bind, formats: [1], values: [Buffer.from('a'), null], resultFormats: [1] };
  const further = { statement: Buffer.from('own'), values: [Buffer.from('gid'), null], resultFormats: [0, 0] };
  t.deepEqual(
    extendBind(encodeBind(client).subarray(5), further),
    encodeBind({
      ...bind,
      statement: Buffer.from('own'),
      formats: [1, 1, 0, 0],
      values: [Buffer.from('a'), null, Buffer.from('gid'), null],
      resultFormats: [0, 0],
    }),
  );
});

test('one format for all of no values does not become the format of the further ones', (t) => {
  const body = encodeBind({
    kind: 'bind',
    portal: Buffer.alloc(0),
    statement: Buffer.alloc(0),
    formats: [1],
    values: [],
    resultFormats: [],
  }).subarray(5);
  const extended = extendBind(body, { values: [Buffer.from('gid')] });
  const message = Buffer.isBuffer(extended) ? decodeFaithfully('frontend', extended) : extended;
  t.like(message, { kind: 'bind', formats: [0] });
});

test('a Bind that would have more than 65535 values is a fault', (t) => {
  const values = Array.from({ length: 65_535 }, () => null);
  const names = { portal: Buffer.alloc(0), statement: Buffer.alloc(0) };
  const body = encodeBind({ kind: 'bind', ...names, formats: [], values, resultFormats: [] }).subarray(5);
  t.true(Buffer.isBuffer(extendBind(body, { values: [] })));
  t.like(extendBind(body, { values: [null] }), { kind: 'fault', code: '08P01' });
});
