/** The lines of those who wait for row locks, in a time of their own. */
import test from 'ava';
import { createLockHolders, type LockConflict } from '../../proxy/branch/lock-holders.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { TransactionView } from '../../src/contract/messages.ts';
import type { Gid, GlobalStatus } from '../../src/contract/transaction.ts';

// The timers of the sidecar keep no process alive.
const alive = setInterval(() => undefined, 1_000);
test.after.always(() => clearInterval(alive));

const gid = (text: string): Gid => text as Gid;
const FAR = (): number => Date.now() + 60_000;

/** A coordinator that knows the status of some gids, and how often it was asked. */
function setUp(statuses: Readonly<Record<string, GlobalStatus>> = {}) {
  const asked: string[] = [];
  const client = {
    read: async (id: Gid) => {
      asked.push(id);
      return { status: statuses[id] ?? 'prepared' } as TransactionView;
    },
  } as Partial<CoordinatorClient> as CoordinatorClient;
  return { holders: createLockHolders(client), asked };
}

function at(row: string, holder: string, keepsLocks = false, holdsLocks = false): LockConflict {
  return { holder: gid(holder), row: { relation: '7', key: row }, keepsLocks, holdsLocks };
}

test('only the first of a line looks again; the next one does when the first has the row or gives up', async (t) => {
  const { holders } = setUp();
  const [first, second, third] = ['a', 'b', 'c'].map((name) => holders.waiter(gid(name), FAR()));
  const events: string[] = [];
  const waits = [first, second, third].map(async (waiter, index) => {
    events.push(`${index} ${await waiter?.wait(at('1', 'h'))}`);
  });
  await waits[0];
  t.deepEqual(events, ['0 retry']);
  first?.end(true);
  await waits[1];
  t.deepEqual(events, ['0 retry', '1 retry']);
  t.deepEqual(
    holders.waiting().map((one) => [one.gid, one.holder]),
    [
      ['b', 'a'],
      ['c', 'a'],
    ].map(([one, holder]) => [gid(one ?? ''), gid(holder ?? '')]),
  );
  second?.end(false);
  await waits[2];
  third?.end(true);
  t.deepEqual(holders.waiting(), []);
});

test('whoever keeps locks hears at once that its holder is rolled back, wherever it stands in the line', async (t) => {
  const { holders } = setUp({ h: 'aborting' });
  const [first, second] = [holders.waiter(gid('a'), FAR()), holders.waiter(gid('b'), FAR())];
  const patient = first.wait(at('1', 'h'));
  t.is(await second.wait(at('1', 'h', true)), 'rolling-back');
  t.is(await patient, 'retry');
});

test('one that has locks in the database looks by itself: the first may wait there for it', async (t) => {
  const { holders } = setUp();
  const [first, second] = [holders.waiter(gid('a'), FAR()), holders.waiter(gid('b'), FAR())];
  const patient = first.wait(at('1', 'h'));
  t.is(await second.wait(at('1', 'h', false, true)), 'retry');
  t.is(await patient, 'retry');
  // The first is at its statement, which waits in the database for the second.
  t.is(await second.wait(at('1', 'h', false, true)), 'retry');
  second.end(true);
  first.end(true);
});

test('a holder that is committed gives way, a silent coordinator says nothing, and time runs out for everybody', async (t) => {
  t.is(await setUp({ h: 'submitted' }).holders.waiter(gid('a'), FAR()).wait(at('1', 'h')), 'committed');
  const silent = createLockHolders({
    read: () => Promise.reject(new Error('silent')),
  } as Partial<CoordinatorClient> as CoordinatorClient);
  t.is(await silent.waiter(gid('a'), FAR()).wait(at('1', 'h')), 'retry');
  const { holders } = setUp();
  const first = holders.waiter(gid('a'), Date.now() + 30);
  const second = holders.waiter(gid('b'), Date.now() + 30);
  const both = Promise.all([first.wait(at('1', 'h')), second.wait(at('1', 'h'))]);
  t.deepEqual(await both, ['retry', 'timeout']);
  while ((await first.wait(at('1', 'h'))) !== 'timeout');
  t.pass();
});

test('a circle is found when it closes, through any number of gids and of sessions, and by nobody who is outside it', async (t) => {
  const { holders } = setUp();
  const waiters = new Map<string, ReturnType<typeof holders.waiter>>();
  const wait = (from: string, row: string, to: string) => {
    const waiter = holders.waiter(gid(from), FAR());
    waiters.set(`${from}${row}`, waiter);
    return waiter.wait(at(row, to));
  };
  const open = [wait('a', '1', 'b'), wait('b', '2', 'c'), wait('b', '3', 'd'), wait('x', '9', 'b')];
  t.is(await wait('c', '4', 'a'), 'deadlock');
  waiters.get('c4')?.end(false);
  t.is(await wait('d', '5', 'e'), 'retry');
  for (const waiter of waiters.values()) waiter.end(false);
  await Promise.all(open);
  t.deepEqual(holders.waiting(), []);
});

test('one that has waited long comes before statements that have not begun, and others wait for it only a moment', async (t) => {
  const { holders } = setUp();
  const waiter = holders.waiter(gid('a'), FAR());
  const since = Date.now();
  t.is(await waiter.wait(at('1', 'h')), 'retry');
  holders.releasing(gid('h'));
  t.is(holders.turn([7]), undefined, 'it has not waited long');
  while (Date.now() - since < 250) await waiter.wait(at('1', 'h'));
  const looking = waiter.wait(at('1', 'h'));
  holders.releasing(gid('h'));
  t.is(holders.turn([8, '`shop`.`t`']), undefined, 'of another table');
  t.truthy(holders.turn(['7']), 'relations may be names');
  const kept = holders.turn([7]);
  t.truthy(kept);
  holders.released(gid('h'));
  t.is(await looking, 'retry');
  waiter.end(true);
  await kept;
  t.is(holders.turn([7]), undefined);
  const next = holders.waiter(gid('b'), FAR());
  const start = Date.now();
  while (Date.now() - start < 250) await next.wait(at('1', 'h'));
  const silent = next.wait(at('1', 'h'));
  holders.releasing(gid('h'));
  await holders.turn([7]);
  t.true(Date.now() - start < 5_000, 'though it has not ended');
  await silent;
  next.end(false);
});
