import test, { type ExecutionContext } from 'ava';
import { pgDumpFor } from './pg-dump.ts';
import { search } from './search.ts';
import { startStage, type Law, type Stage, type Tally } from './stage.ts';

const SEED = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
/** The share of the generated statements that must really be carried out. In so many batches it is 0.71, with a standard deviation of 0.02. */
const RAN_MIN = 0.6;
const BATCHES = 120;
/** When chance has made it less, more batches tell whether it was chance. */
const ROUNDS_MAX = 3;

const ranEnough = ({ ran, statements }: Tally): boolean => statements > 0 && ran >= RAN_MIN * statements;

function report(t: ExecutionContext, tally: Tally): void {
  const { batches, statements, ran, touched, refused, failed } = tally;
  t.log(
    `seed ${SEED}: ${batches} batches, ${statements} statements, ${ran} ran, ${touched} of them met rows, ${refused} refused, ${failed} failed`,
  );
  t.true(batches >= BATCHES);
  t.true(ranEnough(tally), `only ${ran} of ${statements} statements ran`);
}

async function holds(t: ExecutionContext, stage: Stage, law: Law): Promise<void> {
  for (let round = 0; round < ROUNDS_MAX && !ranEnough(stage.tally); round += 1) {
    t.is(await search(law, { seed: SEED + 10 * round, runs: BATCHES }), undefined);
  }
  report(t, stage.tally);
}

for (const major of [18, 14] as const) {
  for (const escalate of ['off', 'xa'] as const) {
    const what = escalate === 'off' ? 'whatever was done' : 'whatever was done or prepared';
    test.serial(
      `${what} in global transactions, a rollback leaves what was there before on PostgreSQL ${major}`,
      async (t) => {
        await using stage = await startStage(major, { database: { escalate } });
        const pgDump = await pgDumpFor(stage.mesh.server);
        const before = await pgDump?.('shop');
        if (before === undefined)
          t.log(`skipped: no pg_dump of version ${major} or later; tables are compared row by row all the same`);
        await holds(t, stage, stage.rollsBack);
        t.deepEqual(await pgDump?.('shop'), before);
        const { rowCount } = await stage.mesh.owner.query('SELECT FROM pg_prepared_xacts');
        t.is(rowCount, 0);
      },
    );
  }

  test.serial(
    `what a global transaction commits, answers and leaves is what happens without a sidecar on PostgreSQL ${major}`,
    async (t) => {
      await using stage = await startStage(major);
      await holds(t, stage, stage.commitsAlike);
      const pgDump = await pgDumpFor(stage.mesh.server);
      t.deepEqual(await pgDump?.('shop'), await pgDump?.('plain'));
    },
  );
}
