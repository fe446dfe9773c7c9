/**
 * How a server ends things: OK, ERR and EOF; and its request for a file. Source: MySQL documentation, "Generic Response Packets";
 * MySQL source: net_send_ok, net_send_error, net_send_eof in sql/protocol_classic.cc.
 */
import { BodyReader, BodyWriter, type ProtocolFault } from './body.ts';
import { CAPABILITY, has, type Capabilities } from './capabilities.ts';

/** First bytes of these packets. */
export const OUTCOME = { ok: 0x00, localInfile: 0xfb, eof: 0xfe, error: 0xff } as const;

/** Flags of the `status` of OK and EOF. MySQL source: SERVER_STATUS_flags_enum in include/mysql_com.h. */
export const STATUS = {
  inTransaction: 0x0001,
  autocommit: 0x0002,
  moreResults: 0x0008,
  cursorExists: 0x0040,
  lastRowSent: 0x0080,
  /** LIKE, quotes and the rest take a backslash as itself: what reads a text must know. */
  noBackslashEscapes: 0x0200,
  inReadOnlyTransaction: 0x2000,
  sessionStateChanged: 0x4000,
} as const;

/** An EOF is shorter than this; what is longer and begins with the same byte is a row, or an OK under `deprecateEof`. */
export const EOF_BYTES_MAX = 8;

export interface Ok {
  readonly kind: 'ok';
  /** It stands where an EOF stood before `deprecateEof`: the first byte is 0xfe. */
  readonly endsRows: boolean;
  readonly affectedRows: bigint;
  readonly lastInsertId: bigint;
  readonly status: number;
  readonly warnings: number;
  /** `Rows matched: 1  Changed: 1  Warnings: 0`. Undefined when nothing is there, which is not the same bytes as an empty one. */
  readonly info: Buffer | undefined;
  /** For session-state.ts; there exactly when the status says that the state changed, under `sessionTrack`. */
  readonly stateChanges: Buffer | undefined;
}

export interface Err {
  readonly kind: 'error';
  /** `1213`. 0xffff is not an error: see Progress. */
  readonly errno: number;
  /** `40001`. Undefined before the server knows what its client speaks. */
  readonly sqlState: Buffer | undefined;
  readonly message: Buffer;
}

export interface Eof {
  readonly kind: 'eof';
  readonly warnings: number;
  readonly status: number;
}

/** MariaDB's word on how far ALTER TABLE and the like have come, which looks like an error and ends nothing. */
export interface Progress {
  readonly kind: 'progress';
  /** How many strings follow: 1. */
  readonly strings: number;
  readonly stage: number;
  readonly stages: number;
  /** Of the stage, in thousandths of a percent. */
  readonly progress: number;
  readonly info: Buffer;
}

/** The server wants the client's file. Packets of the client follow, up to an empty one. */
export interface LocalInfile {
  readonly kind: 'local-infile';
  readonly name: Buffer;
}

/** What stands for an error's number in a word on progress. */
export const PROGRESS_ERRNO = 0xffff;

const SQL_STATE_MARK = 0x23;
const SQL_STATE_BYTES = 5;

/** Decodes an OK packet of a connection with `protocol41`, which all have. */
export function decodeOk(payload: Buffer, capabilities: Capabilities): Ok | ProtocolFault {
  const from = new BodyReader('OK', payload);
  const type = from.byte();
  if (type !== OUTCOME.ok && type !== OUTCOME.eof) from.fail(`it begins with ${type}`);
  const affectedRows = from.bigLength();
  const lastInsertId = from.bigLength();
  const status = from.uint(2);
  const warnings = from.uint(2);
  const info = from.left > 0 ? from.string() : undefined;
  const isChanged = has(capabilities, CAPABILITY.sessionTrack) && (status & STATUS.sessionStateChanged) !== 0;
  return from.end({
    kind: 'ok',
    endsRows: type === OUTCOME.eof,
    affectedRows,
    lastInsertId,
    status,
    warnings,
    info,
    stateChanges: isChanged ? from.string() : undefined,
  });
}

export function encodeOk(message: Ok): Buffer {
  const out = new BodyWriter()
    .byte(message.endsRows ? OUTCOME.eof : OUTCOME.ok)
    .length(message.affectedRows)
    .length(message.lastInsertId)
    .uint(2, message.status)
    .uint(2, message.warnings);
  if (message.info !== undefined) out.string(message.info);
  if (message.stateChanges !== undefined) out.string(message.stateChanges);
  return out.take();
}

/** Decodes an ERR packet; a word on progress only where the client has asked for such. */
export function decodeError(payload: Buffer, capabilities: Capabilities): Err | Progress | ProtocolFault {
  const from = new BodyReader('ERR', payload);
  const type = from.byte();
  if (type !== OUTCOME.error) from.fail(`it begins with ${type}`);
  const errno = from.uint(2);
  if (errno === PROGRESS_ERRNO && has(capabilities, CAPABILITY.mariadbProgress)) {
    return from.end({
      kind: 'progress',
      strings: from.byte(),
      stage: from.byte(),
      stages: from.byte(),
      progress: from.uint(3),
      info: from.string(),
    });
  }
  const hasState = from.peek() === SQL_STATE_MARK;
  const sqlState = hasState ? from.bytes(SQL_STATE_BYTES + 1).subarray(1) : undefined;
  return from.end({ kind: 'error', errno, sqlState, message: from.rest() });
}

export function encodeError(message: Err | Progress): Buffer {
  const out = new BodyWriter().byte(OUTCOME.error);
  if (message.kind === 'progress') {
    out.uint(2, PROGRESS_ERRNO).byte(message.strings).byte(message.stage).byte(message.stages);
    return out.uint(3, message.progress).string(message.info).take();
  }
  out.uint(2, message.errno);
  if (message.sqlState !== undefined) out.byte(SQL_STATE_MARK).bytes(message.sqlState);
  return out.bytes(message.message).take();
}

export function decodeEof(payload: Buffer): Eof | ProtocolFault {
  const from = new BodyReader('EOF', payload);
  const type = from.byte();
  if (type !== OUTCOME.eof) from.fail(`it begins with ${type}`);
  return from.end({ kind: 'eof', warnings: from.uint(2), status: from.uint(2) });
}

export function encodeEof(message: Eof): Buffer {
  return new BodyWriter().byte(OUTCOME.eof).uint(2, message.warnings).uint(2, message.status).take();
}

export function decodeLocalInfile(payload: Buffer): LocalInfile | ProtocolFault {
  const from = new BodyReader('LOCAL INFILE request', payload);
  const type = from.byte();
  if (type !== OUTCOME.localInfile) from.fail(`it begins with ${type}`);
  return from.end({ kind: 'local-infile', name: from.rest() });
}

export function encodeLocalInfile(message: LocalInfile): Buffer {
  return new BodyWriter().byte(OUTCOME.localInfile).bytes(message.name).take();
}

/** An EOF of the protocol since MySQL 4.1; an OK in its place is longer. */
const EOF_BYTES = 5;

/** The type, two counts of a byte each, status and warnings. */
const OK_BYTES_MIN = 7;

/** True for the first byte of an integer of variable length that has no further one. */
function isOneByte(first: number | undefined): boolean {
  return first !== undefined && first < OUTCOME.localInfile;
}

/** The status flags of an OK or EOF, whatever stands behind them. */
export function statusOf(payload: Buffer): number | ProtocolFault {
  const isOk = payload[0] === OUTCOME.ok || payload[0] === OUTCOME.eof;
  // The usual case, in which both counts before it take one byte.
  if (isOk && payload.length >= OK_BYTES_MIN && isOneByte(payload[1]) && isOneByte(payload[2])) {
    return payload.readUInt16LE(3);
  }
  const from = new BodyReader('OK or EOF', payload);
  const type = from.byte();
  let status: number;
  if (type === OUTCOME.eof && payload.length === EOF_BYTES) {
    from.uint(2);
    status = from.uint(2);
  } else {
    if (type !== OUTCOME.ok && type !== OUTCOME.eof) from.fail(`it begins with ${type}`);
    from.bigLength();
    from.bigLength();
    status = from.uint(2);
    from.rest();
  }
  return from.end(status);
}
