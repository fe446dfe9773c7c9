/** What the XA branches of Atomesh are called on MySQL and MariaDB: by the name alone they are known again, after any crash and by any replica. Pure. */
import { createHash } from 'node:crypto';
import { parseGid, type Gid } from '../../../src/contract/transaction.ts';
import { resourceOf, type UndoBranch } from '../../sql/work.ts';

/**
 * The name of an XA branch: a format, and two texts of at most 64 bytes each (X/Open XA, `xid_t`; MySQL source: sql/xa.h, `XIDDATASIZE`).
 */
export interface Xid {
  readonly formatId: number;
  readonly gtrid: Buffer;
  readonly bqual: Buffer;
}

/** What a name says. */
export interface XidMeaning {
  readonly gid: Gid;
  /** The resource of the branch. */
  readonly resource: string;
}

/** `ATM1`: gtrid is the gid, bqual `<database>_<run>_<id>`, both to be read by people. */
const PLAIN = 0x41544d31;
/** `ATM2`: for a gid that is too long for that, all of it in binary over both. */
const PACKED = 0x41544d32;

const PART_BYTES = 64;
/** Of SHA-256: enough to tell the databases of one server apart. */
const HASH_BYTES = 8;
const ID_BYTES = 8;
const RUN_BYTES = 3;
const HEAD_BYTES = HASH_BYTES + RUN_BYTES + ID_BYTES;

/** The characters of a gid (src/contract/transaction.ts), which are digits of a number where it is packed. */
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:{}-';
const BASE = BigInt(DIGITS.length);

/**
 * A name that no other XA branch has. `id`: of `newId`. Two databases of one server, and two services that share one, differ by the
 * hash of `<service>/<database>`.
 */
export function xidOf({ gid, resource }: Pick<UndoBranch, 'gid' | 'resource'>, id: string): Xid {
  const [database = '', run = '0'] = resource.split('#');
  const hash = hashOf(database);
  if (gid.length <= PART_BYTES) {
    const bqual = `${hash.toString('hex')}_${run}_${id}`;
    return { formatId: PLAIN, gtrid: Buffer.from(gid, 'ascii'), bqual: Buffer.from(bqual, 'ascii') };
  }
  const head = Buffer.concat([hash, Buffer.alloc(RUN_BYTES), Buffer.from(id, 'hex')], HEAD_BYTES);
  head.writeUIntBE(Number(run), HASH_BYTES, RUN_BYTES);
  const packed = pack(gid);
  // What does not fit behind the head goes ahead: gtrid is never empty, for a long gid has more digits than bqual has room.
  const cut = packed.length - (PART_BYTES - HEAD_BYTES);
  return { formatId: PACKED, gtrid: packed.subarray(0, cut), bqual: Buffer.concat([head, packed.subarray(cut)]) };
}

/** Reads a name; undefined when it is not one of ours for this database, which is then never touched. */
export function readXid(database: string, { formatId, gtrid, bqual }: Xid): XidMeaning | undefined {
  const hash = hashOf(database);
  if (formatId === PLAIN) {
    const [, found, run = '', ...more] = PLAIN_BQUAL.exec(bqual.toString('latin1')) ?? [];
    if (found !== hash.toString('hex') || more.length > 0) return undefined;
    return meaningOf(database, gtrid.toString('latin1'), Number(run));
  }
  if (formatId !== PACKED || bqual.length !== PART_BYTES || !bqual.subarray(0, HASH_BYTES).equals(hash)) {
    return undefined;
  }
  const text = unpack(Buffer.concat([gtrid, bqual.subarray(HEAD_BYTES)]));
  if (text.length <= PART_BYTES) return undefined;
  return meaningOf(database, text, bqual.readUIntBE(HASH_BYTES, RUN_BYTES));
}

const PLAIN_BQUAL = /^([0-9a-f]{16})_(0|[1-9][0-9]{0,5})_[0-9a-f]{16}$/;
const RUN_MAX = 999_999;

function meaningOf(database: string, text: string, run: number): XidMeaning | undefined {
  const gid = parseGid(text);
  if (gid === undefined || run > RUN_MAX) return undefined;
  return { gid, resource: resourceOf(database, run === 0 ? undefined : run) };
}

/** The name in an XA statement. In hexadecimal, so that neither quotes nor character sets matter. */
export function xidSql({ formatId, gtrid, bqual }: Xid): string {
  return `X'${gtrid.toString('hex')}',X'${bqual.toString('hex')}',${formatId}`;
}

function hashOf(database: string): Buffer {
  return createHash('sha256').update(database).digest().subarray(0, HASH_BYTES);
}

/** The text as one number, with a 1 in front so that no first digit is lost: 98 bytes for the longest gid. */
function pack(text: string): Buffer {
  let number = 1n;
  for (const character of text) number = number * BASE + BigInt(DIGITS.indexOf(character));
  const hex = number.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}

/** The text of such a number; one that stands for none has another length, or is empty. */
function unpack(bytes: Buffer): string {
  let number = BigInt(`0x0${bytes.toString('hex')}`);
  let text = '';
  for (; number > 1n; number /= BASE) text = (DIGITS[Number(number % BASE)] ?? '') + text;
  return text;
}
