import test from 'ava';
import fc from 'fast-check';
import type { Gid } from '../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import type { ListFilter } from '../../src/runner/ports.ts';
import type { Outcome } from '../../src/runner/runner.ts';
import { pageOf } from '../../src/runner/view.ts';
import { startTestCoordinator } from '../coordinator/started.ts';

/** A list of `count` transactions that remembers how many it was asked for at once. */
function listOf(count: number): {
  readonly list: (filter: ListFilter) => Promise<Outcome<readonly GlobalTransaction[]>>;
  readonly limits: number[];
} {
  const gids = Array.from({ length: count }, (_, index) => String(index).padStart(4, '0'));
  const limits: number[] = [];
  return {
    limits,
    list: ({ after = '', limit }) => {
      limits.push(limit);
      const page = gids.filter((gid) => gid > after).slice(0, limit);
      return Promise.resolve({ ok: true, value: page.map((gid) => ({ gid: gid as Gid }) as GlobalTransaction) });
    },
  };
}

const SEED = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

test('page by page everything is listed once and in order, and few transactions are held at once', async (t) => {
  t.log(`SEED=${SEED}`);
  const cases = fc.tuple(fc.nat(90), fc.integer({ min: 1, max: 60 }), fc.constantFrom(1, 1_000_000, 9_000_000));
  const property = fc.asyncProperty(cases, async ([count, limit, characters]) => {
    const { list, limits } = listOf(count);
    const text = { length: characters, toJSON: () => 'x'.repeat(characters) };
    const seen: string[] = [];
    let after: Gid | undefined;
    let pages = 0;
    do {
      const page = await pageOf(list, { limit, ...(after === undefined ? {} : { after }) }, ({ gid }) => ({
        gid,
        text,
      }));
      if (!page.ok) throw page.error;
      seen.push(...page.value.views.map(({ gid }) => gid));
      if (page.value.views.length > limit) throw new Error(`a page of ${page.value.views.length}`);
      if (characters > 1 && page.value.views.length > 10) throw new Error('a page that is too large to send');
      after = page.value.next;
      pages += 1;
    } while (after !== undefined && pages <= count);
    t.deepEqual(seen, seen.toSorted());
    t.is(seen.length, count);
    t.true(Math.max(...limits) <= 20);
  });
  await fc.assert(property, { seed: SEED, numRuns: 30, endOnFailure: true });
});

test('a page of large transactions ends early and says where the next one begins', async (t) => {
  await using coordinator = await startTestCoordinator();
  const custom = JSON.stringify({ note: 'x'.repeat(900_000) });
  for (let n = 10; n < 22; n += 1) {
    const saga = { gid: `g${n}`, trans_type: 'saga', steps: [], payloads: [], custom_data: custom };
    await coordinator.ask('POST', '/api/dtmsvr/submit', saga);
  }
  const gids: string[] = [];
  let position = '';
  let pages = 0;
  do {
    const { body } = await coordinator.ask('GET', `/api/dtmsvr/all?limit=1000&position=${position}`);
    const answer = JSON.parse(body) as { transactions: { gid: string }[]; next_position: string };
    gids.push(...answer.transactions.map(({ gid }) => gid));
    position = answer.next_position;
    pages += 1;
  } while (position !== '');
  t.is(pages, 2);
  t.deepEqual(
    gids,
    Array.from({ length: 12 }, (_, index) => `g${index + 10}`),
  );
});
