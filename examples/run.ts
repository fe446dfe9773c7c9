/** Runs an example by its name; the exit code says whether its checks held. */
import type { ExampleOptions } from './stage.ts';

type Run = (options: ExampleOptions) => Promise<boolean>;

/** Loaded when it is run: nobody needs what only another example uses. */
const EXAMPLES: Readonly<Record<string, () => Promise<{ readonly run: Run }>>> = {
  'saga-transfer': () => import('./saga-transfer/main.ts'),
  'tcc-order': () => import('./tcc-order/main.ts'),
  'xa-two-databases': () => import('./xa-two-databases/main.ts'),
  'message-with-transaction': () => import('./message-with-transaction/main.ts'),
  'workflow-trip': () => import('./workflow-trip/main.ts'),
  'flash-sale': () => import('./flash-sale/main.ts'),
  'cache-invalidation': () => import('./cache-invalidation/main.ts'),
  opentelemetry: () => import('./opentelemetry/main.ts'),
};

async function main([name = '']: readonly string[]): Promise<number> {
  const load = Object.hasOwn(EXAMPLES, name) ? EXAMPLES[name] : undefined;
  if (load === undefined) {
    const names = Object.keys(EXAMPLES).map((known) => `  npm run example -- ${known}`);
    console.error([name === '' ? 'Which example?' : `There is no example "${name}". These are:`, ...names].join('\n'));
    return 2;
  }
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort(signal));
  try {
    const { run } = await load();
    return (await run({ output: process.stdout, signal: ended.signal })) ? 0 : 1;
  } catch (error) {
    if (ended.signal.aborted) return 130;
    console.error(error instanceof Error ? error.message : error);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
