/** The simple protocol: a text that cannot be captured runs as it came, in a local transaction that is then prepared. */
import type { SessionState } from '../../sql/session.ts';
import { isRunAsText, runWaitingText } from '../locks/waiting-text.ts';
import { withoutPosition } from '../session/capture-run.ts';
import { fail, rollBack, sendReady, type Conversation } from '../session/conversation.ts';
import type { Request } from '../session/exchange.ts';
import { SYNC } from '../wire/bodiless.ts';
import { COMMITTED, endBlock, prepare } from './end.ts';
import { addEntry, eventOf, noteChange, openBranch, type Entry, type Obstacle } from './enter.ts';

/** Serves one Query message of a single statement. Outside a block it gets one of ours, which is prepared at once. */
export async function serveChange(c: Conversation, change: Omit<ChangeRun, 'begins'>): Promise<void> {
  const wraps = c.state.block === 'idle';
  const isGood = await runChange(c, { ...change, begins: wraps });
  // A text that failed has rolled back to where a block of ours can only be rolled back.
  if (wraps && c.state.block !== 'idle') await (isGood ? endBlock(c) : rollBack(c));
  sendReady(c);
}

export interface ChangeRun {
  /** The Query message. */
  readonly frame: Buffer;
  /** The client's text, and which of its statements it is, from 0 on. */
  readonly text: string;
  readonly index: number;
  readonly admission: Entry;
  /** A block of ours goes ahead of it. */
  readonly begins: boolean;
}

/** Runs one change, its branch entered ahead of it. The client has its answer, or the error, without ReadyForQuery. False when it failed. */
export async function runChange(c: Conversation, run: ChangeRun): Promise<boolean> {
  const { admission, begins } = run;
  const before = c.state;
  const enters = admission.kind === 'enter';
  const obstacle = enters ? await openBranch(c) : undefined;
  if (obstacle !== undefined) {
    await tell(c, obstacle);
    return false;
  }
  const ahead: Request[] = [];
  if (begins) ahead.push(c.injected.add('begin'));
  if (enters) ahead.push(addEntry(c, admission, { told: false }));
  noteChange(c, admission, true);
  const waited = await runAsItWaits(c, run, before);
  const isDone = waited === 'as-it-came' ? await runAsItCame(c, run.frame) : waited === 'done';
  if (ahead.some(({ state }) => state !== 'done')) {
    c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await c.exchange.settled();
    const error = ahead.find((each) => each.error !== undefined)?.error;
    if (error !== undefined) c.toClient(withoutPosition(error));
    c.count('refused');
    return false;
  }
  c.count(eventOf(admission));
  return isDone;
}

function runAsItWaits(c: Conversation, run: ChangeRun, before: SessionState): ReturnType<typeof runWaitingText> {
  const { text, index, begins } = run;
  const capture = run.admission.waits;
  if (capture === undefined || !isRunAsText(capture)) return Promise.resolve('as-it-came');
  // A block of ours is on its way: what waits in it is given back by a savepoint.
  if (begins) c.state = { ...c.state, block: 'open' };
  return runWaitingText(c, { text, index, capture, isAlone: false, before });
}

async function runAsItCame(c: Conversation, frame: Buffer): Promise<boolean> {
  const request = c.exchange.add({ kind: 'query', to: 'client', keepsReady: true }, frame);
  // While it takes COPY data a server ignores Sync: that goes out when the text is done, and only where the server may be skipping.
  await c.exchange.settled();
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
