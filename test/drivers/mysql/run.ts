/**
 * The suites of drivers for MySQL, first against the servers themselves, then through a sidecar in front of them: whatever passes directly
 * has to pass through it, since without a gid it is invisible. Then talks of drivers and mappers inside a global transaction. `node test/drivers/mysql/run.ts [suite…]`, all of them without an argument.
 * README.md says what they are and what they need. The last line counts the tests; the exit code is 1 when one has failed.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { monotonicSeconds } from '../../../src/platform/clock.ts';
import { hasMysql } from '../../mysql-servers/mysql-server.ts';
import { runInside } from './inside/inside.ts';
import { TALKS } from './inside/talks.ts';
import { LIST, SUITES, type Suite } from './suites.ts';
import { startWorld, type Address, type World } from './world.ts';

const OUTPUT_LINES = 100;
const LIST_LINES = 3000;

interface Counts {
  readonly passed: number;
  readonly failed: number;
}

const names = process.argv.slice(2);
const known = [...SUITES, ...TALKS].map(({ name }) => name);
const unknown = names.find((name) => !known.includes(name));
if (unknown !== undefined) throw new Error(`there is no suite ${unknown}: ${known.join(', ')}`);

await using world = await startWorld();
const lines = Array.from({ length: LIST_LINES }, (_, index) => `${index},line ${index}\n`);
await writeFile(join(world.folder, LIST), lines.join(''));
const prepared = new Map<Suite['prepare'], ReturnType<Suite['prepare']>>();
let passed = 0;
let failed = 0;
for (const suite of SUITES.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const address = world.addresses.get(suite.server);
  if (address === undefined) {
    say(`${suite.name}: left out, there is no ${suite.server} for this machine`);
    continue;
  }
  const counts = await runSuite(suite, world, address);
  passed += counts.passed;
  failed += counts.failed;
}
for await (const { name, same, refused, faults } of runInside(world.folder, names)) {
  const refusals = [...refused.values()].reduce((sum, times) => sum + times, 0);
  say(`${name}: ${same} answers inside a global transaction as without one, ${refusals} refused`);
  for (const [reason, times] of refused) say(`${name}: refused ${times} times: ${reason}`);
  for (const fault of faults) say(`${name}: ${fault}`);
  passed += same + refusals;
  failed += faults.length;
}
if (!hasMysql) say('MySQL 8 runs on x86-64 with the test artifact that test/mysql-servers/run.sh fetches');
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** Runs a suite directly and through the sidecar, and says what is lost in between. */
async function runSuite(suite: Suite, { folder, sidecarLog }: World, address: Address): Promise<Counts> {
  const preparation = prepared.get(suite.prepare) ?? suite.prepare(folder);
  prepared.set(suite.prepare, preparation);
  const ready = await preparation;
  if (!ready.isOk) return refuse(suite, 'could not be made ready', ready.output);
  const startedAt = monotonicSeconds();
  const direct = await suite.run(address.direct, folder);
  const expected = suite.passed(direct.output);
  if (expected.size < suite.least) return refuse(suite, `fewer than ${suite.least} tests pass directly`, direct.output);
  const between = monotonicSeconds();
  const through = await suite.run(suite.isOverTls ? address.secure : address.plain, folder);
  const found = suite.passed(through.output);
  const lost = [...expected].filter((test) => !found.has(test));
  const seconds = [between - startedAt, monotonicSeconds() - between].map((value) => Math.round(value));
  const kept = expected.size - lost.length;
  say(
    `${suite.name}: ${expected.size} tests pass directly (${seconds[0]} s), ${kept} of them through the sidecar (${seconds[1]} s)`,
  );
  if (lost.length > 0) {
    show(`${through.output}\n${await sidecarLog()}`);
    for (const test of lost) say(`${suite.name}: does not pass through the sidecar: ${test}`);
    for (const test of found) if (!expected.has(test)) say(`${suite.name}: only through the sidecar: ${test}`);
  }
  return { passed: kept, failed: lost.length };
}

function refuse({ name }: Suite, why: string, output: string): Counts {
  show(output);
  say(`${name}: ${why}`);
  return { passed: 0, failed: 1 };
}

function show(output: string): void {
  process.stdout.write(`${output.trimEnd().split('\n').slice(-OUTPUT_LINES).join('\n')}\n`);
}

function say(text: string): void {
  process.stdout.write(`mysql-drivers: ${text}\n`);
}
