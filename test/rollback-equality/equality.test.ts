import test, { type ExecutionContext } from 'ava';
import { pgDumpFor } from './pg-dump.ts';
import { search } from './search.ts';
import { startStage, type Law, type Stage, type Tally } from './stage.ts';

const SEED = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
/** The share of the generated statements that must really be carried out; chance may make it less where there are only few. */
const RAN_MIN = 0.6;
const RAN_MIN_OF_FEW = 0.3;
const FEW = 400;
/** Whichever comes first. A machine that does other things beside gets through fewer. */
const RUNS = 1_500;
const MS_MAX = 5_500;

function report(t: ExecutionContext, tally: Tally): void {
  const { batches, statements, ran, touched, refused, failed } = tally;
  t.log(
    `seed ${SEED}: ${batches} batches, ${statements} statements, ${ran} ran, ${touched} of them met rows, ${refused} refused, ${failed} failed`,
  );
  t.true(
    ran >= (statements < FEW ? RAN_MIN_OF_FEW : RAN_MIN) * statements,
    `only ${ran} of ${statements} statements ran`,
  );
}

async function holds(t: ExecutionContext, stage: Stage, law: Law): Promise<void> {
  t.is(await search(law, { seed: SEED, ms: MS_MAX, runs: RUNS }), undefined);
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
