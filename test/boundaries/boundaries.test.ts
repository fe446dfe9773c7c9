import anyTest, { type TestFn } from 'ava';
import { LINKS, playCuts } from './all-cuts.ts';
import { FLOWS } from './flows.ts';
import { openStage, type Stage } from './stage.ts';

const test = anyTest as TestFn<{ stage: Stage }>;

/** Which of the things that can happen at a boundary happens there: eight seeds in a row see all. `npm run hunt:cuts` plays all at once. */
const SEED = Number(process.env['SEED'] ?? process.pid % 1_000);
/** A machine that does other things beside gets through fewer. */
const MS_EACH_MAX = 35;

test.before(async (t) => {
  t.timeout(60_000);
  t.context.stage = await openStage();
});
test.after.always((t) => t.context.stage?.[Symbol.asyncDispose]());

/** Of this alone the second phase is cut too: its messages depend on the rows only. */
const WITH_SECOND_PHASE = 'a block by the simple protocol';

for (const flow of FLOWS) {
  const links = LINKS.filter((link) => link !== 'second phase' || flow.name === WITH_SECOND_PHASE);
  test.serial(
    `${flow.mode}: a connection that is cut at any message leaves all or nothing of ${flow.name}`,
    async (t) => {
      t.timeout(120_000);
      const { faults, places, played, reached, all } = await playCuts(t.context.stage, flow, links, {
        seed: SEED,
        msEach: MS_EACH_MAX,
      });
      t.log(`SEED=${SEED}: ${played} of ${places} cuts, ${reached} were reached, ${all} of them left all`);
      t.deepEqual(faults, []);
      t.true(2 * reached > played, `only ${reached} of ${played} cuts were reached`);
      t.true(played > 0 && all < reached);
    },
  );
}
