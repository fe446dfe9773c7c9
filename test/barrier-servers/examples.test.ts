import { PassThrough } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { run as cacheInvalidation } from '../../examples/cache-invalidation/main.ts';
import { run as flashSale } from '../../examples/flash-sale/main.ts';
import { programOf } from '../../examples/support/programs.ts';

type Example = (options: { readonly output: NodeJS.WriteStream; readonly signal: AbortSignal }) => Promise<boolean>;

/** Runs an example to its end; its output is shown when a check did not hold. */
async function passes(t: ExecutionContext, run: Example): Promise<void> {
  const output = new PassThrough();
  let text = '';
  output.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const passed = await run({
    output: output as unknown as NodeJS.WriteStream,
    signal: AbortSignal.timeout(110_000),
  });
  if (!passed) t.log(text);
  t.true(passed);
}

test.serial('the flash sale sells every piece once, whoever is killed in between', (t) => passes(t, flashSale));

test.serial('the cache is never stale in the end, whoever is killed in between', (t) => passes(t, cacheInvalidation));

test('a server that is not installed is named, with the package to install', async (t) => {
  await t.throwsAsync(programOf('no-such-server', 'its-package'), {
    name: 'ProgramMissing',
    message: 'no-such-server is not installed. On Debian and Ubuntu: apt-get install its-package',
  });
});
