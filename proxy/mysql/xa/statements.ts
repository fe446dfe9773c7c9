/** XA statements, and what servers answer to them. Pure. Sources: MySQL 8.0 reference manual, "XA Transaction SQL Statements"; MariaDB documentation, "XA Transactions". */
import { xidSql, type Xid } from './names.ts';

/** Begins a local transaction that can be prepared. The session may be in none. */
export function xaStart(xid: Xid): string {
  return `XA START ${xidSql(xid)}`;
}

/** Nothing can be changed from then on. */
export function xaEnd(xid: Xid): string {
  return `XA END ${xidSql(xid)}`;
}

/**
 * Behind XA END. The connection ends the branch then, or is closed, and never reset: until it is closed, no other one can end the branch; and one that
 * was left to COM_RESET_CONNECTION or COM_CHANGE_USER is lost until the server is started again, for it answers OK to its XA COMMIT and
 * commits nothing, keeping its rows locked (seen with MariaDB 10.11 and MySQL 8.0.15).
 */
export function xaPrepare(xid: Xid): string {
  return `XA PREPARE ${xidSql(xid)}`;
}

/** Ends one that is prepared. */
export function xaFinish(verb: 'COMMIT' | 'ROLLBACK', xid: Xid): string {
  return `XA ${verb} ${xidSql(xid)}`;
}

/** Behind XA END, on the same connection: commits what need not be prepared. */
export function xaCommitOnePhase(xid: Xid): string {
  return `XA COMMIT ${xidSql(xid)} ONE PHASE`;
}

/** Lists what is prepared on the whole server, in a form that no character set damages. */
export function xaRecover(flavour: 'mysql' | 'mariadb'): string {
  return flavour === 'mariadb' ? "XA RECOVER FORMAT='SQL'" : 'XA RECOVER CONVERT XID';
}

/** A row of XA RECOVER, as the driver has it. */
export interface RecoverRow {
  readonly formatID: number | string;
  readonly gtrid_length: number | string;
  readonly bqual_length: number | string;
  /** MySQL: `0x…`, both parts one behind the other; MariaDB: `X'…',X'…',format`, or texts in quotes where all bytes are printable. */
  readonly data: string;
}

/** The name in such a row; undefined when it cannot be read, and so is none of ours. */
export function xidOfRow({ formatID, gtrid_length, bqual_length, data }: RecoverRow): Xid | undefined {
  const formatId = Number(formatID);
  const bytes = /^0x(?:[0-9A-Fa-f]{2})*$/.test(data) ? Buffer.from(data.slice(2), 'hex') : literals(data);
  if (
    !Number.isSafeInteger(formatId) ||
    bytes === undefined ||
    bytes.length !== Number(gtrid_length) + Number(bqual_length)
  ) {
    return undefined;
  }
  return { formatId, gtrid: bytes.subarray(0, Number(gtrid_length)), bqual: bytes.subarray(Number(gtrid_length)) };
}

const LITERALS = /^X'((?:[0-9A-Fa-f]{2})*)'(?:,X'((?:[0-9A-Fa-f]{2})*)')?(?:,[0-9]+)?$/;

/** MariaDB writes parts that are printable in quotes when both are (sql/xa.cc, `xid_to_sql`); so read those too. */
const TEXTS = /^'([^'\\]*)'(?:,'([^'\\]*)')?(?:,[0-9]+)?$/;

function literals(data: string): Buffer | undefined {
  const [isHex, gtrid = '', bqual = ''] = LITERALS.exec(data) ?? [];
  if (isHex !== undefined) return Buffer.from(gtrid + bqual, 'hex');
  const [isText, first = '', second = ''] = TEXTS.exec(data) ?? [];
  return isText === undefined ? undefined : Buffer.from(first + second, 'latin1');
}

/**
 * What an error of XA COMMIT or XA ROLLBACK says of a prepared branch. MySQL source: share/messages_to_clients.txt, ER_XAER_*, ER_XA_*.
 * - `unknown-here`: XAER_NOTA. Nobody has it, or the connection that prepared it is still open: the list tells which.
 * - `rolled-back`: XA_RBROLLBACK, XA_RBTIMEOUT, XA_RBDEADLOCK: the server has given it up, and forgets it with this answer.
 * - `busy`: a lock that was waited for in vain, or XA_RETRY: later it will do.
 * - `failed`: anything else.
 */
export type XaFailure = 'unknown-here' | 'rolled-back' | 'busy' | 'failed';

const FAILURES: ReadonlyMap<number, XaFailure> = new Map([
  [1397, 'unknown-here'],
  [1402, 'rolled-back'],
  [1613, 'rolled-back'],
  [1614, 'rolled-back'],
  [1205, 'busy'],
  [1213, 'busy'],
  [3197, 'busy'],
]);

/** Maps the server's number of an error. */
export function xaFailure(errno: number): XaFailure {
  return FAILURES.get(errno) ?? 'failed';
}
