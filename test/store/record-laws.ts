/** The laws of `Records`. */
import type { Instant } from '../../src/contract/transaction.ts';
import type { Law } from './laws.ts';

const instant = (value: number): Instant => value as Instant;

/** Declares one test for each law of records. */
export function recordLaws(law: Law): void {
  law('a record is added once, replaced at its version only, and keeps the time of its birth', async (t, store) => {
    const record = { category: 'topic', key: 'orders – 金', value: '["http://a"]' };
    t.is(await store.readRecord('topic', record.key), undefined);
    t.is(await store.saveRecord(record, 1, instant(5)), 'conflict', 'there is none to replace');
    t.is(await store.saveRecord(record, 0, instant(10)), 'saved');
    t.is(await store.saveRecord({ ...record, value: 'other' }, 0, instant(11)), 'conflict');
    t.deepEqual(await store.readRecord('topic', record.key), {
      ...record,
      version: 1,
      createdAt: instant(10),
      updatedAt: instant(10),
    });
    t.is(await store.saveRecord({ ...record, value: '[]' }, 1, instant(20)), 'saved');
    t.is(await store.saveRecord({ ...record, value: 'late' }, 1, instant(30)), 'conflict');
    t.deepEqual(await store.readRecord('topic', record.key), {
      ...record,
      value: '[]',
      version: 2,
      createdAt: instant(10),
      updatedAt: instant(20),
    });
  });

  law('of concurrent changes of one record exactly one wins', async (t, store) => {
    const change = (version: number) =>
      Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          store.saveRecord({ category: 'c', key: 'k', value: `${index}` }, version, instant(1)),
        ),
      );
    for (const version of [0, 1]) {
      t.is((await change(version)).filter((answer) => answer === 'saved').length, 1);
    }
    t.is((await store.readRecord('c', 'k'))?.version, 2);
  });

  law('a record that was deleted is gone, and may be added again', async (t, store) => {
    const record = { category: 'c', key: 'k', value: 'v' };
    t.false(await store.deleteRecord('c', 'k'));
    await store.saveRecord(record, 0, instant(1));
    t.true(await store.deleteRecord('c', 'k'));
    t.is(await store.readRecord('c', 'k'), undefined);
    t.is(await store.saveRecord(record, 0, instant(2)), 'saved');
    t.like(await store.readRecord('c', 'k'), { version: 1, createdAt: instant(2) });
  });

  law('lists the records of a category in the order of their keys, page by page', async (t, store) => {
    for (const key of ['b', 'a', 'D', 'c']) {
      await store.saveRecord({ category: 'c', key, value: key }, 0, instant(1));
      await store.saveRecord({ category: 'other', key, value: key }, 0, instant(1));
    }
    const keysAfter = async (after: string, limit: number) =>
      (await store.listRecords('c', after, limit)).map(({ category, key }) => `${category} ${key}`);
    t.deepEqual(await keysAfter('', 3), ['c D', 'c a', 'c b']);
    t.deepEqual(await keysAfter('b', 3), ['c c']);
    t.deepEqual(await keysAfter('c', 3), []);
  });
}
