import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { fuzz } from './fuzz.ts';

const MIB = 1024 * 1024;
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes that JavaScript holds. The parser's WebAssembly memory grows to its own size and stays there. */
function heldBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

test('bad bytes from either side end their own connection at once, go no further, and hurt nobody else', async (t) => {
  const seed = Date.now() % 0x7fff_ffff;
  t.log(`seed ${seed}`);
  const warm = await fuzz({ seed, iterations: 1000 });
  const before = heldBytes();
  const report = await fuzz({ seed: seed + 1, iterations: 10_000 });
  const growth = heldBytes() - before;
  t.is(warm.canaryAnswers + report.canaryAnswers, 11_000);
  t.true(report.refused > 5000, `only ${report.refused} connections were refused`);
  t.true(growth < 4 * MIB, `${growth / MIB} MiB are held`);
});
