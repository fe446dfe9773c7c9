import test from 'ava';
import { check } from './check.ts';
import { LOCKS_OFF } from './locks-off.ts';
import { play } from './play.ts';
import { openStage } from './stage.ts';

const SEED = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
/** No fault begins after this. */
const MS_MAX = 20_000;

test.serial(
  'whatever is killed, stopped or cut off: money, histories and lists are those of what has committed, in undo mode and XA together',
  async (t) => {
    t.timeout(180_000);
    await using stage = await openStage({ south: { mode: 'xa' } });
    const { history, committed, rolledBack, faults } = await play(stage, { seed: SEED, faults: 1, ms: MS_MAX });
    t.log(`SEED=${SEED}: ${faults} faults, ${committed} committed, ${rolledBack} rolled back`);
    t.deepEqual(check(history), []);
    t.true(committed >= 10 && rolledBack >= 10, 'too little has happened');
  },
);

test.serial('without row locks the same work goes wrong, and the checker says so', async (t) => {
  t.timeout(180_000);
  await using stage = await openStage({ fault: LOCKS_OFF });
  const { history } = await play(stage, { seed: SEED, faults: 0, ms: MS_MAX });
  const faults = check(history);
  t.log(`SEED=${SEED}: ${faults.length} faults, such as ${faults[0]}`);
  // What is read is another matter: without locks it is the rows themselves that go wrong.
  t.true(faults.some((fault) => /did not end|^lost|^too much|^dirty append|left \d+ in|holds/.test(fault)));
});
