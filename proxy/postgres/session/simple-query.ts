/** The simple protocol inside a global transaction: one message, one text, one ReadyForQuery. */
import { admit } from '../../sql/session.ts';
import type { Refusal, StatementPlan } from '../../sql/statement.ts';
import { serveOperationQuery } from '../operation/simple.ts';
import { runCapture, type CaptureRun } from './capture-run.ts';
import {
  bindByComment,
  bindBySetting,
  bodyOf,
  currentBranch,
  currentWork,
  fail,
  isAmbiguous,
  isClear,
  note,
  noteCaptured,
  notePassed,
  plansOf,
  refuseCommit,
  rollBack,
  refuseSimple,
  sendReady,
  waitsOutside,
  type Conversation,
} from './conversation.ts';
import { withCursors } from './ahead/cursors.ts';
import { aheadOfPassed, aheadOfRead } from './ahead/earlier-writes.ts';
import { isRunAsText, runWaitingText } from '../locks/waiting-text.ts';
import type { ClientFrame } from './pass-watch.ts';
import { ambiguousTrace, malformed, stalePlan } from './refusals.ts';
import { serveSeveral } from './simple/several.ts';
import { captureRun } from './simple/text-run.ts';
import { serveChange, servePrepare } from '../xa/simple.ts';
import { hasClue } from '../../binding/gid-clues.ts';
import { forget, type Statement } from './statements.ts';
import { SYNC } from '../wire/bodiless.ts';
import { decodeQuery } from '../wire/query.ts';

/** Serves one Query message. */
export async function serveQuery(c: Conversation, frame: ClientFrame): Promise<void> {
  const query = decodeQuery(bodyOf(frame));
  if (query.kind === 'fault') return refuseSimple(c, malformed(query));
  // The server drops the unnamed statement when a simple query comes; so do we.
  forget(c.statements, '');
  c.statements.portals.delete('');
  const text = query.text.toString('utf8');
  const asStatement: Statement = {
    name: '',
    frame: frame.bytes,
    text,
    types: [],
    hasClue: hasClue(query.text),
    isDoubtful: false,
    mayHideClue: false,
    isPrepared: true,
  };
  const refusal = bindByComment(c, asStatement);
  if (refusal !== undefined) return refuseSimple(c, refusal);
  const isUnclear = isAmbiguous(c, asStatement);
  const planned = await plansOf(c, text, false, isUnclear ? 'operation' : undefined);
  const statements = planned && (await withCursors(c, planned, false));
  if (statements === undefined) return sendReady(c);
  const plans = statements.map((statement) => statement.plan);
  if (isUnclear) c.count('ambiguous');
  if (isUnclear && !plans.every(isClear)) return refuseSimple(c, ambiguousTrace);
  const [plan] = plans;
  if (plan === undefined || plans.every(({ kind }) => kind === 'pass'))
    return forward(c, frame, { kind: 'pass' }, text);
  const work = currentWork(c);
  if (work?.kind === 'operation' && !(plans.length === 1 && plan.kind === 'set-gid'))
    return serveOperationQuery(c, { frame, text, statements, operation: work.operation });
  // What could end a local transaction by itself gets a block around it, as several statements do.
  const needsBlock = plan.kind === 'capture' && plan.capture.recorded?.isPlain === false && c.state.block === 'idle';
  if (plans.length > 1 || (needsBlock && work !== undefined)) {
    if (work?.kind === 'undo' && c.state.block !== 'failed') {
      const refused = plans.find((each) => each.kind === 'refuse');
      if (refused?.kind === 'refuse') return refuseSimple(c, refused.refusal);
      if (plans.every(({ kind }) => kind === 'pass' || kind === 'capture' || kind === 'change'))
        return serveSeveral(c, { text, statements, capture: (admission, each) => capture(c, admission, each) });
    }
    const isOurs = work !== undefined || plans.some(({ kind }) => kind === 'set-gid');
    return isOurs ? refuseSimple(c, severalStatements) : forward(c, frame, { kind: 'pass' }, text);
  }
  return serveOne(c, frame, plan, text);
}

async function serveOne(c: Conversation, frame: ClientFrame, plan: StatementPlan, text: string): Promise<void> {
  if (currentWork(c) === undefined && plan.kind !== 'set-gid') {
    return plan.kind === 'capture' && waitsOutside(c) && isRunAsText(plan.capture)
      ? serveWaiting(c, frame, plan, text)
      : forward(c, frame, plan, text);
  }
  const admission = admit(c.state, plan);
  switch (admission.kind) {
    case 'forward':
      return forward(c, frame, plan, text);
    case 'refuse':
      return refuseSimple(c, admission.refusal);
    case 'set-gid': {
      const refusal = bindBySetting(c, admission.setting, () => undefined);
      return refusal === undefined ? forward(c, frame, plan, text) : refuseSimple(c, refusal);
    }
    case 'commit':
      return commit(c, frame, plan);
    case 'capture':
      if (admission.capture.read !== undefined && (await aheadOfRead(c, text)) === false) return synchronised(c);
      await capture(c, admission, plan);
      return sendReady(c);
    case 'prepare':
      return servePrepare(c, admission.chains, () => forward(c, frame, plan));
    case 'enter':
    case 'entered':
      return serveChange(c, { frame: frame.bytes, text, index: 0, admission });
  }
}

/** Runs a statement outside any global transaction that waits for row locks. */
async function serveWaiting(
  c: Conversation,
  frame: ClientFrame,
  plan: Extract<StatementPlan, { kind: 'capture' }>,
  text: string,
): Promise<void> {
  const { capture: waits } = plan;
  const isAlone = c.state.block === 'idle';
  const outcome = await runWaitingText(c, { text, index: 0, capture: waits, isAlone, before: c.state });
  if (outcome === 'as-it-came') return forward(c, frame, { kind: 'pass' }, text);
  if (outcome === 'done') noteCaptured(c, waits, plan);
  sendReady(c);
}

/** Runs one captured statement. False when it failed; the client has its answer or the error. */
async function capture(c: Conversation, admission: CaptureRun['admission'], plan: StatementPlan): Promise<boolean> {
  const run = captureRun(c, admission, currentBranch(c));
  const outcome = await runCapture(c, run);
  if (outcome.kind === 'stale') {
    c.planner.catalogueMoved();
    await fail(c, stalePlan, false);
  } else if (outcome.kind === 'refused') await fail(c, outcome.refusal, false);
  else if (outcome.kind === 'error') c.toClient(outcome.frame);
  else if (outcome.kind === 'done') {
    for (const bytes of [...run.fields(), ...outcome.frames]) c.toClient(bytes);
    noteCaptured(c, admission.capture, plan);
  }
  return outcome.kind === 'done';
}

/** `text`: of a statement that may lock rows. */
async function forward(c: Conversation, frame: ClientFrame, plan: StatementPlan, text = ''): Promise<void> {
  notePassed(c, text);
  if ((await aheadOfPassed(c, text)) === false) return synchronised(c);
  const request = c.exchange.add({ kind: 'query', to: 'client', isDecisive: plan.kind === 'control' }, frame.bytes);
  await c.exchange.settled();
  if (request.state === 'done') note(c, plan);
}

/** What went ahead of the client's text has failed, and the client has the error. */
async function synchronised(c: Conversation): Promise<void> {
  c.exchange.add({ kind: 'sync', to: 'client' }, SYNC);
  await c.exchange.settled();
}

/** The local transaction ends: what it changed must be known to the coordinator first. */
async function commit(c: Conversation, frame: ClientFrame, plan: StatementPlan): Promise<void> {
  const refusal = await refuseCommit(c);
  if (refusal === undefined) return forward(c, frame, plan);
  await rollBack(c);
  await refuseSimple(c, refusal);
}

const severalStatements: Refusal = {
  code: '0A000',
  message:
    'BEGIN, COMMIT, savepoints and SET atomesh.gid cannot stand in one query with other statements inside a global transaction',
  hint: 'Send them one by one.',
};
