/** What holds for any messages and any bytes. Run a little by properties.test.ts and at length by fuzz.ts. */
import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { decodeBind, encodeBind, extendBind, type Bind } from '../../../proxy/postgres/wire/bind.ts';
import { HEADER_BYTES } from '../../../proxy/postgres/wire/frames.ts';
import { encodeBackend, encodeFrontend } from '../../../proxy/postgres/wire/messages.ts';
import {
  createStartupReader,
  decodeStartupPacket,
  encodeStartupPacket,
  STARTUP_BYTES_MAX,
} from '../../../proxy/postgres/wire/startup.ts';
import {
  backendMessage,
  cuts,
  formats,
  frontendMessage,
  mutate,
  mutations,
  startupPacket,
  stream,
  value,
  type Side,
} from './arbitraries.ts';
import { chunksOf, hold, pass, some, type Property } from '../../sql/codec-properties.ts';
import { decodeFaithfully, decodeFrame, readAll } from './reading.ts';
const side = fc.constantFrom<Side>('frontend', 'backend');

/** What must hold for any bytes of a direction, however they are cut. */
function surviveAnything(direction: Side, bytes: Buffer, sizes: readonly number[], mask: number): void {
  const passed = readAll(direction, chunksOf(bytes, sizes), { holds: pass });
  const held = readAll(direction, chunksOf(bytes, sizes), { holds: hold });
  const mixed = readAll(direction, chunksOf(bytes, sizes), { holds: some(mask) });
  const whole = readAll(direction, [Buffer.from(bytes)], { holds: hold });
  for (const read of [passed, held, mixed, whole]) {
    assert(bytes.subarray(0, read.reported.length).equals(read.reported), 'bytes were changed, lost or added');
  }
  assert.deepEqual(held.frames, whole.frames);
  assert.deepEqual(held.fault, whole.fault);
  // A frame above the cap is a fault only when it is held.
  assert.deepEqual(held.frames, passed.frames.slice(0, held.frames.length));
  if (passed.fault === undefined && held.fault === undefined) {
    assert.deepEqual(passed.frames, held.frames);
    assert(passed.reported.equals(bytes), 'passing on keeps bytes back');
  }
  for (const frame of held.frames) decodeFaithfully(direction, frame);
}

function extendsAsSaid(bind: Bind, further: readonly (Buffer | null)[]): void {
  const portal = Buffer.from('other portal');
  const extended = extendBind(encodeBind(bind).subarray(HEADER_BYTES), { portal, values: further });
  if (bind.formats.length > 1 && bind.formats.length !== bind.values.length) {
    assert(!Buffer.isBuffer(extended));
    return;
  }
  assert(Buffer.isBuffer(extended));
  const after = decodeBind(extended.subarray(HEADER_BYTES));
  assert(after.kind === 'bind');
  assert.deepEqual(after.portal, portal);
  assert.deepEqual(after.statement, bind.statement);
  assert.deepEqual(after.values, [...bind.values, ...further]);
  assert.deepEqual(after.resultFormats, bind.resultFormats);
  assert([0, 1, after.values.length].includes(after.formats.length));
  assert.deepEqual(
    after.values.map((_, index) => formatOf(after, index)),
    [...bind.values.map((_, index) => formatOf(bind, index)), ...further.map(() => 0)],
  );
}

/** The server's reading: none is text, one is for all. */
function formatOf(bind: Bind, index: number): number {
  return (bind.formats.length === 1 ? bind.formats[0] : bind.formats[index]) ?? 0;
}

/** All properties. */
export const PROPERTIES: readonly Property[] = [
  {
    title: 'a client message comes out of its frame as it went in',
    property: fc.property(frontendMessage, (message) => {
      assert.deepEqual(decodeFrame('frontend', encodeFrontend(message)), message);
    }),
  },
  {
    title: 'a server message comes out of its frame as it went in',
    property: fc.property(backendMessage, (message) => {
      assert.deepEqual(decodeFrame('backend', encodeBackend(message)), message);
    }),
  },
  {
    title: 'a startup packet comes out as it went in, and out of chunks of any size',
    property: fc.property(startupPacket, cuts, (packet, sizes) => {
      const bytes = encodeStartupPacket(packet);
      assert.deepEqual(decodeStartupPacket(bytes.subarray(4)), packet);
      const reader = createStartupReader();
      const results = chunksOf(bytes, sizes).map((chunk) => {
        const result = reader.push(chunk);
        if (result === undefined) chunk.fill(0xaa);
        return result;
      });
      assert(results.slice(0, -1).every((each) => each === undefined));
      assert.deepEqual(results.at(-1), { kind: 'packet', packet, bytes, rest: Buffer.alloc(0) });
    }),
  },
  {
    title: 'frames cut anywhere come out the same, passed on, held, or some of each',
    property: fc.property(stream, cuts, fc.nat({ max: 0xffff }), ({ side, frames }, sizes, mask) => {
      const bytes = Buffer.concat(frames);
      for (const holds of [pass, hold, some(mask)]) {
        const read = readAll(side, chunksOf(bytes, sizes), { holds });
        assert.equal(read.fault, undefined);
        assert.deepEqual(read.frames, frames);
        assert(read.reported.equals(bytes));
      }
    }),
  },
  {
    title: 'arbitrary bytes give frames or a fault, and never anything else',
    property: fc.property(
      side,
      fc.uint8Array({ maxLength: 300 }),
      cuts,
      fc.nat({ max: 0xffff }),
      (side, array, sizes, mask) => {
        surviveAnything(side, Buffer.from(array), sizes, mask);
      },
    ),
  },
  {
    title: 'a body of arbitrary bytes gives a message that encodes to the same bytes, or a fault',
    property: fc.property(side, fc.nat({ max: 255 }), fc.uint8Array({ maxLength: 80 }), (side, type, array) => {
      const frame = Buffer.alloc(HEADER_BYTES + array.length);
      frame.writeUInt8(type, 0);
      frame.writeInt32BE(4 + array.length, 1);
      frame.set(array, HEADER_BYTES);
      decodeFaithfully(side, frame);
    }),
  },
  {
    title: 'a damaged stream gives frames or a fault, and every byte before the fault as it came',
    property: fc.property(
      stream,
      mutations,
      cuts,
      fc.nat({ max: 0xffff }),
      ({ side, frames }, changes, sizes, mask) => {
        surviveAnything(side, changes.reduce(mutate, Buffer.concat(frames)), sizes, mask);
      },
    ),
  },
  {
    title: 'a damaged startup packet gives a packet, a fault or a wait for at most 10,000 bytes',
    property: fc.property(startupPacket, mutations, cuts, (packet, changes, sizes) => {
      const bytes = changes.reduce(mutate, encodeStartupPacket(packet));
      const reader = createStartupReader();
      for (const chunk of chunksOf(bytes, sizes)) {
        const result = reader.push(chunk);
        if (result?.kind === 'fault' || result?.kind === 'direct-tls') return;
        if (result?.kind === 'packet') assert(encodeStartupPacket(result.packet).equals(result.bytes));
      }
      assert(bytes.length <= STARTUP_BYTES_MAX + 4);
    }),
  },
  {
    title: 'an extended Bind has the client values in their formats and the further ones as text',
    property: fc.property(
      fc.record({
        kind: fc.constant('bind' as const),
        portal: fc.constant(Buffer.from('p')),
        statement: fc.constant(Buffer.from('s')),
        formats: fc.oneof(formats, fc.constantFrom([], [0], [1])),
        values: fc.array(value, { maxLength: 8 }),
        resultFormats: formats,
      }),
      fc.array(value, { maxLength: 5 }),
      (bind, further) => {
        const fitting = bind.values.map((_, index) => index & 1);
        extendsAsSaid(bind, further);
        extendsAsSaid({ ...bind, formats: fitting }, further);
      },
    ),
  },
  {
    title: 'a damaged Bind is extended to a valid frame or is a fault',
    property: fc.property(frontendMessage, mutations, (message, changes) => {
      const body = changes.reduce(mutate, encodeFrontend(message).subarray(HEADER_BYTES));
      const extended = extendBind(body, { values: [Buffer.from('own'), null] });
      const valid = Buffer.isBuffer(extended) ? decodeFaithfully('frontend', extended).kind : extended.kind;
      assert(valid === (Buffer.isBuffer(extended) ? 'bind' : 'fault'));
    }),
  },
];
