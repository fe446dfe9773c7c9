import test from 'ava';
import fc from 'fast-check';
import { buffer } from 'node:stream/consumers';
import { PassThrough } from 'node:stream';
import { copyLines, LinePrefix } from '../../cli/run/prefix.ts';

async function prefixed(chunks: readonly Buffer[]): Promise<string> {
  const stream = new LinePrefix('[x] ');
  const text = buffer(stream);
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  return (await text).toString();
}

test('every line gets its prefix, wherever the text is cut', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: 'grapheme', maxLength: 8 }).map((line) => line.replaceAll('\n', ''))),
      fc.integer({ min: 1, max: 9 }),
      async (lines, size) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const chunks = [];
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
        return (await prefixed(chunks)) === lines.map((line) => `[x] ${line}\n`).join('');
      },
    ),
    { numRuns: 100 },
  );
  t.pass();
});

test('an end without a line break gets one, and a line without end comes out in parts', async (t) => {
  t.is(await prefixed([Buffer.from('a\nb')]), '[x] a\n[x] b\n');
  t.is(await prefixed([]), '');
  const parts = (await prefixed([Buffer.alloc(100_000, 'a'), Buffer.alloc(10, 'b')])).split('\n');
  t.deepEqual(
    parts.map((part) => part.length),
    [100_004, 14, 0],
  );
});

test('when nobody reads any more, the writer is not held up', async (t) => {
  const source = new PassThrough();
  const target = new PassThrough();
  copyLines(source, target, '');
  target.destroy();
  const ended = new Promise((resolve) => source.once('end', resolve));
  for (let count = 0; count < 100; count += 1) source.write(Buffer.alloc(10_000, 'a\n'));
  source.end();
  await ended;
  t.pass();
});
