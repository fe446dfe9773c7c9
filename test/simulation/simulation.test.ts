/**
 * The properties of a coordinator, under every fault that the world knows, and where they are looked at:
 * - S1 decision agreement: `history.ts`, for every answer, call and write.
 * - S2 no lost gid, branch, step or decision: `initiators/`, against what would survive a crash at the moment of each answer.
 * - S3 atomic outcome, S4 effects exactly once: `checks/end.ts`, when a transaction becomes final and again when the world rests.
 * - S5 null compensation, S6 suspension, S16 tombstone: `participants/`; that they happened at all: the situations in `faults.ts`.
 * - S7 log before act: `checks/calls.ts`, against what a recovery would find; of XA this is S17, with nothing left prepared (`checks/end.ts`).
 * - S8 unknown is not failure: `checks/end.ts`, a saga that blames an action whose failure nobody has said.
 * - S9 no registration after the decision: `store.ts` and `checks/end.ts`.
 * - S19 nothing is left over, and nothing is called after the end: `checks/end.ts`, `checks/calls.ts`.
 * - S20 single driver: `store.ts` for writes, `checks/calls.ts` for calls and for two at once.
 * - S21 no safety from clocks: clocks that differ and jump are among the faults; only what names an instant is not looked at then.
 * - S25 what is recorded of a workflow stays: `store.ts`. S26 two-phase message: `initiators/message.ts`. S27 idempotent begin: `initiators/`.
 * - S29 at most the newest run of a workflow records and decides: `store.ts`, `initiators/mesh-workflow.ts`.
 * - S31 a run that went another way than an earlier one commits nothing of either: `initiators/mesh-workflow.ts`.
 * - S28 a store that fails: among the faults, with and without having written; nothing is acknowledged by it (S2).
 * - Order of calls, their pace (L3), deadlines, delays and retry limits: `checks/calls.ts` and `store.ts`. L1, everything ends: `world.ts`.
 *
 * Both kinds of store are drawn: one inside the coordinator, which loses at a crash what was not synced, and one that up to three
 * coordinators share, which outlives them and may keep a write whose answer is lost. S10 and S18 are the sidecar's.
 */
import test from 'ava';
import { FAULT_KINDS, SITUATIONS } from './faults.ts';
import { simulate } from './world.ts';

/** Other seeds than these: `node test/simulation/run.ts --seeds 1..20000`. */
const SEEDS = 6000;
const SEEDS_A_TEST = 500;
/** A fault or situation that hardly ever happens is hardly tested. */
const LEAST = 20;

const counts = new Map<string, number>();

for (let first = 1; first <= SEEDS; first += SEEDS_A_TEST) {
  const last = first + SEEDS_A_TEST - 1;
  test.serial(`bad days end well: seeds ${first} to ${last}`, async (t) => {
    for (let seed = first; seed <= last; seed += 1) {
      const run = await simulate(seed);
      if (run.violation !== undefined) {
        return t.fail(`${run.violation.message}\nreplay: node test/simulation/run.ts --seed ${seed}`);
      }
      for (const [what, count] of run.counts) counts.set(what, (counts.get(what) ?? 0) + count);
    }
    return t.pass();
  });
}

test.serial('every fault and every rare situation was among them', (t) => {
  const rare = [...FAULT_KINDS, ...SITUATIONS].filter((what) => (counts.get(what) ?? 0) < LEAST);
  t.deepEqual(rare, []);
  t.log(`${[...counts.values()].reduce((sum, count) => sum + count, 0)} faults and situations in ${SEEDS} seeds`);
});

test.serial('the same seed does the same twice, and another seed something else', async (t) => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const first = await simulate(seed);
    t.is((await simulate(seed)).hash, first.hash, `seed ${seed}`);
    t.not((await simulate(seed + 1)).hash, first.hash);
  }
});
