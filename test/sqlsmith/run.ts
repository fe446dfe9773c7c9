/**
 * Rollback equality by what SQLsmith makes of the tables: `node test/sqlsmith/run.ts [--seed S] [--statements 700] [--seconds 30]
 * [--major 18 --escalate off|xa]`. On PostgreSQL 18 where what has no images is refused, and on 14 where it escalates, unless one is said.
 * Prints how much was carried out and captured; ends with 1 when a law is broken, or when that was too little to mean anything.
 */
import { parseArgs } from 'node:util';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { tell } from '../rollback-equality/run-batch.ts';
import { smith } from './statements.ts';
import { startStage, type Stage } from '../rollback-equality/stage.ts';

/** Shares of the statements. Most of what is not carried out breaks a constraint, divides by zero, or calls what may write. */
const RAN_MIN = 0.4;
const CAPTURED_MIN = 0.08;
/** With fewer statements a share says nothing. */
const STATEMENTS_MIN = 100;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(1 + (process.pid % 1_000_000)) },
    statements: { type: 'string', default: '700' },
    seconds: { type: 'string', default: '30' },
    major: { type: 'string' },
    escalate: { type: 'string', default: 'off' },
  },
});
const seed = Number(values.seed);
const stages =
  values.major === undefined
    ? ([
        [18, 'off'],
        [14, 'xa'],
      ] as const)
    : ([[Number(values.major) as PostgresMajor, values.escalate]] as const);

/** How many statements the sidecar has captured. */
async function capturedBy(stage: Stage): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${stage.mesh.admin}/metrics`);
  const line = /^atomesh_sql_statements_total\{[^}]*event="captured"[^}]*\} (\d+)/m.exec(await answer.text());
  return Number(line?.[1] ?? 0);
}

/** Rolls them back, batch by batch, and answers what is wrong. */
async function search(stage: Stage): Promise<string | undefined> {
  const smithed = await smith(stage.mesh, seed, Number(values.statements));
  if (smithed.kind === 'missing') return smithed.why;
  const deadline = monotonicSeconds() + Number(values.seconds);
  for (const batch of smithed.batches) {
    if (monotonicSeconds() > deadline) break;
    const fault = await stage.rollsBack(batch);
    if (fault !== undefined) return `${fault}\n${tell(batch)}`;
  }
  return undefined;
}

let passed = 0;
for (const [major, escalate] of stages) {
  const started = monotonicSeconds();
  await using stage = await startStage(major, { database: { escalate } });
  const fault = await search(stage);
  const captured = await capturedBy(stage);
  const { batches, statements, ran, touched, refused, failed, reasons } = stage.tally;
  const share = (count: number): string => `${count} (${Math.round((100 * count) / Math.max(1, statements))} %)`;
  console.log(
    `PostgreSQL ${major}, escalate ${escalate}, seed ${seed}: ${batches} batches, ${statements} statements, ${share(ran)} ran, ${touched} met rows, ${share(captured)} were captured, ${refused} refused, ${failed} failed, ${Math.round(monotonicSeconds() - started)} s`,
  );
  const isEnough = statements >= STATEMENTS_MIN && ran >= RAN_MIN * statements && captured >= CAPTURED_MIN * statements;
  if (fault === undefined && isEnough) passed += 1;
  else {
    for (const [why, times] of [...reasons].toSorted(([, a], [, b]) => b - a).slice(0, 25)) {
      console.log(`${String(times).padStart(7)}  ${why}`);
    }
    console.log(fault ?? 'too little was carried out to mean anything');
  }
}
console.log(`sqlsmith: ${passed} passed, ${stages.length - passed} failed`);
process.exitCode = passed === stages.length ? 0 : 1;
