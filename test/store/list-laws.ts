/** What a store's `list` answers. */
import type { Gid, GlobalStatus, Instant, Mode } from '../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import type { Lease, ListFilter, Stored } from '../../src/runner/ports.ts';
import type { Law } from './laws.ts';
import { transactionOf } from './sample.ts';

const gid = (text: string): Gid => text as Gid;
const instant = (value: number): Instant => value as Instant;
const lease = (owner: string, until: number): Lease => ({ owner, until: instant(until) });
const gidsOf = (stored: readonly Stored[]): readonly string[] => stored.map(({ transaction }) => transaction.gid);

/** Declares one test for each law of lists. */
export function listLaws(law: Law): void {
  law('pages through all transactions in the order of gid, each once', async (t, store) => {
    const all = ['b', 'a', 'd', 'c', 'e'];
    for (const each of all) await store.insert(transactionOf(gid(each)), lease('a', 1000));
    const pages: string[][] = [];
    for (let after: string | undefined; ;) {
      const page = await store.list({ limit: 2, ...(after === undefined ? {} : { after }) });
      if (page.length === 0) break;
      pages.push([...gidsOf(page)]);
      after = page.at(-1)?.transaction.gid;
    }
    t.deepEqual(pages, [['a', 'b'], ['c', 'd'], ['e']]);
  });

  law('lists by status', async (t, store) => {
    const statuses: GlobalStatus[] = ['prepared', 'submitted', 'aborting', 'succeed', 'failed'];
    for (const status of statuses) {
      for (const number of [1, 2]) {
        const final = status === 'succeed' || status === 'failed' ? { finishedAt: instant(9) } : {};
        await store.insert(transactionOf(gid(`${status}${number}`)), lease('a', 1000));
        await store.save(
          transactionOf(gid(`${status}${number}`), { status, ...final }),
          1,
          lease('a', 1),
          undefined,
          'now',
        );
      }
    }
    for (const status of statuses) {
      t.deepEqual(gidsOf(await store.list({ status, limit: 10 })), [`${status}1`, `${status}2`]);
      t.deepEqual(gidsOf(await store.list({ status, limit: 10, after: `${status}1` })), [`${status}2`]);
    }
  });

  law(
    'lists by mode, by the time of begin and by when something is due, and all that is asked must hold',
    async (t, store) => {
      const rows = MODES.flatMap((mode) => [0, 1, 2, 3].map((number) => ({ mode, number })));
      for (const { mode, number } of rows) {
        const name = gid(`${number}${mode}`);
        const born: Partial<GlobalTransaction> = { mode, createdAt: instant(1000 + number) };
        await store.insert(transactionOf(name, { ...born, deadline: instant(5000) }), lease('a', 1000));
        const final: Partial<GlobalTransaction> = number === 3 ? { status: 'succeed', finishedAt: instant(9) } : {};
        const dueAt = number === 2 ? undefined : instant(2000 + number);
        if (number > 0) await store.save(transactionOf(name, { ...born, ...final }), 1, lease('a', 1), dueAt, 'now');
      }
      const expected = (wanted: (mode: Mode, number: number) => boolean): readonly string[] =>
        rows
          .filter(({ mode, number }) => wanted(mode, number))
          .map(({ mode, number }) => `${number}${mode}`)
          .toSorted();
      const lists = async (filter: Omit<ListFilter, 'limit'>, wanted: (mode: Mode, number: number) => boolean) =>
        t.deepEqual(gidsOf(await store.list({ ...filter, limit: 100 })), expected(wanted), JSON.stringify(filter));
      await lists({ mode: 'saga' }, (mode) => mode === 'saga');
      await lists({ createdFrom: instant(1002) }, (_, number) => number >= 2);
      await lists({ createdBefore: instant(1002) }, (_, number) => number < 2);
      await lists({ createdFrom: instant(1001), createdBefore: instant(1002) }, (_, number) => number === 1);
      // What finished is due never again, whatever was saved with it.
      await lists({ dueAfter: instant(2000) }, (_, number) => number < 2);
      await lists({ dueAfter: instant(2001) }, (_, number) => number === 0);
      await lists({ dueAfter: instant(2000), mode: 'tcc' }, (mode, number) => mode === 'tcc' && number < 2);
      await lists({ status: 'succeed', mode: 'xa' }, (mode, number) => mode === 'xa' && number === 3);
      await lists({ status: 'succeed', dueAfter: instant(0) }, () => false);
      await lists(
        { status: 'prepared', mode: 'msg', createdFrom: instant(1001), dueAfter: instant(0), after: '0' },
        (mode, number) => mode === 'msg' && number === 1,
      );
      const page = await store.list({ mode: 'saga', createdFrom: instant(1000), after: '0saga', limit: 2 });
      t.deepEqual(gidsOf(page), ['1saga', '2saga']);
    },
  );
}

const MODES: readonly Mode[] = ['mesh', 'saga', 'tcc', 'xa', 'msg', 'workflow'];
