/** Captured changes, escalated ones and those of mode xa want the same rows, in an order by a seed. Every sum comes out, and no branch is dirty. */
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { Random } from '../../simulation/random.ts';
import { SERVERS } from '../second-phase/world.ts';
import { NOTHING_LEFT, openStage, type Stage } from './stage.ts';

const SEED = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
const WORKERS = 4;
const ROUNDS = 12;
const ROWS = 4;

/** How a change is said that adds to the rows from one to another. */
const CHANGES: readonly {
  readonly change: (from: number, to: number, by: number) => string;
  readonly isWide?: true;
}[] = [
  { change: (from, to, by) => `UPDATE item SET qty = qty + ${by} WHERE id BETWEEN ${from} AND ${to}`, isWide: true },
  {
    change: (from, to, by) => `UPDATE item SET qty = bump(qty) + ${by - 1} WHERE id BETWEEN ${from} AND ${to}`,
    isWide: true,
  },
  { change: (from, _, by) => `UPDATE item SET qty = qty + ${by} WHERE id = ${from}` },
  { change: (from, _, by) => `UPDATE item SET qty = bump(qty) + ${by - 1} WHERE id = ${from}` },
  {
    change: (from, _, by) =>
      `INSERT INTO item VALUES (${from}, 0, 'n${from}') ON DUPLICATE KEY UPDATE qty = bump(item.qty) + ${by - 1}`,
  },
];

interface Play {
  readonly stage: Stage;
  readonly random: Random;
  /** What each row has to have, of what was committed. */
  readonly wanted: number[];
  readonly tally: { committed: number; rolledBack: number };
}

for (const [name, start] of SERVERS) {
  test.serial(`${name}: rows that are prepared, captured and put back at the same time`, async (t) => {
    t.timeout(240_000);
    await using stage = await openStage(start);
    await stage.restore();
    const wanted = [10, 20, 30, 40];
    const tally = { committed: 0, rolledBack: 0 };
    const workers = Array.from({ length: WORKERS }, async (_, worker) => {
      const play: Play = { stage, wanted, tally, random: new Random(SEED + worker) };
      for (let round = 0; round < ROUNDS; round += 1) {
        // A branch that is dirty never comes to an end.
        t.true(['succeed', 'failed'].includes(await playRound(play)), `SEED=${SEED}`);
      }
    });
    await Promise.all(workers);
    t.log(`SEED=${SEED}: ${tally.committed} committed, ${tally.rolledBack} rolled back`);
    t.deepEqual(
      await stage.owner('select qty from shop.item order by id'),
      wanted.map((qty) => [qty]),
      `SEED=${SEED}`,
    );
    t.is(await stage.left(), NOTHING_LEFT);
    t.true(tally.committed >= 5 && tally.rolledBack >= 5, 'too little has happened');
  });
}

/** One global transaction of some local ones. Answers how it has ended. */
async function playRound(play: Play): Promise<string> {
  const { stage, random, wanted, tally } = play;
  const gid = await stage.begin();
  const added = Array.from({ length: ROWS }, () => 0);
  let isDone = true;
  for (let locals = random.pick([1, 1, 2]); locals > 0 && isDone; locals -= 1)
    isDone = await playLocal(play, gid, added);
  // Others meet what is not decided.
  await pause(random.between(0, 80));
  const status = await stage.end(gid, isDone && random.chance(0.6) ? 'commit' : 'rollback');
  if (status === 'succeed') for (const [row, by] of added.entries()) wanted[row] = (wanted[row] ?? 0) + by;
  tally[status === 'succeed' ? 'committed' : 'rolledBack'] += 1;
  return status;
}

/** One local transaction; false when it has failed, and nothing of it is left but what its global transaction takes back. */
async function playLocal({ stage, random }: Play, gid: string, added: number[]): Promise<boolean> {
  const client = await stage.open(random.pick(['escalating', 'xa']));
  client.on('error', () => undefined);
  try {
    await client.query('SET SESSION innodb_lock_wait_timeout = 1');
    if (random.chance(0.5)) await client.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
    const statements = random.pick([0, 0, 1, 2]);
    await client.query(`SET @atomesh_gid = '${gid}'`);
    if (statements > 0) await client.query('BEGIN');
    for (let count = 0; count < Math.max(1, statements); count += 1) {
      const { change, isWide } = random.pick(CHANGES);
      const [from, by] = [random.between(1, ROWS), random.between(1, 9)];
      const to = isWide ? Math.min(ROWS, from + random.between(0, 1)) : from;
      await client.query(change(from, to, by));
      for (let row = from; row <= to; row += 1) added[row - 1] = (added[row - 1] ?? 0) + by;
    }
    if (statements > 0) await client.query('COMMIT');
    return true;
  } catch (error) {
    if ((error as { errno?: number }).errno === undefined) throw error;
    return false;
  } finally {
    client.destroy();
  }
}
