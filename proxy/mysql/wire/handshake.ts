/**
 * What a connection begins with: the server's handshake, and the client's answer, ahead of which it may ask for TLS with the answer's
 * first 32 bytes. Source: MySQL documentation, "Protocol::HandshakeV10", "Protocol::HandshakeResponse41", "Protocol::SSLRequest";
 * MariaDB documentation, "Connection", for the last four of the reserved bytes.
 */
import { assert } from '../../../src/platform/assert.ts';
import { BodyReader, BodyWriter, protocolFault, type ProtocolFault } from './body.ts';
import { CAPABILITY, has, offeredTo, type Capabilities } from './capabilities.ts';

/** The server's first packet. */
export interface Handshake {
  readonly kind: 'handshake';
  /** `8.0.44`, `5.5.5-10.11.19-MariaDB…`. */
  readonly version: Buffer;
  /** What KILL takes. */
  readonly connectionId: number;
  /** Everything that the server sent for the method's first challenge: 20 bytes and a NUL, by all servers there are. */
  readonly challenge: Buffer;
  /** The challenge's length as announced, or 0. What is sent is at least 21 bytes, whatever was announced. */
  readonly challengeLength: number;
  readonly capabilities: Capabilities;
  readonly charset: number;
  readonly status: number;
  /** Reserved bytes; zero, but for those that hold MariaDB's capabilities, which are not in here. */
  readonly reserved: Buffer;
  /** The server's usual method; undefined without `pluginAuth`. */
  readonly plugin: Buffer | undefined;
}

/** A pair that describes the client: names that begin with `_` are the driver's. */
export type ConnectionAttribute = readonly [name: Buffer, value: Buffer];

/** What both packets of the client begin with. */
export interface ClientHello {
  readonly capabilities: Capabilities;
  /** The largest packet that the client takes; servers do not care. */
  readonly maxPacketBytes: number;
  readonly charset: number;
  /** Reserved bytes; zero, but for those that hold MariaDB's capabilities, which are not in here. */
  readonly reserved: Buffer;
}

/** The client goes on in TLS, beginning with the byte behind this packet: nobody answers. */
export type SslRequest = ClientHello & { readonly kind: 'ssl-request' };

export type HandshakeResponse = ClientHello & {
  readonly kind: 'handshake-response';
  readonly user: Buffer;
  /** The answer to the challenge by the client's method, which need not be the server's. */
  readonly authResponse: Buffer;
  /** There exactly when its capability is. */
  readonly database: Buffer | undefined;
  /** There when its capability is, as are those below; but some clients end the packet ahead of them, and servers take that. */
  readonly plugin: Buffer | undefined;
  readonly attributes: readonly ConnectionAttribute[] | undefined;
  readonly zstdLevel: number | undefined;
  /** Bytes behind all that, which servers do not look at. */
  readonly trailing: Buffer;
};

const VERSION = 10;
const CHALLENGE_FIRST = 8;
/** The second part: 12 bytes and a NUL. MySQL source: SCRAMBLE_LENGTH is 20. */
const CHALLENGE_SECOND_MIN = 13;
const SCRAMBLE_BYTES = 20;
const SERVER_RESERVED = 10;
const CLIENT_RESERVED = 23;
const EXTENDED_BYTES = 4;
const HELLO_BYTES = 32;

export function decodeHandshake(payload: Buffer): Handshake | ProtocolFault {
  const from = new BodyReader('handshake', payload);
  const version = from.byte();
  if (version !== VERSION) from.fail(`protocol version ${version}`);
  const serverVersion = from.cstring();
  const connectionId = from.uint(4);
  const first = from.bytes(CHALLENGE_FIRST);
  if (from.byte() !== 0) from.fail('the filler is not 0');
  const low = from.uint(2);
  const charset = from.byte();
  const status = from.uint(2);
  const base = BigInt(low) | (BigInt(from.uint(2)) << 16n);
  const challengeLength = from.byte();
  const { reserved, capabilities } = readReserved(from, base, SERVER_RESERVED);
  const second = has(base, CAPABILITY.secureConnection)
    ? from.bytes(Math.max(CHALLENGE_SECOND_MIN, challengeLength - CHALLENGE_FIRST))
    : Buffer.alloc(0);
  return from.end({
    kind: 'handshake',
    version: serverVersion,
    connectionId,
    challenge: Buffer.concat([first, second]),
    challengeLength,
    capabilities,
    charset,
    status,
    reserved,
    plugin: has(base, CAPABILITY.pluginAuth) ? from.cstring() : undefined,
  });
}

export function encodeHandshake(message: Handshake): Buffer {
  const { capabilities, challenge } = message;
  const out = new BodyWriter()
    .byte(VERSION)
    .cstring(message.version)
    .uint(4, message.connectionId)
    .bytes(challenge.subarray(0, CHALLENGE_FIRST))
    .byte(0)
    .uint(2, Number(capabilities & 0xffffn))
    .byte(message.charset)
    .uint(2, message.status)
    .uint(2, Number((capabilities >> 16n) & 0xffffn))
    .byte(message.challengeLength);
  writeReserved(out, message, SERVER_RESERVED);
  out.bytes(challenge.subarray(CHALLENGE_FIRST));
  if (message.plugin !== undefined) out.cstring(message.plugin);
  return out.take();
}

/** The 20 bytes of a challenge that methods compute with: the NUL behind them is no part of it. */
export function scrambleOf(challenge: Buffer): Buffer {
  return challenge.subarray(0, SCRAMBLE_BYTES);
}

/** The handshake as a client of the sidecar sees it. `tls`: see `offeredTo`. */
export function narrowHandshake(handshake: Handshake, options: { readonly tls: boolean }): Handshake {
  return { ...handshake, capabilities: offeredTo(handshake.capabilities, options) };
}

/**
 * The client's answer as the server is to see it: without what the server offered and the client was not shown. What kind of client
 * it is stays as it said, since the meaning of its reserved bytes hangs on that. A fault when the server's form cannot hold the answer
 * to the challenge; no server of today has such a form.
 */
export function narrowResponse(response: HandshakeResponse, offered: Capabilities): HandshakeResponse | ProtocolFault {
  const capabilities = response.capabilities & (offered | CAPABILITY.longPassword);
  if (!holdsAuthResponse(capabilities, response.authResponse)) {
    return protocolFault(`the server takes no answer of ${response.authResponse.length} bytes to its challenge`);
  }
  const kept = <T>(flag: Capabilities, value: T): T | undefined => (has(capabilities, flag) ? value : undefined);
  return {
    ...response,
    capabilities,
    database: kept(CAPABILITY.connectWithDb, response.database),
    plugin: kept(CAPABILITY.pluginAuth, response.plugin),
    attributes: kept(CAPABILITY.connectAttributes, response.attributes),
    zstdLevel: kept(CAPABILITY.zstd, response.zstdLevel),
  };
}

/** Decodes the client's first packet: an answer to the handshake, or what asks for TLS. */
export function decodeClientHello(payload: Buffer): HandshakeResponse | SslRequest | ProtocolFault {
  const from = new BodyReader('handshake response', payload);
  const base = BigInt(from.uint(4));
  if (!has(base, CAPABILITY.protocol41)) from.fail('clients of before MySQL 4.1 are not supported');
  const maxPacketBytes = from.uint(4);
  const charset = from.byte();
  const { reserved, capabilities } = readReserved(from, base, CLIENT_RESERVED);
  const hello = { capabilities, maxPacketBytes, charset, reserved };
  if (payload.length === HELLO_BYTES && has(base, CAPABILITY.ssl)) return from.end({ kind: 'ssl-request', ...hello });
  const isNext = (flag: Capabilities): boolean => has(base, flag) && from.left > 0;
  return from.end({
    kind: 'handshake-response',
    ...hello,
    user: from.cstring(),
    authResponse: readAuthResponse(from, base),
    database: has(base, CAPABILITY.connectWithDb) ? from.cstring() : undefined,
    plugin: isNext(CAPABILITY.pluginAuth) ? from.cstring() : undefined,
    attributes: isNext(CAPABILITY.connectAttributes) ? readAttributes(from) : undefined,
    zstdLevel: isNext(CAPABILITY.zstd) ? from.byte() : undefined,
    trailing: from.rest(),
  });
}

export function encodeClientHello(message: HandshakeResponse | SslRequest): Buffer {
  const { capabilities } = message;
  const out = new BodyWriter()
    .uint(4, Number(capabilities & 0xffff_ffffn))
    .uint(4, message.maxPacketBytes)
    .byte(message.charset);
  writeReserved(out, message, CLIENT_RESERVED);
  if (message.kind === 'ssl-request') return out.take();
  assert(hasWhatItSays(message), 'a handshake response does not have what its capabilities say');
  out.cstring(message.user);
  writeAuthResponse(out, capabilities, message.authResponse);
  if (message.database !== undefined) out.cstring(message.database);
  if (message.plugin !== undefined) out.cstring(message.plugin);
  if (message.attributes !== undefined) writeAttributes(out, message.attributes);
  if (message.zstdLevel !== undefined) out.byte(message.zstdLevel);
  return out.bytes(message.trailing).take();
}

/** The attributes of a client, as COM_CHANGE_USER has them too. */
export function readAttributes(from: BodyReader): readonly ConnectionAttribute[] {
  const bytes = from.length();
  const pairs = from.bytes(bytes);
  const inside = new BodyReader('attributes', pairs);
  const attributes = inside.end(inside.all((): ConnectionAttribute => [inside.string(), inside.string()]));
  if (!('kind' in attributes)) return attributes;
  from.fail(attributes.message);
  return [];
}

export function writeAttributes(out: BodyWriter, attributes: readonly ConnectionAttribute[]): void {
  const pairs = new BodyWriter();
  for (const [name, value] of attributes) pairs.string(name).string(value);
  out.string(pairs.take());
}

/** Without `longPassword` on either side the last four reserved bytes are MariaDB's capabilities. */
function readReserved(
  from: BodyReader,
  base: Capabilities,
  bytes: number,
): { readonly reserved: Buffer; readonly capabilities: Capabilities } {
  if (has(base, CAPABILITY.longPassword)) return { reserved: from.bytes(bytes), capabilities: base };
  const reserved = from.bytes(bytes - EXTENDED_BYTES);
  return { reserved, capabilities: base | (BigInt(from.uint(EXTENDED_BYTES)) << 32n) };
}

function writeReserved(out: BodyWriter, message: Pick<ClientHello, 'capabilities' | 'reserved'>, bytes: number): void {
  const isMysql = has(message.capabilities, CAPABILITY.longPassword);
  const extended = Number(message.capabilities >> 32n);
  assert(message.reserved.length === (isMysql ? bytes : bytes - EXTENDED_BYTES), 'the wrong number of reserved bytes');
  assert(!isMysql || extended === 0, 'capabilities of MariaDB along with longPassword');
  out.bytes(message.reserved);
  if (!isMysql) out.uint(EXTENDED_BYTES, extended);
}

function readAuthResponse(from: BodyReader, capabilities: Capabilities): Buffer {
  if (has(capabilities, CAPABILITY.pluginAuthLength)) return from.string();
  return has(capabilities, CAPABILITY.secureConnection) ? from.bytes(from.byte()) : from.cstring();
}

/** Nothing without its capability, and nothing missing ahead of something that is there. */
function hasWhatItSays(message: HandshakeResponse): boolean {
  const { capabilities, database, plugin, attributes, zstdLevel, trailing } = message;
  if (has(capabilities, CAPABILITY.connectWithDb) !== (database !== undefined)) return false;
  let isMissing = false;
  for (const [flag, value] of [
    [CAPABILITY.pluginAuth, plugin],
    [CAPABILITY.connectAttributes, attributes],
    [CAPABILITY.zstd, zstdLevel],
  ] as const) {
    if (value !== undefined && (isMissing || !has(capabilities, flag))) return false;
    isMissing ||= value === undefined && has(capabilities, flag);
  }
  return !isMissing || trailing.length === 0;
}

function holdsAuthResponse(capabilities: Capabilities, value: Buffer): boolean {
  if (has(capabilities, CAPABILITY.pluginAuthLength)) return true;
  return has(capabilities, CAPABILITY.secureConnection) ? value.length <= 0xff : !value.includes(0);
}

function writeAuthResponse(out: BodyWriter, capabilities: Capabilities, value: Buffer): void {
  if (has(capabilities, CAPABILITY.pluginAuthLength)) out.string(value);
  else if (has(capabilities, CAPABILITY.secureConnection)) out.byte(value.length).bytes(value);
  else out.cstring(value);
}
