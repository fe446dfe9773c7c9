/**
 * Serves a client's messages while its session belongs to a global transaction: one at a time, each planned, each answered as
 * if the server alone had answered. Returns when the session is free again and its bytes may go through as they come.
 */
import { isFree, markOf } from '../../sql/session.ts';
import type { Refusal } from '../../sql/statement.ts';
import { FRONTEND } from '../wire/frames.ts';
import { refuseSimple, type Conversation } from './conversation.ts';
import type { ClientFrame } from './pass-watch.ts';
import { Pipeline } from './pipeline.ts';
import { serveQuery } from './simple-query.ts';

/** Serves messages until the session is free. The first is the one that named a gid, or leads up to it in one pipeline. */
export async function converse(c: Conversation): Promise<void> {
  const pipeline = new Pipeline(c);
  for (;;) {
    const frame = await c.nextOrDoom();
    if (frame === undefined) {
      await pipeline.abandon();
      continue;
    }
    switch (frame.type) {
      case FRONTEND.query:
        if (!(await pipeline.isDropping())) await serveQuery(c, frame);
        break;
      case FRONTEND.functionCall:
        if (!(await pipeline.isDropping())) await serveFunctionCall(c, frame);
        break;
      case FRONTEND.terminate:
        c.exchange.addUnanswered(frame.bytes);
        c.exchange.flush();
        break;
      default:
        await pipeline.serve(frame);
    }
    await c.cancelling();
    if (isFree(c.state) && pipeline.isIdle && c.exchange.pending === 0) return;
  }
}

/** Only the pipeline in front of it is looked at where a session without a gid waits for row locks. */
async function serveFunctionCall(c: Conversation, frame: ClientFrame): Promise<void> {
  if (!c.respectsLocks || markOf(c.state) !== undefined || c.ambientMark() !== undefined)
    return refuseSimple(c, functionCallRefusal);
  c.exchange.add({ kind: 'query', to: 'client' }, frame.bytes);
  await c.exchange.settled();
}

const functionCallRefusal: Refusal = {
  code: '0A000',
  message: 'a function call message (fast path) cannot run inside a global transaction',
  hint: 'Call the function with SELECT, or outside the global transaction.',
};
