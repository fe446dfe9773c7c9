import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { until } from '../../examples/support/until.ts';

const MODULE = new URL('../../examples/support/end-with-us.ts', import.meta.url).href;

/** Starts a child that lasts for a minute, and holds open what its parent writes to. */
const PARENT = `
import { spawn } from 'node:child_process';
import { endWithUs } from '${MODULE}';
const child = spawn('sleep', ['60'], { stdio: ['ignore', 'inherit', 'ignore'], detached: true });
endWithUs(child, 'SIGKILL', process.argv[1]);
process.stdout.write('started\\n');
if (process.argv[2] === 'exit') process.exit(0);
setTimeout(() => undefined, 60_000);`;

for (const [how, end] of [
  ['a signal that can be handled', 'SIGTERM'],
  ['one that cannot', 'SIGKILL'],
  ['an exit', 'exit'],
] as const) {
  test(`a server and its folder are gone when its process has ended by ${how}`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'atomesh-test-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const parent = spawn(process.execPath, ['--input-type=module', '--eval', PARENT, folder, end], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(parent.stdout, 'data');
    const closed = once(parent.stdout, 'close', { signal: AbortSignal.timeout(30_000) });
    if (end !== 'exit') {
      t.true(existsSync(folder) && !parent.stdout.readableEnded);
      parent.kill(end);
    }
    await closed;
    await until('its folder is gone', async () => (existsSync(folder) ? undefined : 'gone'));
    t.pass();
  });
}
