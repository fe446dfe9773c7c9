/** The examples of the client library, each run as a newcomer runs it: a command whose exit code says whether its checks held. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const RUN = fileURLToPath(new URL('../../examples/run.ts', import.meta.url));

async function runExample(
  ...names: readonly string[]
): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn(process.execPath, [RUN, ...names], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.timeout(60_000),
  });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await once(child, 'exit')) as [number | null];
  return { code, output: (await output).join('') };
}

// Those with Redis are run by test/barrier-servers: it comes from the operating system's packages.
const CHECKS = {
  'saga-transfer': 6,
  'tcc-order': 12,
  'xa-two-databases': 8,
  'message-with-transaction': 8,
  'workflow-trip': 11,
} as const;

for (const [name, checks] of Object.entries(CHECKS)) {
  test.serial(`every check of ${name} holds`, async (t) => {
    const { code, output } = await runExample(name);
    t.is(code, 0, output);
    t.is([...output.matchAll(/✓/g)].length, checks, output);
    t.false(output.includes('✗'), output);
    t.regex(output, /^Every check held\.$/m);
  });
}

test('without a name, or with a wrong one, the names are listed', async (t) => {
  for (const names of [[], ['toString'], ['sagas']]) {
    const { code, output } = await runExample(...names);
    t.is(code, 2);
    for (const name of Object.keys(CHECKS)) t.true(output.includes(`npm run example -- ${name}`), output);
  }
});
