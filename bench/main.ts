/**
 * The benchmark: `npm run bench`, `npm run bench -- --only <part>`, `npm run bench -- --json <file>`,
 * `npm run bench -- --only restart --transactions 10000`. Prints what was measured on which machine; ends with 1 when a target was
 * missed.
 */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { abortsPart } from './aborts/aborts.ts';
import { coordinatorPart } from './coordinator.ts';
import { copyPart } from './copy/copy.ts';
import { grpcPart } from './grpc.ts';
import { httpPart } from './http/http.ts';
import { latencyPart } from './http/latency.ts';
import { askingPart } from './locks/asking.ts';
import { locksPart } from './locks/locks.ts';
import type { Part, Result, Wishes } from './measure.ts';
import { modesPart } from './modes/modes.ts';
import { mysqlPart } from './mysql/mysql.ts';
import { mysqlUndoPart } from './mysql/undo.ts';
import { mysqlXaPart } from './mysql/xa.ts';
import { pgbouncerPart } from './pgbouncer/pgbouncer.ts';
import { plansPart } from './plans/plans.ts';
import { restartPart } from './restart.ts';
import { sqlPart } from './sql.ts';
import { tccPart } from './tcc/tcc.ts';

const PARTS: readonly Part[] = [
  coordinatorPart,
  modesPart,
  restartPart,
  httpPart,
  latencyPart,
  abortsPart,
  tccPart,
  grpcPart,
  sqlPart,
  plansPart,
  locksPart,
  askingPart,
  copyPart,
  mysqlPart,
  mysqlUndoPart,
  mysqlXaPart,
  pgbouncerPart,
];

const { only, json, transactions } = parseArgs({
  options: { only: { type: 'string' }, json: { type: 'string' }, transactions: { type: 'string' } },
}).values;
const wishes: Wishes = transactions === undefined ? {} : { transactions: Number(transactions) };
const parts = PARTS.filter((part) => only === undefined || part.name === only);
if (parts.length === 0) {
  console.error(`There is no part ${only}; there are ${PARTS.map((part) => part.name).join(', ')}.`);
  process.exit(2);
}
if (transactions !== undefined && !/^[1-9][0-9]*$/.test(transactions)) {
  console.error(`--transactions: expected a number from 1, found ${transactions}.`);
  process.exit(2);
}

console.log(`${machine()}, commit ${commit()}`);
const results: Result[] = [];
for (const part of parts) {
  const measured = await part.run(wishes);
  results.push(...measured);
  console.log(`\n${part.name}`);
  console.table(measured.map(rowOf));
}
if (json !== undefined) await writeFile(json, `${JSON.stringify(results, undefined, 2)}\n`);
process.exitCode = results.every((result) => result.pass) ? 0 : 1;

function rowOf({ name, value, unit, baseline, ratio, target, pass }: Result): Readonly<Record<string, unknown>> {
  return {
    name,
    value: rounded(value),
    unit,
    baseline: baseline === undefined ? '' : rounded(baseline),
    ratio: ratio === undefined ? '' : rounded(ratio),
    target: target ?? '',
    pass,
  };
}

/** Four significant digits, but never fewer than the integer has. */
function rounded(value: number): number {
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4));
}

function machine(): string {
  const all = cpus();
  return `${all[0]?.model ?? 'unknown processor'}, ${all.length} cores, Node.js ${process.version}`;
}

function commit(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' }).trim();
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' with changes');
  } catch {
    return 'unknown';
  }
}
