/** `atomesh demo`: a shop of three services on a real PostgreSQL, with a club on MariaDB where one is installed, and scenes that end with checks. */
import { Command } from 'commander';
import { CommandFailed, describeError, EXIT } from './exit.ts';

/** What shells report for a command that Ctrl-C ended. */
const INTERRUPTED = 130;

/** Exit code 0 when every check held, 1 when one did not or the demo could not run, 130 when it was interrupted. */
export const demoCommand: Command = new Command('demo')
  .description(
    'run three services on three databases through commits, failures and crashes, and check the outcome; from a checkout only',
  )
  .option('--keep', 'leave everything running afterwards, until Ctrl-C', false)
  .action(async ({ keep }: { keep: boolean }) => {
    const ended = new AbortController();
    // The first signal ends the demo in order; a second one at once, and its processes with it.
    const end = (): void => {
      if (ended.signal.aborted) process.exit(INTERRUPTED);
      ended.abort(new Error('interrupted'));
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
    for (const name of signals) process.on(name, end);
    // A reader that goes away (`| head`) ends the demo as Ctrl-C does.
    process.stdout.once('error', end);
    try {
      const { runDemo } = await import('../examples/demo/demo.ts');
      const passed = await runDemo({ keep, output: process.stdout, signal: ended.signal });
      process.exitCode = passed ? EXIT.ok : EXIT.failure;
    } catch (error) {
      if (ended.signal.aborted) throw new CommandFailed(INTERRUPTED, 'interrupted', { cause: error });
      throw new CommandFailed(EXIT.failure, `The demo could not run: ${explain(error)}`, { cause: error });
    } finally {
      for (const name of signals) process.off(name, end);
    }
  });

function explain(error: unknown): string {
  const text = describeError(error);
  const isMissing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
  if (!isMissing) return text;
  return `${text}\nThe demo runs from a checkout only, where its services and its PostgreSQL are: clone the repository, then npm run demo.`;
}
