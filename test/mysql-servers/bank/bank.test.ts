/** The bank of test/bank over PostgreSQL and MariaDB, each behind its own sidecar, in one global transaction. */
import test from 'ava';
import { check } from '../../bank/check.ts';
import { LOCKS_OFF } from '../../bank/locks-off.ts';
import { play } from '../../bank/play.ts';
import { openStage, type StageOptions } from '../../bank/stage.ts';

const SEED = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
/** No fault begins after this. */
const MS_MAX = 20_000;

const KINDS: Readonly<Record<string, StageOptions>> = {
  'undo mode on both sides, where both prepare what has no row images': { south: { server: 'mariadb' } },
  'undo mode on both sides, where neither does': {
    north: { escalate: 'off' },
    south: { server: 'mariadb', escalate: 'off' },
  },
  'undo mode and XA': { south: { server: 'mariadb', mode: 'xa' } },
  'XA and undo mode': { north: { mode: 'xa' }, south: { server: 'mariadb' } },
};

for (const [name, kinds] of Object.entries(KINDS)) {
  test.serial(
    `PostgreSQL and MariaDB, whatever is killed or cut off: all of a transfer or nothing of it, in ${name}`,
    async (t) => {
      t.timeout(180_000);
      await using stage = await openStage(kinds);
      const { history, committed, rolledBack, faults } = await play(stage, { seed: SEED, faults: 1, ms: MS_MAX });
      t.log(`SEED=${SEED}: ${faults} faults, ${committed} committed, ${rolledBack} rolled back`);
      t.deepEqual(check(history), []);
      t.true(committed >= 10 && rolledBack >= 10, 'too little has happened');
    },
  );
}

test.serial('without row locks in MariaDB the same work goes wrong there, and the checker says so', async (t) => {
  t.timeout(180_000);
  await using stage = await openStage({ south: { server: 'mariadb' }, fault: { mariadb: LOCKS_OFF.mariadb } });
  const { history } = await play(stage, { seed: SEED, faults: 0, ms: MS_MAX });
  const faults = check(history);
  t.log(`SEED=${SEED}: ${faults.length} faults, such as ${faults[0]}`);
  t.true(
    faults.some((fault) => /did not end|^lost|^too much|^dirty append|left \d+ in south|south \d holds/.test(fault)),
  );
});
