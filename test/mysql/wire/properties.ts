/** What holds for any messages and any bytes. Run a little by properties.test.ts and at length by fuzz.ts. */
import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { COMMAND } from '../../../proxy/mysql/wire/commands.ts';
import { createAnswers } from '../../../proxy/mysql/wire/answers.ts';
import { CAPABILITY, has, offeredTo } from '../../../proxy/mysql/wire/capabilities.ts';
import { decodeClientHello, encodeClientHello, narrowResponse } from '../../../proxy/mysql/wire/handshake.ts';
import { createFrameReader, encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import { binaryOf, interpretBinary } from '../../../proxy/mysql/wire/values.ts';
import { capabilities, handshakeResponse as hellos, samples, type Sample } from './arbitraries.ts';
import { cuts, mutate, mutations } from './damage.ts';
import { chunksOf, hold, pass, some, type Property } from '../../sql/codec-properties.ts';
import { readAll } from './reading.ts';
import { typedValue } from './typed-values.ts';

const sample = fc.oneof(...samples.map(([, arbitrary]) => arbitrary));
const stream = fc.array(
  fc.oneof(
    sample.map((each) => each.encode()),
    fc.constant(Buffer.alloc(0)),
  ),
  { maxLength: 8 },
);

/** Whatever the bytes are, decoding gives a message or a fault; and what a message was decoded from means the same once encoded. */
function decodesSoundly(each: Sample, payload: Buffer): void {
  const message = each.decode(payload);
  if (isFault(message)) return;
  const again = each.encodeAgain(message);
  assert.deepEqual(each.decode(again), message);
}

function isFault(message: unknown): boolean {
  return typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'fault';
}

/** What must hold for any bytes, however they are cut. */
function surviveAnything(bytes: Buffer, sizes: readonly number[], mask: number): void {
  const passed = readAll(chunksOf(bytes, sizes), { holds: pass });
  const held = readAll(chunksOf(bytes, sizes), { holds: hold });
  const mixed = readAll(chunksOf(bytes, sizes), { holds: some(mask) });
  const large = readAll(chunksOf(bytes, sizes), { holds: some(mask), maxBytes: 20, passesLarge: hold });
  const whole = readAll([Buffer.from(bytes)], { holds: hold });
  for (const read of [passed, held, mixed, large, whole]) {
    assert(bytes.subarray(0, read.reported.length).equals(read.reported), 'bytes were changed, lost or added');
  }
  assert.deepEqual(held.frames, whole.frames);
  assert.deepEqual(held.frames, passed.frames.slice(0, held.frames.length));
}

/** Plays a server's bytes into a machine behind some commands: it may find a fault, and must not throw or wait for ever. */
function answersSoundly(bytes: Buffer, commands: readonly number[], agreed: bigint): void {
  const answers = createAnswers<number>(agreed);
  for (const [index, command] of commands.entries()) answers.push(command, index);
  const reader = createFrameReader({ holds: (type, length) => answers.holds(type, length), maxBytes: 1_000_000 });
  reader.push(Buffer.from(bytes));
  while (reader.next()) {
    if (!reader.isFirst) continue;
    const before = answers.size;
    const isHeld = answers.holds(reader.type, reader.length);
    const role = isHeld ? answers.held(reader.payload()) : answers.passed();
    if (typeof role !== 'string') return;
    assert.equal(answers.size, answers.isEnd ? before - 1 : before);
  }
}

/** All properties. */
export const PROPERTIES: readonly Property[] = [
  ...samples.map(([name, arbitrary]) => ({
    title: `a message comes out of its payload as it went in, to the byte: ${name}`,
    property: fc.property(arbitrary, (each) => {
      const payload = each.encode();
      const message = each.decode(payload);
      assert.deepEqual(message, each.message);
      assert(each.encodeAgain(message).equals(payload));
    }),
  })),
  {
    title: 'a damaged payload gives a message or a fault, and never throws',
    property: fc.property(sample, mutations, (each, changes) => {
      decodesSoundly(each, changes.reduce(mutate, each.encode()));
    }),
  },
  {
    title: 'a payload of arbitrary bytes gives a message or a fault',
    property: fc.property(sample, fc.uint8Array({ maxLength: 80 }), (each, array) => {
      decodesSoundly(each, Buffer.from(array));
    }),
  },
  {
    title: 'what is narrowed has no flag that was not offered, and still encodes',
    property: fc.property(hellos, capabilities, fc.boolean(), (response, server, tls) => {
      const offered = offeredTo(server, { tls });
      const narrowed = narrowResponse(response, offered);
      if (narrowed.kind === 'fault') return;
      assert.equal(narrowed.capabilities & ~(offered | CAPABILITY.longPassword), 0n);
      if (!has(narrowed.capabilities, CAPABILITY.protocol41)) return;
      assert.deepEqual(decodeClientHello(encodeClientHello(narrowed)), narrowed);
    }),
  },
  {
    title: 'the bytes of a value mean something or are a fault, and the meaning has bytes',
    property: fc.property(typedValue, ({ type, value }) => {
      const meaning = interpretBinary(type, value);
      if (meaning.kind === 'fault') return;
      assert.deepEqual(interpretBinary(type, binaryOf(type, meaning)), meaning);
    }),
  },
  {
    title: 'frames cut anywhere come out the same, passed on, held, or some of each',
    property: fc.property(stream, cuts, fc.nat({ max: 0xffff }), (payloads, sizes, mask) => {
      const frames = payloads.map((payload, index) => encodePackets(payload, index));
      for (const holds of [pass, hold, some(mask)]) {
        const read = readAll(chunksOf(Buffer.concat(frames), sizes), { holds, expects: 0 });
        assert.equal(read.fault, undefined);
        assert.deepEqual(read.frames, frames);
      }
    }),
  },
  {
    title: 'arbitrary bytes give frames or a fault, and every byte as it came',
    property: fc.property(fc.uint8Array({ maxLength: 300 }), cuts, fc.nat({ max: 0xffff }), (array, sizes, mask) =>
      surviveAnything(Buffer.from(array), sizes, mask),
    ),
  },
  {
    title: 'a damaged stream gives frames or a fault, and every byte before the fault as it came',
    property: fc.property(stream, mutations, cuts, fc.nat({ max: 0xffff }), (payloads, changes, sizes, mask) => {
      const bytes = Buffer.concat(payloads.map((payload) => encodePackets(payload, 0)));
      surviveAnything(changes.reduce(mutate, bytes), sizes, mask);
    }),
  },
  {
    title: 'whatever a server sends, its answers end or are a fault, one for each command at most',
    property: fc.property(
      fc.array(fc.constantFrom(...Object.values(COMMAND)), { maxLength: 6 }),
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 12 }),
          sample.map((each) => each.encode()),
        ),
        { maxLength: 12 },
      ),
      capabilities,
      (commands, payloads, agreed) => {
        const frames = payloads.map((payload) => encodePackets(Buffer.from(payload), 0));
        answersSoundly(Buffer.concat(frames), commands, agreed);
      },
    ),
  },
];
