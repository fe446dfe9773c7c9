import test from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { now } from '../../src/platform/clock.ts';
import { decide, faultsOf, openCluster, startParticipant, statusOf, takeOverMs } from './cluster.ts';
import { startCuttable } from './cuttable.ts';

const LEASE_MS = 1500;
/** How long after the end of the lease a transaction is taken over, at most. */
const TAKE_OVER_MS = 1000;
const HELD = { delayMs: 60_000, status: 200 };
const WELL = { delayMs: 0, status: 200 };

let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
});
test.after.always(() => server[Symbol.asyncDispose]());

function gids(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
}

test.serial(
  'of a coordinator that is killed, another takes everything over within the lease and a second',
  async (t) => {
    await using cluster = await openCluster(server, LEASE_MS);
    await using participant = await startParticipant(HELD);
    const [first, second] = [await cluster.add('first'), await cluster.add('second')];
    await Promise.all([first.process.start(), second.process.start()]);
    const committed = gids('commit', 20);
    const aborted = gids('abort', 20);
    await Promise.all([
      ...committed.map((gid) => decide([first], gid, participant, 'submit')),
      ...aborted.map((gid) => decide([first], gid, participant, 'abort')),
      decide([first], 'undecided', participant, 'neither'),
    ]);
    // Of those that roll back one branch at a time is called.
    await until('all are called', async () => (participant.calls.length === 60 ? true : undefined));
    await first.process.kill();
    const killedAt = now();
    participant.behaviour = WELL;
    // Whoever asks meanwhile waits, and sees no error.
    const submitted = await second.ask('POST', '/v1/transactions/undecided/submit', {});
    t.is(submitted.status, 200, JSON.stringify(submitted.body));
    for (const gid of [...committed, 'undecided']) t.is(await statusOf(second, gid, '10s'), 'succeed');
    for (const gid of aborted) t.is(await statusOf(second, gid, '10s'), 'failed');
    const later = participant.calls.filter(({ at }) => at >= killedAt);
    t.deepEqual([...new Set(later.map(({ by }) => by))], ['second']);
    t.is(later.length, 2 * 41, 'each branch once');
    const history = await cluster.history();
    t.true(takeOverMs(history, LEASE_MS) < TAKE_OVER_MS, `taken over after ${takeOverMs(history, LEASE_MS)} ms`);
    t.deepEqual(faultsOf(history, LEASE_MS), []);
  },
);

test.serial('one that is paused beyond its lease and goes on does nothing more for what was taken over', async (t) => {
  await using cluster = await openCluster(server, LEASE_MS);
  await using participant = await startParticipant(HELD);
  const [first, second] = [await cluster.add('first'), await cluster.add('second')];
  await Promise.all([first.process.start(), second.process.start()]);
  const all = gids('g', 20);
  await Promise.all(all.map((gid) => decide([first, second], gid, participant, 'submit')));
  await until('all are called', async () => (participant.calls.length === 40 ? true : undefined));
  await first.process.pause();
  const pausedAt = now();
  participant.behaviour = WELL;
  for (const gid of all) t.is(await statusOf(second, gid, '10s'), 'succeed');
  const taken = participant.calls.filter(({ at }) => at >= pausedAt);
  t.deepEqual([...new Set(taken.map(({ by }) => by))], ['second']);
  const before = (await cluster.history()).length;
  const called = participant.calls.length;
  first.process.resume();
  // It is itself again, and says what the other one did.
  for (const gid of all) t.is(await statusOf(first, gid, '10s'), 'succeed');
  await decide([first], 'after', participant, 'submit');
  t.is(await statusOf(first, 'after', '10s'), 'succeed');
  t.deepEqual(
    participant.calls.slice(called).map(({ gid, by }) => [gid, by]),
    [
      ['after', 'first'],
      ['after', 'first'],
    ],
  );
  const history = await cluster.history();
  t.true(takeOverMs(history, LEASE_MS) < TAKE_OVER_MS, `taken over after ${takeOverMs(history, LEASE_MS)} ms`);
  t.deepEqual([...new Set(history.slice(before).map(({ gid }) => gid))], ['after']);
  t.deepEqual(faultsOf(history, LEASE_MS), []);
});

for (const [what, strike] of [
  ['is cut', 'cut'],
  ['swallows everything', 'hang'],
] as const) {
  test.serial(
    `while the way to the database ${what}, others take over; afterwards the coordinator serves again`,
    async (t) => {
      await using cluster = await openCluster(server, LEASE_MS);
      await using way = await startCuttable(server.port);
      await using participant = await startParticipant(HELD);
      const [first, second] = [await cluster.add('first', { database: way.port }), await cluster.add('second')];
      await Promise.all([first.process.start(), second.process.start()]);
      const all = gids('g', 20);
      await Promise.all(all.map((gid) => decide([first], gid, participant, 'submit')));
      await until('all are called', async () => (participant.calls.length === 40 ? true : undefined));
      way[strike]();
      const cutAt = now();
      participant.behaviour = WELL;
      for (const gid of all) t.is(await statusOf(second, gid, '10s'), 'succeed');
      const later = participant.calls.filter(({ at }) => at >= cutAt);
      t.deepEqual([...new Set(later.map(({ by }) => by))], ['second']);
      t.not((await first.ask('GET', '/readyz')).status, 200, 'it says that it is not ready');
      way.mend();
      await until('it is ready again', async () =>
        (await first.ask('GET', '/readyz')).status === 200 ? true : undefined,
      );
      for (const gid of all) t.is(await statusOf(first, gid), 'succeed');
      await decide([first], 'after', participant, 'submit');
      t.is(await statusOf(first, 'after', '10s'), 'succeed');
      t.deepEqual(faultsOf(await cluster.history(), LEASE_MS), []);
    },
  );
}

test.serial('one that stops leaves its work to the others at once, however long its leases are', async (t) => {
  const leaseMs = 60_000;
  await using cluster = await openCluster(server, leaseMs);
  await using participant = await startParticipant({ delayMs: 0, status: 500 });
  const [first, second] = [await cluster.add('first'), await cluster.add('second')];
  await Promise.all([first.process.start(), second.process.start()]);
  const all = gids('g', 10);
  await Promise.all(all.map((gid) => decide([first], gid, participant, 'submit')));
  await until('all are called', async () => (participant.calls.length >= 20 ? true : undefined));
  participant.behaviour = WELL;
  await first.process.stop();
  const stoppedAt = now();
  for (const gid of all) t.is(await statusOf(second, gid, '10s'), 'succeed');
  t.true(now() - stoppedAt < leaseMs / 3, `taken over after ${now() - stoppedAt} ms`);
  t.deepEqual(faultsOf(await cluster.history(), leaseMs), []);
});
