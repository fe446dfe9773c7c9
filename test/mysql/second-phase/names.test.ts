import test from 'ava';
import fc from 'fast-check';
import { readXid, xidOf, xidSql, type Xid } from '../../../proxy/mysql/xa/names.ts';
import { xaFailure, xaRecover, xidOfRow } from '../../../proxy/mysql/xa/statements.ts';
import { resourceOf } from '../../../proxy/sql/work.ts';
import type { Gid } from '../../../src/contract/transaction.ts';

const gids = fc.stringMatching(/^[A-Za-z0-9._:{}-]{1,128}$/).map((text) => text as Gid);
/** Those around the length at which a name takes another form, and the longest. */
const longGids = fc
  .integer({ min: 60, max: 128 })
  .chain((length) => fc.stringMatching(new RegExp(`^[A-Za-z0-9._:{}-]{${length}}$`)))
  .map((text) => text as Gid);
const anyGid = fc.oneof(gids, longGids, fc.constantFrom('A'.repeat(128) as Gid, '-'.repeat(128) as Gid));
const runs = fc.option(fc.integer({ min: 1, max: 999_999 }), { nil: undefined });
const ids = fc.stringMatching(/^[0-9a-f]{16}$/);
const databases = fc.constantFrom('shop/db', 'shop/other', 'bank/db');

const textOf = (xid: Xid): string => xidSql(xid);

test('a name fits, says whose it is, and says it to nobody else', (t) => {
  fc.assert(
    fc.property(anyGid, runs, ids, databases, (gid, run, id, database) => {
      const resource = resourceOf(database, run);
      const xid = xidOf({ gid, resource }, id);
      t.true(xid.gtrid.length >= 1 && xid.gtrid.length <= 64);
      t.true(xid.bqual.length >= 1 && xid.bqual.length <= 64);
      t.deepEqual(readXid(database, xid), { gid, resource });
      t.is(readXid(`${database}2`, xid), undefined);
    }),
  );
});

test('no two branches and no two local transactions have the same name', (t) => {
  const branches = fc.record({ gid: anyGid, run: runs, id: ids, database: databases });
  fc.assert(
    fc.property(branches, branches, (a, b) => {
      const name = ({ gid, run, id, database }: typeof a): string =>
        textOf(xidOf({ gid, resource: resourceOf(database, run) }, id));
      t.is(name(a) === name(b), JSON.stringify(a) === JSON.stringify(b));
    }),
  );
});

test('what servers list is read in every form that they write, and gives the same name', (t) => {
  fc.assert(
    fc.property(anyGid, ids, (gid, id) => {
      const xid = xidOf({ gid, resource: 'shop/db' }, id);
      const { formatId: formatID, gtrid, bqual } = xid;
      const lengths = { formatID, gtrid_length: gtrid.length, bqual_length: String(bqual.length) };
      const forms = [`0x${Buffer.concat([gtrid, bqual]).toString('hex').toUpperCase()}`, xidSql(xid)];
      for (const data of forms) t.deepEqual(xidOfRow({ ...lengths, data }), xid);
      // MariaDB, where all bytes are printable.
      if (gid.length <= 64)
        t.deepEqual(xidOfRow({ ...lengths, data: `'${gid}','${bqual.toString()}',${formatID}` }), xid);
    }),
  );
});

test('names of others are never taken for ours', (t) => {
  const bytes = fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from(array));
  const formats = fc.constantFrom(0, 1, 0x41544d31, 0x41544d32);
  fc.assert(
    fc.property(formats, bytes, bytes, (formatId, gtrid, bqual) => {
      t.is(readXid('shop/db', { formatId, gtrid, bqual }), undefined);
    }),
  );
  const ours = xidOf({ gid: 'g' as Gid, resource: 'shop/db' }, '0123456789abcdef');
  for (const bqual of [
    '_0_0123456789abcdeX',
    '_01_0123456789abcdef',
    '_1000000_0123456789abcdef',
    '_0_0123456789abcdef_',
  ]) {
    const changed = Buffer.concat([ours.bqual.subarray(0, 16), Buffer.from(bqual)]);
    t.is(readXid('shop/db', { ...ours, bqual: changed }), undefined, bqual);
  }
  t.is(readXid('shop/db', { ...ours, gtrid: Buffer.from("g'") }), undefined);
  for (const data of ['', '0x', '0x0', 'gtrid', "X'67',X'0',1", "'it\\'s','',1"]) {
    t.is(xidOfRow({ formatID: 1, gtrid_length: 2, bqual_length: 3, data }), undefined, data);
  }
});

test('an error of XA COMMIT says whether it is over, later, or a matter for a person', (t) => {
  t.deepEqual([1397, 1402, 1614, 1205, 1213, 3197, 1399, 1401, 1064].map(xaFailure), [
    'unknown-here',
    'rolled-back',
    'rolled-back',
    'busy',
    'busy',
    'busy',
    'failed',
    'failed',
    'failed',
  ]);
  t.is(xaRecover('mysql'), 'XA RECOVER CONVERT XID');
});
