/** The simple protocol inside an operation: the text runs as it came, behind the row of the barrier where it may change rows. */
import { arrange } from '../../sql/arrange.ts';
import type { PlannedStatement } from '../../sql/planner.ts';
import { enteredOperation } from '../../sql/session.ts';
import type { BarrierOperation } from '../../sql/work.ts';
import { sendRow } from './row.ts';
import { endBlock } from '../xa/end.ts';
import { aheadOfPassed } from '../session/ahead/earlier-writes.ts';
import { withoutPosition } from '../session/capture-run.ts';
import { note, notePassed, refuseSimple, sendReady, type Conversation } from '../session/conversation.ts';
import type { Request } from '../session/exchange.ts';
import type { ClientFrame } from '../session/pass-watch.ts';
import { SYNC } from '../wire/bodiless.ts';
import { FRONTEND } from '../wire/frames.ts';
import { encodeQuery } from '../wire/query.ts';

/** A Query message of a session that serves an operation. */
export interface OperationQuery {
  readonly frame: ClientFrame;
  readonly text: string;
  /** What the text consists of. */
  readonly statements: readonly PlannedStatement[];
  readonly operation: BarrierOperation;
}

/** Serves one Query message whose mark is an operation's, and whose plans are those inside one. */
export async function serveOperationQuery(c: Conversation, query: OperationQuery): Promise<void> {
  const { frame, text, statements } = query;
  const arrangement = arrange(statements, c.state.block);
  switch (arrangement.kind) {
    case 'refuse':
      return refuseSimple(c, arrangement.refusal);
    case 'as-is':
      return runAsIs(c, query);
    case 'ahead':
      return runBehindRow(c, query, frame);
    case 'behind': {
      const bytes = Buffer.from(text);
      const head = bytes.subarray(0, arrangement.at);
      const begun = c.exchange.add({ kind: 'query', to: 'client', keepsReady: true }, queryFrame(head).bytes);
      await c.exchange.settled();
      if (begun.state !== 'done') return sendReady(c);
      // As many blanks as it had characters: the positions in the server's errors stay those of the whole text.
      const blanks = Buffer.alloc(charactersOf(head), ' ');
      return runBehindRow(c, query, queryFrame(Buffer.concat([blanks, bytes.subarray(arrangement.at)])));
    }
  }
}

async function runAsIs(c: Conversation, query: OperationQuery): Promise<void> {
  notePassed(c, query.text);
  if ((await aheadOfPassed(c, query.text)) === false) {
    c.exchange.add({ kind: 'sync', to: 'client' }, SYNC);
    return c.exchange.settled();
  }
  const isDecisive = query.statements.some(({ plan }) => plan.kind === 'control');
  const request = c.exchange.add({ kind: 'query', to: 'client', isDecisive }, query.frame.bytes);
  await c.exchange.settled();
  if (request.state === 'done') noteControls(c, query);
}

/**
 * Row and text go out in one write, and when the row is refused the server drops the text. Without a block of the client's they get
 * one of ours, whose COMMIT goes with them: behind a text that failed it rolls back. A server's own implicit transaction will not do:
 * a procedure could end it, and a Query behind messages of the extended protocol confuses servers from 17 on.
 */
async function runBehindRow(c: Conversation, query: OperationQuery, frame: ClientFrame): Promise<void> {
  const wraps = c.state.block === 'idle';
  const ahead: Request[] = [];
  if (wraps) ahead.push(c.injected.add('begin'));
  const checkEarlierWrites = c.state.boundLate && !c.state.changed;
  if (!c.state.entered) ahead.push(sendRow(c, query.operation, { checkEarlierWrites, told: false }));
  c.state = enteredOperation(c.state);
  const request = c.exchange.add({ kind: 'query', to: 'client', keepsReady: true }, frame.bytes);
  if (TAKES_DATA.test(query.text)) await c.exchange.settled();
  const commit = wraps ? c.injected.add('commit') : undefined;
  c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await c.exchange.settled();
  const refused = ahead.find(({ state }) => state !== 'done');
  const error = (refused ?? commit)?.error;
  if (error !== undefined) c.toClient(withoutPosition(error));
  c.count(refused === undefined ? 'entered' : 'refused');
  if (request.state === 'done') noteControls(c, query);
  if (wraps && c.state.block !== 'idle') await endBlock(c);
  sendReady(c);
}

/** While it takes COPY data a server ignores Sync, and other messages end the COPY. To take too much for one costs a round trip. */
const TAKES_DATA = /\bcopy\b/i;

/** What ReadyForQuery does not tell: a chained block is a new one. */
function noteControls(c: Conversation, { statements }: OperationQuery): void {
  for (const { plan } of statements) if (plan.kind === 'control') note(c, plan);
}

/** How many characters of UTF-8 begin in it. */
function charactersOf(bytes: Buffer): number {
  return bytes.reduce((count, byte) => ((byte & 0xc0) === 0x80 ? count : count + 1), 0);
}

function queryFrame(text: Buffer): ClientFrame {
  return { type: FRONTEND.query, bytes: encodeQuery({ kind: 'query', text }) };
}
