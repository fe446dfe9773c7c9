/** The simple protocol inside a global transaction: one message, one text, one ReadyForQuery. */
import { admit, gidOf } from '../../sql/session.ts';
import type { Refusal, StatementPlan } from '../../sql/statement.ts';
import { ownTypes, ownValues, runCapture, withoutPosition, type CaptureRun } from './capture-run.ts';
import {
  bindByComment,
  bindBySetting,
  bodyOf,
  fail,
  note,
  notePassed,
  plansOf,
  refuseSimple,
  sendReady,
  type Conversation,
} from './conversation.ts';
import type { ClientFrame } from './pass-watch.ts';
import { malformed, stalePlan } from './refusals.ts';
import { isMarked } from '../../binding/gid-marks.ts';
import { forget, type Statement } from './statements.ts';
import { encodeBind } from '../wire/bind.ts';
import { SYNC } from '../wire/bodiless.ts';
import { encodeDescribe } from '../wire/describe.ts';
import { encodeExecute } from '../wire/execute.ts';
import { encodeParse } from '../wire/parse.ts';
import { decodeQuery } from '../wire/query.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Request } from './exchange.ts';

const UNNAMED = Buffer.alloc(0);

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
    isMarked: isMarked(query.text),
    isDoubtful: false,
    mayHideMark: false,
    isPrepared: true,
  };
  const refusal = bindByComment(c, asStatement);
  if (refusal !== undefined) return refuseSimple(c, refusal);
  const plans = await plansOf(c, text, false);
  if (plans === undefined) return sendReady(c);
  const [plan] = plans;
  if (plan === undefined || plans.every(({ kind }) => kind === 'pass'))
    return forward(c, frame, { kind: 'pass' }, text);
  if (plans.length > 1) {
    const isOurs = gidOf(c.state) !== undefined || plans.some(({ kind }) => kind === 'set-gid');
    return isOurs ? refuseSimple(c, severalStatements) : forward(c, frame, { kind: 'pass' }, text);
  }
  return serveOne(c, frame, plan, text);
}

async function serveOne(c: Conversation, frame: ClientFrame, plan: StatementPlan, text: string): Promise<void> {
  const gid = gidOf(c.state);
  if (gid === undefined && plan.kind !== 'set-gid') return forward(c, frame, plan, text);
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
      return commit(c, frame, plan, gid as Gid);
    case 'capture': {
      const run = captureRun(c, admission, gid as Gid);
      const outcome = await runCapture(c, run);
      if (outcome.kind === 'stale') {
        c.planner.forget();
        await fail(c, stalePlan, false);
      } else if (outcome.kind === 'refused') await fail(c, outcome.refusal, false);
      else if (outcome.kind === 'error') c.toClient(outcome.frame);
      else if (outcome.kind === 'done') {
        c.count('captured');
        for (const bytes of [...run.fields(), ...outcome.frames]) c.toClient(bytes);
        if (c.state.block !== 'idle') note(c, plan);
      }
      return sendReady(c);
    }
  }
}

/** `text`: of a statement that may lock rows. */
async function forward(c: Conversation, frame: ClientFrame, plan: StatementPlan, text = ''): Promise<void> {
  notePassed(c, text);
  const request = c.exchange.add({ kind: 'query', to: 'client', isDecisive: plan.kind === 'control' }, frame.bytes);
  await c.exchange.settled();
  if (request.state === 'done') note(c, plan);
}

/** The local transaction ends: what it changed must be known to the coordinator first. */
async function commit(c: Conversation, frame: ClientFrame, plan: StatementPlan, gid: Gid): Promise<void> {
  const enlisted = c.enlistment.isEnlisted(gid) ? undefined : await c.enlistment.enlist(gid, false);
  if (enlisted?.kind !== 'refused') return forward(c, frame, plan);
  await rollBack(c);
  await refuseSimple(c, enlisted.refusal);
}

/** Rolls the local transaction back behind the client's back: its COMMIT is answered with an error. */
export async function rollBack(c: Conversation): Promise<void> {
  // One that was meant for a statement before would stop this instead.
  await c.cancelling();
  c.injected.add('rollback');
  c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await c.exchange.settled();
}

/** A run, and the description of its rows, which goes out with them: the server sends none ahead of an error. */
function captureRun(
  c: Conversation,
  admission: CaptureRun['admission'],
  gid: Gid,
): CaptureRun & { readonly fields: () => readonly Buffer[] } {
  const { capture } = admission;
  let description: Request | undefined;
  const passError = (request: Request): void => {
    request.onEnd = () => {
      if (request.error !== undefined) c.toClient(withoutPosition(request.error));
    };
  };
  return {
    gid,
    admission,
    isAlone: c.state.block === 'idle',
    keepsLocks: c.state.lockedRows,
    isBound: false,
    bindAgain(committed) {
      const text = Buffer.from(admission.enter ? capture.sql : capture.sqlWhenEntered);
      const values = ownValues(capture.ownParameters, {
        gid,
        resource: c.resource,
        timeZone: c.settings.get('TimeZone') ?? 'UTC',
        committed,
      });
      passError(
        c.exchange.add(
          { kind: 'parse', to: 'nobody' },
          encodeParse({ kind: 'parse', statement: UNNAMED, text, parameterTypes: ownTypes(capture.ownParameters) }),
        ),
      );
      passError(
        c.exchange.add(
          { kind: 'bind', to: 'nobody' },
          encodeBind({ kind: 'bind', portal: UNNAMED, statement: UNNAMED, formats: [], values, resultFormats: [] }),
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
    fields: () => description?.frames ?? [],
  };
}

const severalStatements: Refusal = {
  code: '0A000',
  message: 'several statements in one query cannot run inside a global transaction unless all of them only read',
  hint: 'Send them one by one.',
};
