/** What a connection begins with, before there are type bytes: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest; and NegotiateProtocolVersion. */
import { BodyReader, encoder, protocolFault, type FrameWriter, type ProtocolFault } from './body.ts';
import { BACKEND } from './frames.ts';

/** The name of the protocol in TLS (IANA); direct connections must name it (documentation, "SSL Session Encryption"). */
export const ALPN = 'postgresql';

/** A name and a value as the client's bytes: before a connection has a client_encoding nobody knows what they mean. */
export type StartupParameter = readonly [name: Buffer, value: Buffer];

export interface StartupMessage {
  readonly kind: 'startup';
  /** The version asked for: major in the high 16 bits (always 3), minor in the low ones. 196608 is 3.0, 196610 is 3.2. */
  readonly protocol: number;
  /** In the client's order; a name may come twice (the server takes the last). */
  readonly parameters: readonly StartupParameter[];
}

export interface CancelRequest {
  readonly kind: 'cancel-request';
  readonly processId: number;
  /** 4 bytes in protocol 3.0, 4 to 256 in 3.2. */
  readonly secret: Buffer;
}

export type StartupPacket =
  | StartupMessage
  | CancelRequest
  | { readonly kind: 'ssl-request' }
  | { readonly kind: 'gssenc-request' };

/** The server's offer of an older minor version, and the `_pq_.` options that it does not know. */
export interface NegotiateProtocolVersion {
  readonly kind: 'negotiate-protocol-version';
  /** The newest version the server speaks, major in the high 16 bits (PostgreSQL sends both, whatever the documentation says). */
  readonly newest: number;
  readonly unknownOptions: readonly Buffer[];
}

/** What a connection began with. */
export type Startup =
  | {
      readonly kind: 'packet';
      readonly packet: StartupPacket;
      /** The packet as it came. */
      readonly bytes: Buffer;
      /** What came behind it, to be given to a frame reader. Empty after a request for encryption. */
      readonly rest: Buffer;
    }
  /** The client began TLS without asking (`sslnegotiation=direct`, PostgreSQL 17). Nothing was consumed: `rest` is its hello. */
  | { readonly kind: 'direct-tls'; readonly rest: Buffer };

/** PG source: MAX_STARTUP_PACKET_LENGTH, which does not count the length field. */
export const STARTUP_BYTES_MAX = 10_000;

/** PG source: MAX_CANCEL_REQUEST bytes, and protocol 3.2 in the documentation of BackendKeyData. */
export const SECRET_BYTES_MAX = 256;
export const SECRET_BYTES_MIN = 4;

/** The protocol's version as PostgreSQL 18 has it; minor version 2 brought longer cancel keys. */
export const PROTOCOL = { major: 3, minor: 2 } as const;
/** What the names of protocol options begin with; they are negotiated, other parameters are settings of the session. */
const OPTION_PREFIX = Buffer.from('_pq_.');

const CODE = { cancelRequest: 80_877_102, sslRequest: 80_877_103, gssencRequest: 80_877_104 } as const;
const TLS_HANDSHAKE = 0x16;
const LENGTH_BYTES = 4;
const CODE_BYTES = 4;
const EMPTY: Buffer = Buffer.alloc(0);

export interface StartupReader {
  /** The next packet, once it is complete. After one, the reader is ready for another on the same connection. */
  push(chunk: Buffer): Startup | ProtocolFault | undefined;
}

/** Assembles startup packets from chunks of any size. Keeps at most one packet. */
export function createStartupReader(): StartupReader {
  let bytes = EMPTY;
  return {
    push(chunk) {
      const all = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      bytes = EMPTY;
      if (all[0] === TLS_HANDSHAKE) return { kind: 'direct-tls', rest: all };
      if (all.length >= LENGTH_BYTES) {
        const length = all.readInt32BE(0);
        if (length < LENGTH_BYTES + CODE_BYTES || length > LENGTH_BYTES + STARTUP_BYTES_MAX) {
          return protocolFault('invalid length of startup packet');
        }
        if (all.length >= length) return startup(all.subarray(0, length), all.subarray(length));
      }
      bytes = Buffer.from(all);
      return undefined;
    },
  };
}

/** Decodes the body of a startup packet, which is everything behind its length. */
export function decodeStartupPacket(body: Buffer): StartupPacket | ProtocolFault {
  const from = new BodyReader('startup', body);
  const code = from.int32();
  if (code === CODE.sslRequest) return from.end({ kind: 'ssl-request' });
  if (code === CODE.gssencRequest) return from.end({ kind: 'gssenc-request' });
  if (code === CODE.cancelRequest) return decodeCancelRequest(from);
  if (code >> 16 !== PROTOCOL.major) {
    from.fail(`unsupported frontend protocol ${code >> 16}.${code & 0xffff}`);
    return from.end({ kind: 'startup', protocol: code, parameters: [] });
  }
  const parameters: StartupParameter[] = [];
  while (from.left > 0) {
    const name = from.cstring();
    if (name.length === 0) return from.end({ kind: 'startup', protocol: code, parameters });
    parameters.push([name, from.cstring()]);
  }
  from.fail('the terminator is not the last byte');
  return from.end({ kind: 'startup', protocol: code, parameters });
}

/** A whole startup packet, length included. Parameter names are not empty: the first empty one would end the list. */
export const encodeStartupPacket: (packet: StartupPacket) => Buffer = encoder(writeStartupPacket);

function writeStartupPacket(out: FrameWriter, packet: StartupPacket): void {
  out.beginUntyped();
  switch (packet.kind) {
    case 'startup':
      out.int32(packet.protocol);
      for (const [name, value] of packet.parameters) out.cstring(name).cstring(value);
      out.byte(0);
      break;
    case 'cancel-request':
      out.int32(CODE.cancelRequest).int32(packet.processId).bytes(packet.secret);
      break;
    case 'ssl-request':
      out.int32(CODE.sslRequest);
      break;
    case 'gssenc-request':
      out.int32(CODE.gssencRequest);
      break;
  }
  out.end();
}

/** The value of the last parameter called `name`, read as UTF-8. */
export function startupParameter(message: StartupMessage, name: string): string | undefined {
  return message.parameters.findLast(([each]) => each.equals(Buffer.from(name)))?.[1].toString();
}

/**
 * What a server that speaks up to 3.2 and knows no protocol option has to say to a start-up message, ahead of anything else; undefined
 * when it can be had as it is. PG source: ProcessStartupPacket, SendNegotiateProtocolVersion.
 */
export function negotiationFor(message: StartupMessage): NegotiateProtocolVersion | undefined {
  const newest = protocolFor(message);
  const unknownOptions = message.parameters.map(([name]) => name).filter(isProtocolOption);
  if (newest === message.protocol && unknownOptions.length === 0) return undefined;
  return { kind: 'negotiate-protocol-version', newest, unknownOptions };
}

/** The version that a start-up message comes to with such a server. */
export function protocolFor(message: StartupMessage): number {
  return Math.min(message.protocol, (PROTOCOL.major << 16) | PROTOCOL.minor);
}

/** True for the name of a protocol option, which is not a setting. */
export function isProtocolOption(name: Buffer): boolean {
  return name.subarray(0, OPTION_PREFIX.length).equals(OPTION_PREFIX);
}

export function decodeNegotiateProtocolVersion(body: Buffer): NegotiateProtocolVersion | ProtocolFault {
  const from = new BodyReader('NegotiateProtocolVersion', body);
  return from.end({
    kind: 'negotiate-protocol-version',
    newest: from.int32(),
    unknownOptions: from.longList(1, () => from.cstring()),
  });
}

export function writeNegotiateProtocolVersion(out: FrameWriter, message: NegotiateProtocolVersion): void {
  out.begin(BACKEND.negotiateProtocolVersion).int32(message.newest).int32(message.unknownOptions.length);
  for (const option of message.unknownOptions) out.cstring(option);
  out.end();
}

export const encodeNegotiateProtocolVersion: (message: NegotiateProtocolVersion) => Buffer =
  encoder(writeNegotiateProtocolVersion);

function decodeCancelRequest(from: BodyReader): CancelRequest | ProtocolFault {
  const processId = from.int32();
  const secret = from.rest();
  if (secret.length < SECRET_BYTES_MIN || secret.length > SECRET_BYTES_MAX) {
    from.fail(`a cancel key of ${secret.length} bytes`);
  }
  return from.end({ kind: 'cancel-request', processId, secret });
}

function startup(bytes: Buffer, rest: Buffer): Startup | ProtocolFault {
  const packet = decodeStartupPacket(bytes.subarray(LENGTH_BYTES));
  if (packet.kind === 'fault') return packet;
  // Bytes that came before the encryption they ask for were not encrypted, and may be an attacker's (CVE-2021-23214).
  if ((packet.kind === 'ssl-request' || packet.kind === 'gssenc-request') && rest.length > 0) {
    return protocolFault('received unencrypted data after a request for encryption');
  }
  return { kind: 'packet', packet, bytes, rest };
}
