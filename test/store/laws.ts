/** The laws of `Store` and `Records` (src/runner/ports.ts), run against every implementation. */
import type { ExecutionContext, TestFn } from 'ava';
import type { BranchId, BranchStatus, Gid, Instant } from '../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import type { Lease, Records, Store, Stored } from '../../src/runner/ports.ts';
import { listLaws } from './list-laws.ts';
import { recordLaws } from './record-laws.ts';
import { transactionOf } from './sample.ts';

/** A store of its own for one test. `reopen` ends the store as a restart of the process does and opens it again. */
export interface OpenedStore {
  readonly store: Store & Records;
  readonly reopen?: () => Promise<Store & Records>;
  readonly close: () => Promise<void>;
}

const gid = (text: string): Gid => text as Gid;
const instant = (value: number): Instant => value as Instant;
const lease = (owner: string, until: number): Lease => ({ owner, until: instant(until) });
const gidsOf = (stored: readonly Stored[]): readonly string[] => stored.map(({ transaction }) => transaction.gid);
const isStored = (claimed: Stored | 'held' | 'unknown' | undefined): claimed is Stored => typeof claimed === 'object';

/** Everything that a transaction can carry. */
const RICH: Partial<GlobalTransaction> = {
  status: 'aborting',
  reason: 'paid "twice" – naïve, 金, \u{1f4b8}, back\\slash',
  initiator: 'orders POST /orders',
  branches: [
    {
      id: '01' as BranchId,
      sequence: 1,
      kind: 'undo',
      resource: 'orders/orders',
      operations: { commit: ['http://a/commit', 'http://b/commit'], rollback: ['http://a/rollback'] },
      status: 'prepared',
      attempts: 3,
      notBefore: instant(2000),
      lastError: 'connect ECONNREFUSED',
    },
  ],
};

/** Declares one test for each law. */
export function storeLaws(test: TestFn, name: string, open: () => Promise<OpenedStore>): void {
  const law = (title: string, check: (t: ExecutionContext, store: Store & Records) => Promise<void>): void => {
    test(`${name}: ${title}`, async (t) => {
      const { store, close } = await open();
      try {
        await check(t, store);
      } finally {
        await close();
      }
    });
  };
  insertLaws(law);
  saveLaws(law);
  claimLaws(law);
  claimManyLaws(law);
  leaseLaws(law);
  listLaws(law);
  retentionLaws(law);
  recordLaws(law);
  durabilityLaws(test, name, open);
}

/** Declares one law. */
export type Law = (title: string, check: (t: ExecutionContext, store: Store & Records) => Promise<void>) => void;

function insertLaws(law: Law): void {
  law('what is inserted is read back equal, at version 1', async (t, store) => {
    const transaction = transactionOf(gid('g'), RICH);
    t.is(await store.insert(transaction, lease('a', 5000)), 'inserted');
    t.deepEqual(await store.read(gid('g')), { transaction, version: 1 });
  });

  law('a gid is inserted once; the second insert answers exists and changes nothing', async (t, store) => {
    const transaction = transactionOf(gid('g'));
    await store.insert(transaction, lease('a', 5000));
    t.is(await store.insert(transactionOf(gid('g'), { requestHash: 'other' }), lease('b', 9000)), 'exists');
    t.deepEqual(await store.read(gid('g')), { transaction, version: 1 });
    t.is(await store.save(transaction, 1, lease('a', 5000), undefined, 'now'), 'saved');
  });

  law('of many concurrent inserts of one gid exactly one wins', async (t, store) => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => store.insert(transactionOf(gid('g')), lease(`owner ${index}`, 5000))),
    );
    t.is(answers.filter((answer) => answer === 'inserted').length, 1);
  });

  law('a gid that nobody inserted is unknown to every verb', async (t, store) => {
    t.is(await store.read(gid('g')), undefined);
    t.is(await store.save(transactionOf(gid('g')), 1, lease('a', 5000), undefined, 'now'), 'conflict');
    t.is(await store.claim(gid('g'), instant(0), lease('a', 5000)), 'unknown');
    t.deepEqual(await store.renew([gid('g')], lease('a', 5000)), [gid('g')]);
  });

  law('gids that differ in case only are different', async (t, store) => {
    t.is(await store.insert(transactionOf(gid('abc')), lease('a', 5000)), 'inserted');
    t.is(await store.insert(transactionOf(gid('ABC')), lease('a', 5000)), 'inserted');
    t.is((await store.read(gid('ABC')))?.transaction.gid, gid('ABC'));
  });
}

function saveLaws(law: Law): void {
  law('a save replaces everything and raises the version by one', async (t, store) => {
    await store.insert(transactionOf(gid('g'), RICH), lease('a', 5000));
    const next = transactionOf(gid('g'), { status: 'submitted' });
    t.is(await store.save(next, 1, lease('a', 5000), instant(1), 'now'), 'saved');
    t.deepEqual(await store.read(gid('g')), { transaction: next, version: 2 });
    t.is(await store.save(next, 2, lease('a', 5000), instant(1), 'soon'), 'saved');
    t.is((await store.read(gid('g')))?.version, 3);
  });

  law('a save with another version than the stored one is a conflict and changes nothing', async (t, store) => {
    const transaction = transactionOf(gid('g'));
    await store.insert(transaction, lease('a', 5000));
    for (const version of [0, 2]) {
      const next = transactionOf(gid('g'), { status: 'submitted' });
      t.is(await store.save(next, version, lease('a', 5000), undefined, 'now'), 'conflict');
    }
    t.deepEqual(await store.read(gid('g')), { transaction, version: 1 });
  });

  law('a save by somebody who is not the owner is a conflict, whatever the version', async (t, store) => {
    const transaction = transactionOf(gid('g'));
    await store.insert(transaction, lease('a', 5000));
    t.is(await store.save(transaction, 1, lease('b', 9000), undefined, 'now'), 'conflict');
    t.deepEqual(await store.read(gid('g')), { transaction, version: 1 });
  });

  law('of concurrent saves of one version exactly one wins', async (t, store) => {
    await store.insert(transactionOf(gid('g')), lease('a', 5000));
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        store.save(transactionOf(gid('g'), { reason: `${index}` }), 1, lease('a', 5000), undefined, 'now'),
      ),
    );
    t.is(answers.filter((answer) => answer === 'saved').length, 1);
    t.is((await store.read(gid('g')))?.version, 2);
  });

  law('writes to one gid take effect in the order of the calls, of both durabilities', async (t, store) => {
    await store.insert(transactionOf(gid('g')), lease('a', 5000));
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        store.save(
          transactionOf(gid('g'), { reason: `${index}` }),
          index + 1,
          lease('a', 5000),
          instant(1),
          index % 3 === 0 ? 'now' : 'soon',
        ),
      ),
    );
    t.true(answers.every((answer) => answer === 'saved'));
    t.like(await store.read(gid('g')), { version: 31, transaction: { reason: '29' } });
  });
}

function claimLaws(law: Law): void {
  law('an inserted transaction is due at its deadline, a saved one at the instant given', async (t, store) => {
    await store.insert(transactionOf(gid('new'), { deadline: instant(100) }), lease('a', 0));
    await store.insert(transactionOf(gid('saved'), { deadline: instant(100) }), lease('a', 0));
    await store.save(transactionOf(gid('saved')), 1, lease('a', 0), instant(50), 'now');
    t.deepEqual(gidsOf(await store.claimDue(instant(49), lease('b', 0), 10)), []);
    t.deepEqual(gidsOf(await store.claimDue(instant(50), lease('b', 0), 10)), ['saved']);
    t.deepEqual(gidsOf(await store.claimDue(instant(99), lease('b', 0), 10)), ['saved']);
    t.deepEqual(gidsOf(await store.claimDue(instant(100), lease('b', 0), 10)), ['saved', 'new']);
  });

  law('one that never wants to be woken is not due, and can still be claimed by its gid', async (t, store) => {
    await store.insert(transactionOf(gid('g'), { deadline: instant(1) }), lease('a', 5));
    await store.save(transactionOf(gid('g')), 1, lease('a', 5), undefined, 'now');
    t.deepEqual(await store.claimDue(instant(1_000_000), lease('b', 2_000_000), 10), []);
    t.true(isStored(await store.claim(gid('g'), instant(1_000_000), lease('b', 2_000_000))));
  });

  law('another owner claims only after the lease has passed; the owner itself at any time', async (t, store) => {
    await store.insert(transactionOf(gid('g'), { deadline: instant(1) }), lease('a', 5000));
    t.deepEqual(await store.claimDue(instant(4999), lease('b', 9000), 10), []);
    t.is(await store.claim(gid('g'), instant(4999), lease('b', 9000)), 'held');
    t.deepEqual(gidsOf(await store.claimDue(instant(4999), lease('a', 5000), 10)), ['g']);
    t.true(isStored(await store.claim(gid('g'), instant(4999), lease('a', 5000))));
    t.deepEqual(gidsOf(await store.claimDue(instant(5001), lease('b', 9000), 10)), ['g']);
    t.is(await store.claim(gid('g'), instant(5001), lease('a', 9000)), 'held');
  });

  law('the owner may pass over what it holds by a lease that ends late enough', async (t, store) => {
    await store.insert(transactionOf(gid('early'), { deadline: instant(1) }), lease('a', 5000));
    await store.insert(transactionOf(gid('late'), { deadline: instant(1) }), lease('a', 6000));
    await store.insert(transactionOf(gid('other'), { deadline: instant(1) }), lease('b', 5000));
    t.deepEqual(gidsOf(await store.claimDue(instant(100), lease('a', 7000), 10, instant(5999))), ['early']);
    t.deepEqual(gidsOf(await store.claimDue(instant(100), lease('a', 7000), 10, instant(5999))), []);
    t.deepEqual(gidsOf(await store.claimDue(instant(6000), lease('a', 9000), 10, instant(0))).toSorted(), [
      'late',
      'other',
    ]);
  });

  law('a lease that was given up is of nobody', async (t, store) => {
    await store.insert(transactionOf(gid('g'), { deadline: instant(1) }), lease('a', 5000));
    t.deepEqual(await store.renew([gid('g')], lease('a', 0)), []);
    t.deepEqual(gidsOf(await store.claimDue(instant(100), lease('b', 7000), 10)), ['g']);
  });

  law(
    'after a claim the old owner writes nothing and the new one does, at the version it was given',
    async (t, store) => {
      await store.insert(transactionOf(gid('g'), { deadline: instant(1) }), lease('a', 5000));
      const [claimed] = await store.claimDue(instant(6000), lease('b', 9000), 10);
      t.is(claimed?.version, 1);
      t.is(
        await store.save(transactionOf(gid('g'), { reason: 'a' }), 1, lease('a', 9000), undefined, 'now'),
        'conflict',
      );
      t.is(await store.save(transactionOf(gid('g'), { reason: 'b' }), 1, lease('b', 9000), undefined, 'now'), 'saved');
      t.is((await store.read(gid('g')))?.transaction.reason, 'b');
    },
  );
}

function claimManyLaws(law: Law): void {
  law('claims keep the limit and take the oldest due first', async (t, store) => {
    for (const [index, dueAt] of [30, 10, 50, 20, 40].entries()) {
      await store.insert(transactionOf(gid(`g${index}`), { deadline: instant(dueAt) }), lease('a', 0));
    }
    t.deepEqual(gidsOf(await store.claimDue(instant(100), lease('b', 1000), 2)), ['g1', 'g3']);
    t.deepEqual(gidsOf(await store.claimDue(instant(100), lease('c', 1000), 10)), ['g0', 'g4', 'g2']);
    t.deepEqual(await store.claimDue(instant(100), lease('d', 1000), 10), []);
  });

  law('owners that claim at the same time never get the same transaction', async (t, store) => {
    const all = Array.from({ length: 60 }, (_, index) => `g${index}`);
    for (const each of all) await store.insert(transactionOf(gid(each), { deadline: instant(1) }), lease('x', 0));
    const claims = await Promise.all(
      ['a', 'b', 'c', 'd'].flatMap((owner) => [
        store.claimDue(instant(10), lease(owner, 1000), 17).then(gidsOf),
        store.claim(gid('g59'), instant(10), lease(owner, 1000)).then((one) => (isStored(one) ? [owner] : [])),
      ]),
    );
    const batches = claims.filter((_, index) => index % 2 === 0);
    t.is(new Set(batches.flat()).size, batches.flat().length);
    const takers = new Set(claims.filter((_, index) => index % 2 === 1).flat());
    const batchTaker = batches.findIndex((batch) => batch.includes('g59'));
    if (batchTaker >= 0) takers.add('abcd'.charAt(batchTaker));
    t.true(takers.size <= 1, 'one taker, by whichever verb');
  });

  law('a finished transaction is never claimed', async (t, store) => {
    await store.insert(transactionOf(gid('g')), lease('a', 0));
    const over = transactionOf(gid('g'), { status: 'succeed', finishedAt: instant(5) });
    await store.save(over, 1, lease('a', 0), instant(1), 'now');
    t.deepEqual(await store.claimDue(instant(1_000_000), lease('a', 2_000_000), 10), []);
    t.is(await store.claim(gid('g'), instant(1_000_000), lease('a', 2_000_000)), 'held');
    t.deepEqual(await store.read(gid('g')), { transaction: over, version: 2 });
  });
}

function leaseLaws(law: Law): void {
  law('renewing moves the leases of what is owned, and answers what is lost', async (t, store) => {
    for (const each of ['g1', 'g2', 'g3']) {
      await store.insert(transactionOf(gid(each), { deadline: instant(1) }), lease('a', 1000));
    }
    await store.claim(gid('g2'), instant(1500), lease('b', 9000));
    t.deepEqual(await store.renew([gid('g1'), gid('g2')], lease('a', 3000)), [gid('g2')]);
    t.is(await store.claim(gid('g1'), instant(2000), lease('c', 9000)), 'held');
    t.true(isStored(await store.claim(gid('g3'), instant(2000), lease('c', 9000))));
    t.is(await store.claim(gid('g2'), instant(2000), lease('c', 9000)), 'held');
  });

  law('a save moves the lease, too', async (t, store) => {
    await store.insert(transactionOf(gid('g')), lease('a', 1000));
    await store.save(transactionOf(gid('g')), 1, lease('a', 3000), undefined, 'soon');
    t.is(await store.claim(gid('g'), instant(2000), lease('b', 9000)), 'held');
  });

  law('any number may be renewed at once', async (t, store) => {
    const owned = Array.from({ length: 2500 }, (_, index) => gid(`g${index}`));
    await Promise.all(owned.map((one) => store.insert(transactionOf(one), lease('a', 100))));
    await store.claim(gid('g2400'), instant(100), lease('b', 300));
    t.deepEqual(await store.renew([...owned, gid('none')], lease('a', 200)), ['g2400', 'none']);
    t.is(await store.claim(gid('g7'), instant(199), lease('b', 300)), 'held');
    t.true(isStored(await store.claim(gid('g2499'), instant(200), lease('b', 300))));
  });

  law('renewing nothing loses nothing', async (t, store) => {
    t.deepEqual(await store.renew([], lease('a', 1000)), []);
  });
}

function retentionLaws(law: Law): void {
  law(
    'deletes finished transactions that ended before the instant, within the limit, and never an unfinished one',
    async (t, store) => {
      for (const [each, finishedAt] of [
        ['old1', 10],
        ['old2', 20],
        ['old3', 30],
        ['new', 100],
      ] as const) {
        await store.insert(transactionOf(gid(each)), lease('a', 1000));
        const over = transactionOf(gid(each), { status: 'failed', finishedAt: instant(finishedAt) });
        await store.save(over, 1, lease('a', 1000), undefined, 'now');
      }
      await store.insert(transactionOf(gid('open'), { createdAt: instant(1), deadline: instant(2) }), lease('a', 0));
      t.is(await store.deleteFinished(instant(100), 2), 2);
      t.is(await store.deleteFinished(instant(100), 2), 1);
      t.is(await store.deleteFinished(instant(100), 2), 0);
      t.deepEqual(gidsOf(await store.list({ limit: 10 })), ['new', 'open']);
    },
  );
  law(
    'one that was stopped on its way to commit, with a branch that may be prepared still, is never cleared away',
    async (t, store) => {
      const at = instant(10);
      const over = { status: 'failed', finishedAt: at } as const;
      const branches = (status: BranchStatus): GlobalTransaction['branches'] =>
        (RICH.branches ?? []).map((branch) => ({ ...branch, status }));
      for (const [each, change] of [
        ['kept', { ...over, stoppedFrom: 'submitted', branches: branches('prepared') }],
        ['committed', { ...over, stoppedFrom: 'submitted', branches: branches('succeed') }],
        ['undecided', { ...over, stoppedFrom: 'prepared', branches: branches('prepared') }],
        ['rolled-back', { ...over, branches: branches('prepared') }],
      ] as const) {
        await store.insert(transactionOf(gid(each)), lease('a', 1000));
        await store.save(transactionOf(gid(each), change), 1, lease('a', 1000), undefined, 'now');
      }
      t.is(await store.deleteFinished(instant(Date.UTC(2200, 0)), 10), 3);
      t.deepEqual(gidsOf(await store.list({ status: 'failed', limit: 10 })), ['kept']);
      t.is((await store.read(gid('kept')))?.transaction.finishedAt, at);
      t.is(await store.claim(gid('kept'), instant(5000), lease('b', 9000)), 'held');
      t.deepEqual(await store.claimDue(instant(5000), lease('b', 9000), 10), []);
    },
  );
}

function durabilityLaws(test: TestFn, name: string, open: () => Promise<OpenedStore>): void {
  test(`${name}: what was answered is there after a restart, with owner, lease and due instant`, async (t) => {
    const { store, reopen, close } = await open();
    try {
      if (reopen === undefined) {
        t.pass('this store promises nothing over a restart');
        return;
      }
      const begun = transactionOf(gid('begun'), { ...RICH, status: 'prepared', deadline: instant(40) });
      const saved = transactionOf(gid('saved'), RICH);
      await store.insert(begun, lease('a', 5000));
      await store.insert(transactionOf(gid('saved')), lease('a', 5000));
      await store.save(saved, 1, lease('a', 6000), instant(30), 'now');
      await store.saveRecord({ category: 'topic', key: 'k', value: 'kept' }, 0, instant(7));
      const again = await reopen();
      t.like(await again.readRecord('topic', 'k'), { value: 'kept', version: 1, createdAt: 7 });
      t.deepEqual(await again.read(gid('begun')), { transaction: begun, version: 1 });
      t.deepEqual(await again.read(gid('saved')), { transaction: saved, version: 2 });
      t.is(await again.claim(gid('saved'), instant(5500), lease('b', 9000)), 'held');
      t.deepEqual(gidsOf(await again.claimDue(instant(40), lease('a', 7000), 10)), ['saved', 'begun']);
      t.is(await again.save(saved, 2, lease('a', 7000), undefined, 'now'), 'saved');
    } finally {
      await close();
    }
  });
}
