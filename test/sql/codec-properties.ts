/** What the properties of both codecs are made of, and the longer hunt through them. */
import { parseArgs } from 'node:util';
import fc from 'fast-check';

export interface Property {
  /** A sentence: the rule. */
  readonly title: string;
  readonly property: fc.IRawProperty<unknown>;
}

/** What a reader may be told of frames: that all pass, */
export const pass = (): boolean => false;
/** that all are held, */
export const hold = (): boolean => true;
/** or some types, by an arbitrary mask. */
export const some =
  (mask: number) =>
  (type: number): boolean =>
    ((mask >> (type & 15)) & 1) === 1;

/** Cuts `bytes` into chunks of the given sizes, used over and over. */
export function chunksOf(bytes: Buffer, sizes: readonly number[]): readonly Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, index = 0; at < bytes.length; index += 1) {
    const size = sizes[index % sizes.length] as number;
    // A copy: views of one Buffer would hide that a reader has kept a chunk that the socket uses again.
    chunks.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  return chunks;
}

/**
 * Tries each property many times, as the arguments of the process say: `[--seed S] [--iterations N] [--property I --path P]`. Prints how a
 * failure is found again; `script` is what was started.
 */
export async function hunt(script: string, properties: readonly Property[]): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      iterations: { type: 'string' },
      path: { type: 'string' },
      property: { type: 'string' },
    },
  });
  const seed = Number(values.seed ?? Date.now() % 0x7fff_ffff);
  const iterations = Math.min(Number(values.iterations ?? 20_000), 10_000_000);
  console.log(`seed ${seed}, ${iterations} iterations of each property`);

  for (const [index, { title, property }] of properties.entries()) {
    if (values.property !== undefined && Number(values.property) !== index) continue;
    const result = await fc.check(property, {
      seed,
      numRuns: iterations,
      ...(values.path === undefined ? {} : { path: values.path }),
    });
    if (!result.failed) {
      console.log(`ok    ${title}`);
      continue;
    }
    console.log(`FAILS ${title}\n${await fc.asyncDefaultReportMessage(result)}`);
    console.log(
      `replay: node ${script} --seed ${seed} --iterations ${iterations} --property ${index} --path ${result.counterexamplePath ?? '0'}`,
    );
    process.exitCode = 1;
  }
}
