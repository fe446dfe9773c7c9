import test from 'ava';
import { startParticipant } from './cluster.ts';
import { recover } from './stuck.ts';

for (const store of ['sqlite', 'postgres'] as const) {
  test.serial(
    `${store}: 1,000 stuck sagas whose branches take a second recover within 30 s on any machine, with the default settings`,
    async (t) => {
      await using participant = await startParticipant({ delayMs: 1000, status: 200 });
      const { doneMs, calls } = await recover({ store, sagas: 1000, branches: 2, participant, withinMs: 30_000 });
      // Under 15 s by the coordinator's own clock: test/runner/recovery.test.ts, and on a quiet machine: bench/restart.ts. Here a busy one counts too.
      t.true(doneMs < 30_000, `${doneMs} ms`);
      t.is(calls, 2000, 'each branch once');
    },
  );

  test.serial(
    `${store}: a restart with many unfinished transactions is ready at once, drives all of them, and keeps to its limit of calls`,
    async (t) => {
      await using participant = await startParticipant({ delayMs: 2, status: 200 });
      const stuck = { store, sagas: 3000, branches: 1, participant, limits: { calls: 64 }, withinMs: 30_000 };
      const { readyMs, calls, inFlightMax } = await recover(stuck);
      t.true(readyMs < 3000, `${readyMs} ms`);
      t.is(calls, 3000, 'each branch once');
      t.true(inFlightMax <= 16, `${inFlightMax} calls to one host at the same time`);
    },
  );
}
