/** Arbitrary messages, with what is needed to decode them again. */
import fc from 'fast-check';
import type { ProtocolFault } from '../../../proxy/mysql/wire/body.ts';
import {
  decodeAuthentication,
  encodeAuthentication,
  type AuthenticationRequest,
} from '../../../proxy/mysql/wire/authentication.ts';
import { CAPABILITY, type Capabilities } from '../../../proxy/mysql/wire/capabilities.ts';
import { decodeCommand, encodeCommand, type Command } from '../../../proxy/mysql/wire/commands.ts';
import type { StatementContext } from '../../../proxy/mysql/wire/execute.ts';
import {
  decodeClientHello,
  decodeHandshake,
  encodeClientHello,
  encodeHandshake,
  type Handshake,
  type HandshakeResponse,
  type SslRequest,
} from '../../../proxy/mysql/wire/handshake.ts';
import {
  decodeEof,
  decodeError,
  decodeLocalInfile,
  decodeOk,
  encodeEof,
  encodeError,
  encodeLocalInfile,
  encodeOk,
  type Eof,
  type Err,
  type LocalInfile,
  type Ok,
  type Progress,
} from '../../../proxy/mysql/wire/outcome.ts';
import type { Parameter } from '../../../proxy/mysql/wire/query.ts';
import {
  decodeBinaryRow,
  decodeColumnCount,
  decodeColumnDefinition,
  decodePrepareOk,
  decodeTextRow,
  encodeBinaryRow,
  encodeColumnCount,
  encodeColumnDefinition,
  encodePrepareOk,
  encodeTextRow,
  type ColumnCount,
  type ColumnDefinition,
  type PrepareOk,
  type Row,
} from '../../../proxy/mysql/wire/rows.ts';
import { decodeStateChanges, encodeStateChanges, type StateChange } from '../../../proxy/mysql/wire/session-state.ts';
import { parameterType, typedValue, valueOf } from './typed-values.ts';

/** A message with both directions of its codec, in a session that understands it. */
export interface Sample {
  readonly message: unknown;
  readonly encode: () => Buffer;
  readonly decode: (payload: Buffer) => unknown;
  /** Encodes what `decode` gave. */
  readonly encodeAgain: (message: unknown) => Buffer;
}

const bytes = (options: { minLength?: number; maxLength: number }) =>
  fc.uint8Array(options).map((array) => Buffer.from(array));
const data = bytes({ maxLength: 40 });
const long = fc.oneof(
  { weight: 9, arbitrary: data },
  { weight: 1, arbitrary: bytes({ minLength: 250, maxLength: 300 }) },
);
/** Any bytes but NUL. */
const text = fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 20 }).map((array) => Buffer.from(array));
const uint = (size: number) => fc.nat({ max: 2 ** (size * 8) - 1 });
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const big = fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
const count = fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 0xffff }));
const value: fc.Arbitrary<Buffer | null> = fc.option(long, { nil: null });
const pairs = fc.array(fc.tuple(data, data), { maxLength: 4 });

function sample<T>(
  messages: fc.Arbitrary<T>,
  encode: (message: T) => Buffer,
  decode: (payload: Buffer) => T | ProtocolFault,
): fc.Arbitrary<Sample> {
  return messages.map((message) => ({
    message,
    encode: () => encode(message),
    decode,
    encodeAgain: (again) => encode(again as T),
  }));
}

const record = <T>(kind: string, fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<T> =>
  fc.record({ kind: fc.constant(kind), ...fields }, { noNullPrototype: true }) as fc.Arbitrary<T>;

/** Sets of flags that a client and a server may have come to. */
export const capabilities: fc.Arbitrary<Capabilities> = fc
  .tuple(uint32, uint32)
  .map(([low, high]) => BigInt(low) | CAPABILITY.protocol41 | (BigInt(high) << 32n))
  .map((all) => ((all & CAPABILITY.longPassword) === 0n ? all : all & 0xffff_ffffn));
const has = (all: Capabilities, flag: Capabilities): boolean => (all & flag) !== 0n;
const when = <T>(isThere: boolean, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  isThere ? arbitrary : fc.constant(undefined);

const handshake = capabilities.chain((all) => {
  const second = has(all, CAPABILITY.secureConnection) ? 13 : 0;
  const reserved = has(all, CAPABILITY.longPassword) ? 10 : 6;
  return record<Handshake>('handshake', {
    version: text,
    connectionId: uint32,
    challenge: bytes({ minLength: 8 + second, maxLength: 8 + second }),
    challengeLength: fc.constantFrom(0, 8, 21),
    capabilities: fc.constant(all),
    charset: uint(1),
    status: uint(2),
    reserved: bytes({ minLength: reserved, maxLength: reserved }),
    plugin: when(has(all, CAPABILITY.pluginAuth), text),
  });
});

const hello = (all: Capabilities) => {
  const reserved = has(all, CAPABILITY.longPassword) ? 23 : 19;
  return {
    capabilities: fc.constant(all),
    maxPacketBytes: uint32,
    charset: uint(1),
    reserved: bytes({ minLength: reserved, maxLength: reserved }),
  };
};
export const handshakeResponse: fc.Arbitrary<HandshakeResponse> = capabilities.chain((all) =>
  record<HandshakeResponse>('handshake-response', {
    ...hello(all),
    user: text,
    authResponse: has(all, CAPABILITY.secureConnection | CAPABILITY.pluginAuthLength) ? data : text,
    database: when(has(all, CAPABILITY.connectWithDb), text),
    plugin: when(has(all, CAPABILITY.pluginAuth), text),
    attributes: when(has(all, CAPABILITY.connectAttributes), pairs),
    zstdLevel: when(has(all, CAPABILITY.zstd), uint(1)),
    trailing: fc.oneof(fc.constant(Buffer.alloc(0)), data),
  }),
);
const sslRequest = capabilities.chain((all) => record<SslRequest>('ssl-request', hello(all | CAPABILITY.ssl)));

const authentication: fc.Arbitrary<AuthenticationRequest> = fc.oneof(
  record<AuthenticationRequest>('auth-switch', { plugin: text, challenge: data }),
  record<AuthenticationRequest>('old-auth-switch', {}),
  record<AuthenticationRequest>('auth-more-data', { data }),
  record<AuthenticationRequest>('auth-next-factor', { plugin: text, challenge: data }),
);

const parameter = (isNamed: boolean, isLong: boolean): fc.Arbitrary<Parameter> =>
  fc
    .tuple(typedValue, isNamed ? data : fc.constant(Buffer.alloc(0)), fc.nat({ max: 5 }))
    .map(([{ type, value }, name, chance]) => {
      if (isLong && chance === 0) return { type, name, value: undefined };
      return { type, name, value: chance === 1 ? null : value };
    });

const command = (fields: fc.Arbitrary<Command>, all: Capabilities, context?: StatementContext): fc.Arbitrary<Sample> =>
  sample(
    fields,
    (message) => encodeCommand(message, all),
    (payload) => decodeCommand(payload, all, context),
  );

const queryAttributes = CAPABILITY.protocol41 | CAPABILITY.queryAttributes;
const COUNTED = 0x08;

const execute = fc
  .tuple(fc.boolean(), fc.boolean(), fc.nat({ max: 9 }), fc.boolean())
  .chain(([isCounted, sendsTypes, extra, hasOwn]) =>
    fc.array(parameter(isCounted && sendsTypes, true), { minLength: hasOwn ? 1 : 0, maxLength: 12 }).chain((all) => {
      const own = isCounted ? Math.max(0, all.length - extra) : all.length;
      const context: StatementContext = {
        parameterCount: own,
        types: sendsTypes ? undefined : all.map(({ type }) => type),
        isLong: (index) => all[index]?.value === undefined,
      };
      const isThere = own > 0 || isCounted;
      return command(
        record('stmt-execute', {
          statement: uint32,
          flags: fc.constant(isCounted ? COUNTED : 1),
          iterations: fc.constant(1),
          parameters: fc.constant(isThere ? all : undefined),
          sendsTypes: fc.constant(sendsTypes && all.length > 0),
        }),
        isCounted ? queryAttributes : CAPABILITY.protocol41,
        context,
      );
    }),
  );

const bulk = fc.array(parameterType, { minLength: 1, maxLength: 5 }).chain((types) => {
  const context: StatementContext = { parameterCount: types.length, types, isLong: () => false };
  const row = fc.tuple(
    ...types.map(({ code }) => fc.oneof(valueOf(code), fc.constantFrom('null', 'default', 'ignore'))),
  );
  return command(
    record('stmt-bulk-execute', {
      statement: uint32,
      flags: fc.constantFrom(0, 64, 128, 192),
      types: fc.constant(types),
      rows: fc.array(row, { maxLength: 4 }),
    }),
    CAPABILITY.protocol41,
    context,
  );
});

const changeUser = fc.tuple(capabilities, fc.boolean(), fc.boolean()).chain(([all, hasCharset, hasAttributes]) =>
  command(
    record('change-user', {
      user: text,
      authResponse: has(all, CAPABILITY.secureConnection) ? data : text,
      database: text,
      charset: when(hasCharset, uint(2)),
      plugin: when(hasCharset && has(all, CAPABILITY.pluginAuth), text),
      attributes: when(hasCharset && hasAttributes && has(all, CAPABILITY.connectAttributes), pairs),
    }),
    all,
  ),
);

const bareCommand = fc.constantFrom(
  ...(['quit', 'statistics', 'process-info', 'debug', 'ping', 'reset-connection'] as const).map((kind) => ({ kind })),
);
const plain: fc.Arbitrary<Command> = fc.oneof(
  bareCommand as fc.Arbitrary<Command>,
  record<Command>('init-db', { schema: data }),
  record<Command>('field-list', { table: text, wildcard: data }),
  record<Command>('process-kill', { connectionId: uint32 }),
  record<Command>('set-option', { option: fc.constantFrom(0, 1) }),
  record<Command>('stmt-prepare', { text: data }),
  record<Command>('stmt-close', { statement: uint32 }),
  record<Command>('stmt-reset', { statement: uint32 }),
  record<Command>('stmt-fetch', { statement: uint32, rows: uint32 }),
  record<Command>('stmt-send-long-data', { statement: uint32, parameter: uint(2), data }),
  record<Command>('other', { code: fc.constantFrom(0x12, 0x15, 0x1e, 0xfe), data }),
  record<Command>('query', { attributes: fc.constant(undefined), text: data }),
);
const attributedQuery: fc.Arbitrary<Command> = record('query', {
  attributes: fc.array(parameter(true, false), { maxLength: 10 }),
  text: data,
});

const tracked = CAPABILITY.protocol41 | CAPABILITY.sessionTrack;
const ok = (isChanged: boolean) =>
  record<Ok>('ok', {
    endsRows: fc.boolean(),
    affectedRows: big,
    lastInsertId: big,
    status: uint(2).map((status) => (isChanged ? status | 0x4000 : status & ~0x4000)),
    warnings: uint(2),
    info: isChanged ? long : fc.option(long, { nil: undefined }),
    stateChanges: when(isChanged, long),
  });
const progress = CAPABILITY.protocol41 | CAPABILITY.mariadbProgress;
const error: fc.Arbitrary<Err | Progress> = fc.oneof(
  record<Err>('error', {
    errno: fc.nat({ max: 0xfffe }),
    sqlState: fc.constant(Buffer.from('40001')),
    message: data,
  }),
  record<Err>('error', {
    errno: fc.nat({ max: 0xfffe }),
    sqlState: fc.constant(undefined),
    message: text.filter(noState),
  }),
  record<Progress>('progress', { strings: uint(1), stage: uint(1), stages: uint(1), progress: uint(3), info: data }),
);

const definition = (isExtended: boolean) =>
  record<ColumnDefinition>('column-definition', {
    catalog: fc.constant(Buffer.from('def')),
    schema: data,
    table: data,
    originalTable: data,
    name: long,
    originalName: data,
    extendedMetadata: when(isExtended, data),
    charset: uint(2),
    displayBytes: uint32,
    type: uint(1),
    flags: uint(2),
    decimals: uint(1),
    defaultValue: fc.option(value, { nil: undefined }),
  });
const binaryRow = fc.array(typedValue, { minLength: 1, maxLength: 20 }).chain((values) => {
  const types = values.map(({ type }) => type.code);
  return fc.array(fc.boolean(), { minLength: types.length, maxLength: types.length }).chain((nulls) =>
    sample(
      fc.constant<Row>({
        kind: 'row',
        values: values.map(({ value }, index) => (nulls[index] === true ? null : value)),
      }),
      (row) => encodeBinaryRow(row, types),
      (payload) => decodeBinaryRow(payload, types),
    ),
  );
});
const textRow = fc
  .array(value, { minLength: 1, maxLength: 10 })
  .chain((values) =>
    sample(fc.constant<Row>({ kind: 'row', values }), encodeTextRow, (payload) =>
      decodeTextRow(payload, values.length),
    ),
  );

const stateChange: fc.Arbitrary<StateChange> = fc.oneof(
  record<StateChange>('variables', { variables: pairs }),
  record<StateChange>('schema', { name: data }),
  record<StateChange>('state-change', { flag: data }),
  record<StateChange>('gtids', { specification: uint(1), gtids: data }),
  record<StateChange>('transaction-characteristics', { statements: data }),
  record<StateChange>('transaction-state', { state: fc.constant(Buffer.from('T_______')) }),
  record<StateChange>('other', { code: fc.integer({ min: 6, max: 255 }), data }),
);

/** Every kind of message there is. */
export const samples: readonly (readonly [name: string, fc.Arbitrary<Sample>])[] = [
  ['handshake', sample(handshake, encodeHandshake, decodeHandshake)],
  ['client hello', sample(fc.oneof(handshakeResponse, sslRequest), encodeClientHello, decodeClientHello)],
  ['authentication', sample(authentication, encodeAuthentication, decodeAuthentication)],
  ['command', command(plain, CAPABILITY.protocol41)],
  ['query with attributes', command(attributedQuery, queryAttributes)],
  ['execute', execute],
  ['bulk execute', bulk],
  ['change user', changeUser],
  ['ok', fc.boolean().chain((changed) => sample(ok(changed), encodeOk, (payload) => decodeOk(payload, tracked)))],
  ['error', sample(error, encodeError, (payload) => decodeError(payload, progress))],
  ['eof', sample(record<Eof>('eof', { warnings: uint(2), status: uint(2) }), encodeEof, decodeEof)],
  ['local infile', sample(record<LocalInfile>('local-infile', { name: data }), encodeLocalInfile, decodeLocalInfile)],
  [
    'prepare ok',
    sample(
      record<PrepareOk>('prepare-ok', {
        statement: uint32,
        columnCount: uint(2),
        parameterCount: uint(2),
        warnings: uint(2),
      }),
      encodePrepareOk,
      decodePrepareOk,
    ),
  ],
  ...([0n, CAPABILITY.mariadbCacheMetadata] as const).map(
    (flag) =>
      [
        flag === 0n ? 'column count' : 'column count with a mark',
        sample(
          record<ColumnCount>('column-count', {
            columnCount: count,
            definitionsFollow: when(flag !== 0n, fc.boolean()),
          }),
          encodeColumnCount,
          (payload) => decodeColumnCount(payload, flag),
        ),
      ] as const,
  ),
  ...([0n, CAPABILITY.mariadbExtendedMetadata] as const).map(
    (flag) =>
      [
        flag === 0n ? 'column definition' : 'extended column definition',
        sample(definition(flag !== 0n), encodeColumnDefinition, (payload) => decodeColumnDefinition(payload, flag)),
      ] as const,
  ),
  ['text row', textRow],
  ['binary row', binaryRow],
  [
    'session state',
    sample<readonly StateChange[]>(fc.array(stateChange, { maxLength: 5 }), encodeStateChanges, decodeStateChanges),
  ],
];

function noState(message: Buffer): boolean {
  return message[0] !== 0x23;
}
