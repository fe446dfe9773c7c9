import test from 'ava';
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { storeLaws } from './laws.ts';
import { transactionOf } from './sample.ts';

storeLaws(test, 'memory', async () => {
  const store = openMemoryStore();
  return { store, close: () => store.close() };
});

test('what comes out of the memory store cannot be changed by whoever holds it', async (t) => {
  const store = openMemoryStore();
  await store.insert(transactionOf('g' as Gid), { owner: 'a', until: 0 as Instant });
  const stored = await store.read('g' as Gid);
  t.throws(() => Object.assign(stored ?? {}, { version: 9 }));
  t.throws(() => Object.assign(stored?.transaction ?? {}, { status: 'failed' }));
  t.throws(() => Object.assign(stored?.transaction.branches ?? {}, { 0: 'x' }));
});
