/** The simple protocol inside a global transaction: one message, one text, one ReadyForQuery. */
import { admit, holdsLocks } from '../../sql/session.ts';
import type { Capture, Refusal, StatementPlan } from '../../sql/statement.ts';
import type { UndoBranch } from '../../sql/work.ts';
import { quoteText } from '../identifier.ts';
import { serveOperationQuery } from '../operation/simple.ts';
import { ownTypes, ownValues, runCapture, withoutPosition, type CaptureRun } from './capture-run.ts';
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
import { aheadOfPassed, aheadOfRead } from './ahead/earlier-writes.ts';
import { runWaiting, waiterOf } from '../locks/waiting-run.ts';
import type { ClientFrame } from './pass-watch.ts';
import { ambiguousTrace, malformed, stalePlan } from './refusals.ts';
import { serveSeveral } from './simple/several.ts';
import { serveChange, servePrepare } from '../xa/simple.ts';
import { hasClue } from '../../binding/gid-clues.ts';
import { forget, type Statement } from './statements.ts';
import { encodeBind } from '../wire/bind.ts';
import { SYNC } from '../wire/bodiless.ts';
import { encodeClose, encodeDescribe } from '../wire/describe.ts';
import { encodeExecute } from '../wire/execute.ts';
import { encodeParse } from '../wire/parse.ts';
import { BACKEND } from '../wire/frames.ts';
import { decodeQuery } from '../wire/query.ts';
import type { Request } from './exchange.ts';

const UNNAMED = Buffer.alloc(0);
/** What a capturing statement is called that runs for a simple query. */
const OURS = Buffer.from('atomesh_simple');
/** What runs it for a client that runs by EXECUTE what it has prepared. */
const EXECUTING = Buffer.from('atomesh_execute');
/** A simple query leaves no unnamed statement behind, neither an earlier one of the client's nor one of ours. */
const CLOSE_ALL: readonly Buffer[] = [UNNAMED, OURS, EXECUTING].map((name) =>
  encodeClose({ kind: 'close', target: 'statement', name }),
);

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
  const statements = await plansOf(c, text, false, isUnclear ? 'operation' : undefined);
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
    // A text has no parameters, which the server says of the client's own.
    return plan.kind === 'capture' &&
      waitsOutside(c) &&
      !(plan.capture.clientParameters > 0 && plan.capture.execute === undefined)
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
      return serveChange(c, frame, admission);
  }
}

/** Runs a statement outside any global transaction that waits for row locks. */
async function serveWaiting(
  c: Conversation,
  frame: ClientFrame,
  plan: Extract<StatementPlan, { kind: 'capture' }>,
  text: string,
): Promise<void> {
  let fields = (): readonly Buffer[] => [];
  const outcome = await runWaiting(c, plan.capture, {
    text,
    isAlone: c.state.block === 'idle',
    run: (admission, watch) => {
      const run = captureRun(c, admission, waiterOf(c), watch);
      ({ fields } = run);
      return run;
    },
  });
  switch (outcome.kind) {
    case 'as-it-came':
      return forward(c, frame, { kind: 'pass' }, text);
    case 'done':
      for (const bytes of [...fields(), ...outcome.frames]) c.toClient(bytes);
      noteCaptured(c, plan.capture, plan);
      break;
    case 'error':
      c.toClient(outcome.frame);
      break;
    case 'refused':
      await fail(c, outcome.refusal, false);
      break;
    default:
  }
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

/** A run, and the description of its rows, which goes out with them: the server sends none ahead of an error. */
function captureRun(
  c: Conversation,
  admission: CaptureRun['admission'],
  branch: UndoBranch,
  watch = (request: Request): void => tellError(c, request),
): CaptureRun & { readonly fields: () => readonly Buffer[] } {
  const { capture } = admission;
  let description: Request | undefined;
  return {
    branch,
    admission,
    isAlone: c.state.block === 'idle',
    keepsLocks: c.state.lockedRows,
    holdsLocks: holdsLocks(c.state),
    isBound: false,
    bindAgain(committed) {
      const text = Buffer.from(admission.enter ? capture.sql : capture.sqlWhenEntered);
      const values = ownValues(capture.ownParameters, {
        branch,
        timeZone: c.settings.get('TimeZone') ?? 'UTC',
        committed,
      });
      for (const close of CLOSE_ALL) watch(c.exchange.add({ kind: 'close', to: 'nobody' }, close));
      const { execute } = capture;
      const parse = (statement: Buffer, sql: Buffer, parameterTypes: readonly number[]): void =>
        watch(
          c.exchange.add(
            { kind: 'parse', to: 'nobody' },
            encodeParse({ kind: 'parse', statement, text: sql, parameterTypes }),
          ),
        );
      parse(OURS, text, [...(execute?.types ?? []), ...ownTypes(capture.ownParameters)]);
      if (execute !== undefined) parse(EXECUTING, executeSql(execute, values), []);
      watch(
        c.exchange.add(
          { kind: 'bind', to: 'nobody' },
          encodeBind({
            kind: 'bind',
            portal: UNNAMED,
            statement: execute === undefined ? OURS : EXECUTING,
            formats: [],
            values: execute === undefined ? values : [],
            resultFormats: [],
          }),
        ),
      );
      if (capture.returnsRows) {
        description = c.exchange.add(
          { kind: 'describe-portal', to: 'held' },
          encodeDescribe({ kind: 'describe', target: 'portal', name: UNNAMED }),
        );
      }
    },
    execute: () =>
      c.exchange.add({ kind: 'execute', to: 'held' }, encodeExecute({ kind: 'execute', portal: UNNAMED, maxRows: 0 })),
    // NoData is no answer to a simple query.
    fields: () => (description?.frames ?? []).filter((each) => each[0] === BACKEND.rowDescription),
  };
}

function tellError(c: Conversation, request: Request): void {
  request.onEnd = () => {
    if (request.error !== undefined) c.toClient(withoutPosition(request.error));
  };
}

/** The server computes the client's arguments and gives them their types, as it would for the statement that the client prepared. */
function executeSql({ arguments: given }: NonNullable<Capture['execute']>, values: readonly Buffer[]): Buffer {
  const own = values.map((value) => quoteText(value.toString('utf8')));
  const all = given === undefined ? own : [`${given}\n`, ...own];
  return Buffer.from(`EXECUTE ${OURS.toString()} (${all.join(', ')})`);
}

const severalStatements: Refusal = {
  code: '0A000',
  message:
    'BEGIN, COMMIT, savepoints and SET atomesh.gid cannot stand in one query with other statements inside a global transaction',
  hint: 'Send them one by one.',
};
