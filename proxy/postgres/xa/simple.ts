/** The simple protocol: a text that cannot be captured runs as it came, in a local transaction that is then prepared. */
import { withoutPosition } from '../session/capture-run.ts';
import { fail, rollBack, sendReady, type Conversation } from '../session/conversation.ts';
import type { Request } from '../session/exchange.ts';
import type { ClientFrame } from '../session/pass-watch.ts';
import { SYNC } from '../wire/bodiless.ts';
import { COMMITTED, endBlock, prepare } from './end.ts';
import { addEntry, eventOf, noteChange, openBranch, type Entry, type Obstacle } from './enter.ts';

/** Serves one Query message of a single statement. Outside a block it gets one of ours, which is prepared at once. */
export async function serveChange(c: Conversation, frame: ClientFrame, admission: Entry): Promise<void> {
  const wraps = c.state.block === 'idle';
  const isGood = await runChange(c, { frame: frame.bytes, admission, begins: wraps });
  // A text that failed has rolled back to where a block of ours can only be rolled back.
  if (wraps && c.state.block !== 'idle') await (isGood ? endBlock(c) : rollBack(c));
  sendReady(c);
}

export interface ChangeRun {
  /** The Query message. */
  readonly frame: Buffer;
  readonly admission: Entry;
  /** A block of ours goes ahead of it. */
  readonly begins: boolean;
}

/** Runs one change, its branch entered ahead of it. The client has its answer, or the error, without ReadyForQuery. False when it failed. */
export async function runChange(c: Conversation, run: ChangeRun): Promise<boolean> {
  const enters = run.admission.kind === 'enter';
  const obstacle = enters ? await openBranch(c) : undefined;
  if (obstacle !== undefined) {
    await tell(c, obstacle);
    return false;
  }
  const ahead: Request[] = [];
  if (run.begins) ahead.push(c.injected.add('begin'));
  if (enters) ahead.push(addEntry(c, run.admission, { told: false }));
  noteChange(c, run.admission, true);
  const request = c.exchange.add({ kind: 'query', to: 'client', keepsReady: true }, run.frame);
  // While it takes COPY data a server ignores Sync: that goes out when the text is done, and only where the server may be skipping.
  await c.exchange.settled();
  if (ahead.some(({ state }) => state !== 'done')) {
    c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await c.exchange.settled();
    const error = ahead.find((each) => each.error !== undefined)?.error;
    if (error !== undefined) c.toClient(withoutPosition(error));
    c.count('refused');
    return false;
  }
  c.count(eventOf(run.admission));
  return request.state === 'done';
}

/** COMMIT of a block that is to be prepared. `commit`: sends the client's own, for a block that has written nothing. */
export async function servePrepare(c: Conversation, chains: boolean, commit: () => Promise<void>): Promise<void> {
  const result = await prepare(c, chains);
  if (result.kind === 'committable') return await commit();
  c.toClient(result.kind === 'prepared' ? COMMITTED : result.error);
  sendReady(c);
}

async function tell(c: Conversation, obstacle: Obstacle): Promise<void> {
  if (obstacle.kind === 'refused') await fail(c, obstacle.refusal, false);
  else if (obstacle.kind === 'error') c.toClient(obstacle.frame);
}
