import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { fuzz } from './fuzz.ts';

const MIB = 1024 * 1024;
/** What connections leave behind grows with each batch; what is compiled and cached does not. */
const BATCHES = 3;
const BATCH = 3500;
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
  let [answered, refused] = [warm.canaryAnswers, warm.refused];
  const growths: number[] = [];
  for (let batch = 1; batch <= BATCHES; batch += 1) {
    const before = heldBytes();
    const report = await fuzz({ seed: seed + batch, iterations: BATCH });
    growths.push(heldBytes() - before);
    answered += report.canaryAnswers;
    refused += report.refused;
  }
  t.is(answered, 1000 + BATCHES * BATCH);
  t.true(refused > 5000, `only ${refused} connections were refused`);
  const growth = Math.min(...growths);
  t.true(growth < MIB, `${growth / MIB} MiB are held`);
});
