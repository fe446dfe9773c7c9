import test from 'ava';
import { lockPage, type HeldLock, type LockName, type LockedDatabase } from '../../proxy/branch/lock-view.ts';
import { createLockList } from '../../proxy/postgres/locks/list.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';

const held = (relation: string, key: string, gid: string): HeldLock => ({
  row: { relation, key },
  gid: gid as Gid,
  resource: 'shop/db',
  table: relation,
  columns: [],
  values: [key],
  shared: false,
});

const text = ({ relation, key, gid, resource }: LockName): string => JSON.stringify([relation, key, gid, resource]);
const nameOf = (lock: HeldLock): LockName => ({ ...lock.row, gid: lock.gid, resource: lock.resource });

/** Has its locks in the order in which they are given. */
function database(name: string, all: readonly HeldLock[]): LockedDatabase {
  return {
    name,
    locks: ({ after, limit }) => {
      const from = after === undefined ? 0 : 1 + all.findIndex((lock) => text(nameOf(lock)) === text(after));
      return Promise.resolve(all.slice(from, from + limit));
    },
    waiting: () => [],
  };
}

test('pages go on where the last one ended, whatever relations are called', async (t) => {
  const databases = [
    database('a', [held('16384', '1', 'g'), held('16384', '2', 'g')]),
    database('b', []),
    database('c', [held('`shop`.`tä"😀`', '1', 'g'), held('`shop`.`tä"😀`', '1', 'h'), held('#0f', '', 'h')]),
  ];
  const all = await lockPage(databases, '');
  t.is(all.locks.length, 5);
  for (const limit of [1, 2, 3, 4, 5]) {
    const found: unknown[] = [];
    let after = '';
    do {
      const page = await lockPage(databases, `limit=${limit}${after}`);
      found.push(...page.locks);
      after = page.next === undefined ? '' : `&after=${page.next}`;
    } while (after !== '');
    t.deepEqual(found, [...all.locks]);
  }
});

test('a cursor that is none is refused, and so is one whose relation the database cannot have', async (t) => {
  const list = createLockList({ host: '127.0.0.1', port: 1 }, openLog('test', 'silent'));
  t.teardown(() => list.close());
  const postgres: LockedDatabase = { ...database('a', []), locks: (query) => list.read(query) };
  const cursor = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  for (const value of [
    ['a', '`shop`.`t`', '1', 'g', 'r'],
    ['a', '-1', '1', 'g', 'r'],
    ['a', '1', '1', 'g'],
    ['a', 1, '1', 'g', 'r'],
    'a',
    null,
  ]) {
    const error = await t.throwsAsync(lockPage([postgres], `after=${cursor(value)}`), { instanceOf: CodedError });
    t.is(error?.code, 'BAD_REQUEST', JSON.stringify(value));
  }
});
