/** A statement of a text that waits for row locks: the simple protocol. */
import type { Capture } from '../../sql/statement.ts';
import { fail, type Conversation } from '../session/conversation.ts';
import { captureRun } from '../session/simple/text-run.ts';
import { runWaiting, waiterOf, type WaitingStatement } from './waiting-run.ts';

/** One statement of a text. */
export type WaitingText = Omit<WaitingStatement, 'run'> & { readonly capture: Capture };

/** True for a statement that a text can run: of parameters that no EXECUTE gives values to the server says that there are none. */
export function isRunAsText({ clientParameters, execute }: Capture): boolean {
  return clientParameters === 0 || execute !== undefined;
}

/**
 * Runs it, and gives the client its answer or the error, without ReadyForQuery. `failed`: also when something ahead of it has failed, which
 * the client is not told here. `as-it-came`: nothing of it has run, and the client's own text shall.
 */
export async function runWaitingText(c: Conversation, of: WaitingText): Promise<'done' | 'failed' | 'as-it-came'> {
  let fields = (): readonly Buffer[] => [];
  const outcome = await runWaiting(c, of.capture, {
    ...of,
    run: (admission, watch) => {
      const run = captureRun(c, admission, waiterOf(c), watch);
      ({ fields } = run);
      return run;
    },
  });
  switch (outcome.kind) {
    case 'as-it-came':
      return 'as-it-came';
    case 'done':
      for (const bytes of [...fields(), ...outcome.frames]) c.toClient(bytes);
      return 'done';
    case 'error':
      c.toClient(outcome.frame);
      return 'failed';
    case 'refused':
      await fail(c, outcome.refusal, false);
      return 'failed';
    case 'stale':
    case 'skipped':
      return 'failed';
  }
}
