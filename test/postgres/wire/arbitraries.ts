/** Arbitrary messages, streams and cuts for the properties of the codec. */
import fc from 'fast-check';
import { HEADER_BYTES } from '../../../proxy/postgres/wire/frames.ts';
import {
  encodeBackend,
  encodeFrontend,
  type BackendMessage,
  type FrontendMessage,
} from '../../../proxy/postgres/wire/messages.ts';
import type { StartupPacket } from '../../../proxy/postgres/wire/startup.ts';

const bytes = (options: { minLength?: number; maxLength: number }) =>
  fc.uint8Array(options).map((array) => Buffer.from(array));
const data = bytes({ maxLength: 40 });
/** Any bytes but NUL: the protocol does not care what a client_encoding makes of them. */
const text = fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 20 }).map((array) => Buffer.from(array));
const filled = fc
  .array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 20 })
  .map((array) => Buffer.from(array));
export const value: fc.Arbitrary<Buffer | null> = fc.option(data, { nil: null });
const values = fc.array(value, { maxLength: 8 });
const int16 = fc.integer({ min: -0x8000, max: 0x7fff });
const int32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
const oid = fc.integer({ min: 0, max: 0xffff_ffff });
export const formats: fc.Arbitrary<number[]> = fc.array(fc.constantFrom(0, 1), { maxLength: 8 });
const target = fc.constantFrom('statement' as const, 'portal' as const);
const secret = bytes({ minLength: 4, maxLength: 256 });

/** An arbitrary message of one kind. */
const record = <T>(kind: string, fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<T> =>
  fc.record({ kind: fc.constant(kind), ...fields }, { noNullPrototype: true }) as fc.Arbitrary<T>;

const front = (kind: FrontendMessage['kind'], fields: Record<string, fc.Arbitrary<unknown>> = {}) =>
  record<FrontendMessage>(kind, fields);
const back = (kind: BackendMessage['kind'], fields: Record<string, fc.Arbitrary<unknown>> = {}) =>
  record<BackendMessage>(kind, fields);

/** One arbitrary for each kind: the type makes a forgotten one an error. */
const FRONTEND_KINDS: Record<FrontendMessage['kind'], fc.Arbitrary<FrontendMessage>> = {
  query: front('query', { text }),
  parse: front('parse', { statement: text, text, parameterTypes: fc.array(oid, { maxLength: 6 }) }),
  bind: front('bind', { portal: text, statement: text, formats, values, resultFormats: formats }),
  describe: front('describe', { target, name: text }),
  execute: front('execute', { portal: text, maxRows: int32 }),
  close: front('close', { target, name: text }),
  sync: front('sync'),
  flush: front('flush'),
  terminate: front('terminate'),
  'copy-data': front('copy-data', { data }),
  'copy-done': front('copy-done'),
  'copy-fail': front('copy-fail', { reason: text }),
  'function-call': front('function-call', { functionOid: oid, formats, values, resultFormat: int16 }),
  'authentication-response': front('authentication-response', { data }),
};

const copyResponse = { format: fc.integer({ min: 0, max: 255 }), columnFormats: fc.array(int16, { maxLength: 6 }) };
const report = {
  fields: fc.array(fc.record({ letter: fc.integer({ min: 1, max: 255 }), value: text }, { noNullPrototype: true }), {
    maxLength: 6,
  }),
};
const field = fc.record(
  {
    name: text,
    tableOid: oid,
    column: int16,
    typeOid: oid,
    typeSize: int16,
    typeModifier: int32,
    format: int16,
  },
  { noNullPrototype: true },
);
const authentication = fc.oneof(
  ...(['ok', 'cleartext-password', 'gss', 'sspi'] as const).map((method) =>
    back('authentication', { method: fc.constant(method) }),
  ),
  back('authentication', { method: fc.constant('md5-password'), salt: bytes({ minLength: 4, maxLength: 4 }) }),
  back('authentication', { method: fc.constant('sasl'), mechanisms: fc.array(filled, { maxLength: 3 }) }),
  ...(['gss-continue', 'sasl-continue', 'sasl-final'] as const).map((method) =>
    back('authentication', { method: fc.constant(method), data }),
  ),
  back('authentication', { method: fc.constant('other'), code: fc.constantFrom(1, 2, 6, 13, -1), data }),
);

const BACKEND_KINDS: Record<BackendMessage['kind'], fc.Arbitrary<BackendMessage>> = {
  authentication,
  'parameter-status': back('parameter-status', { name: text, value: text }),
  'backend-key-data': back('backend-key-data', { processId: int32, secret }),
  'ready-for-query': back('ready-for-query', { status: fc.constantFrom('I', 'T', 'E') }),
  'parse-complete': back('parse-complete'),
  'bind-complete': back('bind-complete'),
  'close-complete': back('close-complete'),
  'no-data': back('no-data'),
  'portal-suspended': back('portal-suspended'),
  'empty-query-response': back('empty-query-response'),
  'command-complete': back('command-complete', { tag: text }),
  'parameter-description': back('parameter-description', { parameterTypes: fc.array(oid, { maxLength: 6 }) }),
  'row-description': back('row-description', { fields: fc.array(field, { maxLength: 4 }) }),
  'data-row': back('data-row', { values }),
  'copy-data': back('copy-data', { data }),
  'copy-done': back('copy-done'),
  'copy-in-response': back('copy-in-response', copyResponse),
  'copy-out-response': back('copy-out-response', copyResponse),
  'copy-both-response': back('copy-both-response', copyResponse),
  error: back('error', report),
  notice: back('notice', report),
  notification: back('notification', { processId: int32, channel: text, payload: text }),
  'function-call-response': back('function-call-response', { value }),
  'negotiate-protocol-version': back('negotiate-protocol-version', {
    newest: int32,
    unknownOptions: fc.array(text, { maxLength: 3 }),
  }),
};

export const frontendMessage: fc.Arbitrary<FrontendMessage> = fc.oneof(...Object.values(FRONTEND_KINDS));
export const backendMessage: fc.Arbitrary<BackendMessage> = fc.oneof(...Object.values(BACKEND_KINDS));

export const startupPacket: fc.Arbitrary<StartupPacket> = fc.oneof(
  record<StartupPacket>('startup', {
    protocol: fc.integer({ min: 196_608, max: 196_608 + 0xffff }),
    parameters: fc.array(fc.tuple(filled, text), { maxLength: 5 }),
  }),
  record<StartupPacket>('cancel-request', { processId: int32, secret }),
  record<StartupPacket>('ssl-request', {}),
  record<StartupPacket>('gssenc-request', {}),
);

export type Side = 'frontend' | 'backend';

export interface Stream {
  readonly side: Side;
  readonly frames: readonly Buffer[];
}

/** A run of valid frames of one direction. */
export const stream: fc.Arbitrary<Stream> = fc.oneof(
  fc.array(frontendMessage, { maxLength: 12 }).map((messages) => ({
    side: 'frontend' as const,
    frames: messages.map(encodeFrontend),
  })),
  fc.array(backendMessage, { maxLength: 12 }).map((messages) => ({
    side: 'backend' as const,
    frames: messages.map(encodeBackend),
  })),
);

/** Sizes of the chunks that a stream arrives in, used over and over. Small ones cut inside headers. */
export const cuts: fc.Arbitrary<readonly number[]> = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 200 })),
  { minLength: 1, maxLength: 12 },
);

/** Numbers that have broken parsers: as the length of a frame or a value. */
export const NASTY_INT32: readonly number[] = [
  0, 1, 3, 4, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fffe, 0x0100_0000,
];
/** The same as counts. */
export const NASTY_INT16: readonly number[] = [0, 1, 0x7fff, 0x8000, 0xffff];

/** One change to the bytes of a stream. Places are taken modulo the length. */
export type Mutation =
  | { readonly kind: 'flip'; readonly place: number; readonly bit: number }
  | { readonly kind: 'cut-off'; readonly place: number }
  | { readonly kind: 'leave-out'; readonly place: number; readonly length: number }
  | { readonly kind: 'insert'; readonly place: number; readonly bytes: Buffer }
  | { readonly kind: 'int16'; readonly place: number; readonly value: number }
  | { readonly kind: 'int32'; readonly place: number; readonly value: number };

const place = fc.nat({ max: 5000 });
export const mutations: fc.Arbitrary<readonly Mutation[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), place, bit: fc.nat({ max: 7 }) }),
    fc.record({ kind: fc.constant('cut-off' as const), place }),
    fc.record({ kind: fc.constant('leave-out' as const), place, length: fc.integer({ min: 1, max: 20 }) }),
    fc.record({ kind: fc.constant('insert' as const), place, bytes: data }),
    fc.record({ kind: fc.constant('int16' as const), place, value: fc.constantFrom(...NASTY_INT16) }),
    fc.record({ kind: fc.constant('int32' as const), place, value: fc.constantFrom(...NASTY_INT32) }),
  ),
  { minLength: 1, maxLength: 3 },
);

/** `bytes` with the change made, as a copy. */
export function mutate(bytes: Buffer, mutation: Mutation): Buffer {
  if (bytes.length < HEADER_BYTES) return bytes;
  const copy = Buffer.from(bytes);
  const at = mutation.place % (copy.length - 3);
  switch (mutation.kind) {
    case 'flip':
      copy.writeUInt8(copy.readUInt8(at) ^ (1 << mutation.bit), at);
      return copy;
    case 'cut-off':
      return copy.subarray(0, at);
    case 'leave-out':
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + mutation.length)]);
    case 'insert':
      return Buffer.concat([copy.subarray(0, at), mutation.bytes, copy.subarray(at)]);
    case 'int16':
      copy.writeUInt16BE(mutation.value, at);
      return copy;
    case 'int32':
      copy.writeUInt32BE(mutation.value, at);
      return copy;
  }
}
