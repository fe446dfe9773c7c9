/** What the sidecar itself says to a client of MySQL, as the error packets of the protocol. */
import { CodedError } from '../../../src/contract/errors.ts';
import type { Refusal as SqlRefusal } from '../../sql/statement.ts';
import { encodePackets } from '../wire/frames.ts';
import { encodeError } from '../wire/outcome.ts';

/** An error as a client of MySQL gets it: `code` is its SQLSTATE. */
export interface Refusal extends SqlRefusal {
  /** The number, as the server's own list has it (MySQL documentation, "Server Error Message Reference"). */
  readonly errno: number;
  /** The message is one of the server's own: nothing is written around it. */
  readonly isAsServers?: true;
}

/** MySQL source: MYSQL_ERRMSG_SIZE, with its NUL. Clients cut what is longer, and the hint is at the end. */
const MESSAGE_BYTES_MAX = 511;

/**
 * The packet of an error. `hasState`: the client can be told an SQLSTATE, which it can from its handshake response on.
 * `sequence`: what its packet has to carry.
 */
export function errorPacket(refusal: Refusal, sequence: number, hasState = true): Buffer {
  const { errno, code, message, hint, isAsServers } = refusal;
  const sqlState = hasState ? Buffer.from(code) : undefined;
  const text = isAsServers === true ? Buffer.from(message) : textOf(message, hint);
  return encodePackets(encodeError({ kind: 'error', errno, sqlState, message: text }), sequence);
}

/** There is no field for a hint. A long message gives way to it: it says what to do. */
function textOf(message: string, hint: string): Buffer {
  const end = Buffer.from(`. ${hint}`);
  const start = Buffer.from(`atomesh: ${message}`);
  const room = MESSAGE_BYTES_MAX - end.length;
  return Buffer.concat([start.subarray(0, Math.max(room, 0)), end]).subarray(0, MESSAGE_BYTES_MAX);
}

/** A refusal that the machine of all databases has made, with the number that fits its SQLSTATE. */
export function withErrno(refusal: SqlRefusal): Refusal {
  return { ...refusal, errno: ERRNO_OF[refusal.code] ?? UNKNOWN_ERROR };
}

/** ER_UNKNOWN_ERROR, ER_NOT_SUPPORTED_YET, ER_WRONG_VALUE_FOR_VAR, ER_LOCK_DEADLOCK. */
const UNKNOWN_ERROR = 1105;
const ERRNO_OF: Readonly<Record<string, number>> = { '0A000': 1235, '22023': 1231, '40001': 1213 };

/** ER_CON_COUNT_ERROR. */
export function tooManySessions(sessionsMax: number): Refusal {
  return {
    errno: 1040,
    code: '08004',
    message: `more than ${sessionsMax} database sessions`,
    hint: 'Close sessions, or raise limits.sessions in the sidecar configuration.',
  };
}

/** ER_CONNECT_TO_FOREIGN_DATA_SOURCE. */
export function unreachable(reason: string): Refusal {
  return {
    errno: 1429,
    code: '08001',
    message: reason,
    hint: 'Check databases[].upstream and databases[].tls of the sidecar, and that the database is up.',
  };
}

/** ER_SERVER_SHUTDOWN. */
export const shuttingDown: Refusal = {
  errno: 1053,
  code: '08S01',
  message: 'the sidecar is shutting down',
  hint: 'Connect again when it is back.',
};

/**
 * Why a session ends in which something was thrown: what could not be asked over a connection of the sidecar's own, in its words, or a
 * defect of ours.
 */
export function brokenBy(error: unknown): Refusal {
  if (!(error instanceof CodedError)) return sidecarFailed;
  const hint = `The local transaction is rolled back: try it again. ${error.hint ?? ''}`.trimEnd();
  return withErrno({ code: '08006', message: error.message, hint });
}

/** ER_UNKNOWN_ERROR: a defect of ours. */
export const sidecarFailed: Refusal = {
  errno: UNKNOWN_ERROR,
  code: 'HY000',
  message: 'the sidecar failed',
  hint: 'The local transaction is rolled back. Report this with the log of the sidecar.',
};

/** The client said what is not the protocol. `errno` and `code`: what a server says to the same. */
export function protocolBroken(message: string, errno = 1835, code = 'HY000'): Refusal {
  return {
    errno,
    code,
    message,
    hint: 'The connection sent what is not the MySQL protocol: report this to the authors of the driver.',
  };
}

/** ER_MALFORMED_PACKET, said of the server. */
export function serverBroken(message: string): Refusal {
  return {
    errno: 1835,
    code: 'HY000',
    message: `the database sent what is not its protocol: ${message}`,
    hint: 'Check that upstream is a MySQL or MariaDB server.',
  };
}

/** ER_NET_PACKET_TOO_LARGE. `bytesMax`: the limit, in bytes. */
export function messageTooLarge(bytesMax: number): Refusal {
  return {
    errno: 1153,
    code: '08S01',
    message: `a message that may belong to a global transaction is larger than ${bytesMax} bytes`,
    hint: 'Send less at once, or raise limits.statement in the sidecar configuration.',
  };
}

/** A command was sent whose answer has no end that could be told. */
export const cannotFollow: Refusal = {
  errno: 1235,
  code: '0A000',
  message:
    'the answers of the database in this session can no longer be followed, so that it cannot take part in a global transaction',
  hint: 'Connect again; replication and commands that are not documented cannot share a connection with global transactions.',
};
