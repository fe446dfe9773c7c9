/**
 * The published clients of DTM against a coordinator: `node test/dtm-clients/run.ts [go] [python] [java]`, all of them without an
 * argument. Needs the languages, MariaDB and Redis (Debian: golang-go, python3-venv, maven, default-jdk-headless, mariadb-server,
 * redis-server). The last line counts the tests; the exit code is 1 when one has failed.
 */
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { type Counts, SUITES, type Suite } from './suites.ts';
import { startWorld, type World } from './world.ts';

const OUTPUT_LINES = 150;

const names = process.argv.slice(2);
const unknown = names.find((name) => !SUITES.some((suite) => suite.name === name));
if (unknown !== undefined)
  throw new Error(`there is no suite ${unknown}: ${SUITES.map(({ name }) => name).join(', ')}`);

await using world = await startWorld();
let passed = 0;
let failed = 0;
for (const suite of SUITES.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const counts = await runSuite(suite, world);
  passed += counts.passed;
  failed += counts.failed;
}
say(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** Makes a suite ready and runs it; shows what it wrote when it does not pass. */
async function runSuite(suite: Suite, { folder, environment, coordinatorLog }: World): Promise<Counts> {
  const startedAt = monotonicSeconds();
  const prepared = await suite.prepare(folder);
  if (!prepared.isOk) {
    show(suite, 'could not be made ready', prepared.output);
    return { passed: 0, failed: 1 };
  }
  const readyAt = monotonicSeconds();
  const { isOk, output } = await suite.run(folder, environment);
  const counts = suite.counts(output);
  const seconds = [readyAt - startedAt, monotonicSeconds() - readyAt].map((value) => Math.round(value));
  say(`${suite.name}: ${counts.passed} tests pass (${seconds[0]} s to make ready, ${seconds[1]} s to run)`);
  if (isOk && counts.failed === 0 && counts.passed >= suite.least) return counts;
  const why = counts.failed > 0 ? `${counts.failed} tests do not pass` : `fewer than ${suite.least} tests pass`;
  show(suite, why, `${output}\n${await coordinatorLog()}`);
  return { passed: counts.passed, failed: Math.max(1, counts.failed) };
}

function show({ name }: Suite, why: string, output: string): void {
  process.stdout.write(`${output.trimEnd().split('\n').slice(-OUTPUT_LINES).join('\n')}\n`);
  say(`${name}: ${why}`);
}

function say(text: string): void {
  process.stdout.write(`clients: ${text}\n`);
}
