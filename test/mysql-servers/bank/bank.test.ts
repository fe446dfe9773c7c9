/** The bank of test/bank over servers of two kinds, each behind its own sidecar, in one global transaction. */
import test from 'ava';
import { check } from '../../bank/check.ts';
import { LOCKS_OFF } from '../../bank/locks-off.ts';
import { play } from '../../bank/play.ts';
import { openStage, type StageOptions } from '../../bank/stage.ts';
import { hasMysql } from '../mysql-server.ts';

const SEED = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
/** No fault begins after this. */
const MS_MAX = 12_000;

const KINDS: Readonly<Record<string, StageOptions>> = {
  'undo mode, PostgreSQL and MariaDB, where both prepare what has no row images': { south: { server: 'mariadb' } },
  'undo mode, MariaDB and PostgreSQL, where neither does': {
    north: { server: 'mariadb', escalate: 'off' },
    south: { escalate: 'off' },
  },
  'undo mode of PostgreSQL and XA of MariaDB': { south: { server: 'mariadb', mode: 'xa' } },
  'XA of PostgreSQL and undo mode of MariaDB': { north: { mode: 'xa' }, south: { server: 'mariadb' } },
  ...(hasMysql
    ? {
        'undo mode of MySQL and XA of MariaDB': {
          north: { server: 'mysql' },
          south: { server: 'mariadb', mode: 'xa' },
        },
      }
    : {}),
};

for (const [name, kinds] of Object.entries(KINDS)) {
  test.serial(`whatever is killed or cut off, all of a transfer or nothing of it: ${name}`, async (t) => {
    t.timeout(180_000);
    await using stage = await openStage(kinds);
    const { history, committed, rolledBack, faults } = await play(stage, { seed: SEED, faults: 1, ms: MS_MAX });
    t.log(`SEED=${SEED}: ${faults} faults, ${committed} committed, ${rolledBack} rolled back`);
    t.deepEqual(check(history), []);
    t.true(committed >= 10 && rolledBack >= 10, 'too little has happened');
  });
}

test.serial('without row locks the same work goes wrong in MariaDB too, and the checker says so', async (t) => {
  t.timeout(180_000);
  await using stage = await openStage({ north: { server: 'mariadb' }, fault: LOCKS_OFF });
  const { history } = await play(stage, { seed: SEED, faults: 0, ms: MS_MAX });
  const faults = check(history).filter((fault) => fault.includes('north'));
  t.log(`SEED=${SEED}: ${faults.length} faults there, such as ${faults[0]}`);
  // MariaDB is in the north: what is done there first waits the longest for its decision. What is read is another matter: without locks
  // it is the rows themselves that go wrong.
  t.true(faults.some((fault) => !fault.includes(' read ')));
});
