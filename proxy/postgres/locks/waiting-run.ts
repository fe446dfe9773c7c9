/**
 * Runs the client's own statement with the condition of row locks in it, and again when it had to wait. The client gets the server's
 * answers: an error of the condition alone, because the table is no longer what it was planned for, is none of them.
 */
import type { Gid } from '../../../src/contract/transaction.ts';
import { holdsLocks, lockingRows, type Admission, type SessionState } from '../../sql/session.ts';
import type { Capture, StatementPlan } from '../../sql/statement.ts';
import { NOBODY, type UndoBranch } from '../../sql/work.ts';
import { giveBack, runCapture, type CaptureOutcome, type CaptureRun } from '../session/capture-run.ts';
import { currentWork, plansOf, type Conversation } from '../session/conversation.ts';
import { reportOf, type Request } from '../session/exchange.ts';
import type { Portal } from '../session/statements.ts';
import { addPrepared, addTwin, passError, twinRun } from '../session/twin-requests.ts';
import { decodeReport, encodeReport } from '../wire/error.ts';
import type { Execute } from '../wire/execute.ts';
import { HEADER_BYTES } from '../wire/frames.ts';
import { clientPosition } from './condition.ts';

/** P */
const POSITION = 0x50;

/** `as-it-came`: the condition has no place in it any more, and nothing of it has run. */
type WaitingOutcome = CaptureOutcome | { readonly kind: 'as-it-came' };
/** `isOfText`: the error came ahead of Execute, so nothing of the statement has run. */
type Attempt =
  | Exclude<CaptureOutcome, { kind: 'error' }>
  | { readonly kind: 'error'; readonly frame: Buffer; readonly isOfText?: boolean };

/** A statement, as the protocol it came by runs it. */
export interface WaitingStatement {
  /** The client's text. */
  readonly text: string;
  /** Which of its statements, from 0 on. */
  readonly index: number;
  /** The session's state before anything of this statement was noted: what others may wait for while it waits. */
  readonly before: SessionState;
  /** Nothing but this statement runs before the next Sync. */
  readonly isAlone: boolean;
  /** How it runs. `watch` is shown each request ahead of the Execute whose error would be the client's. */
  run(
    admission: CaptureRun['admission'],
    watch: (request: Request, onError?: () => void) => void,
  ): Pick<CaptureRun, 'bindAgain' | 'execute'>;
}

/** For whom the session waits: for its branch, or for nobody. */
export function waiterOf(c: Conversation): UndoBranch {
  const work = currentWork(c);
  return work?.kind === 'undo' ? work.branch : { gid: NOBODY, resource: c.resource };
}

/**
 * Runs it. It is planned again, once, when the server does not understand what we have made of it: what is known of the table may be older
 * than the table.
 */
export async function runWaiting(
  c: Conversation,
  capture: Capture,
  statement: WaitingStatement,
): Promise<WaitingOutcome> {
  const outcome = await tryOnce(c, capture, statement);
  // What EXECUTE runs is looked at by the server only then.
  const isOfText = outcome.kind === 'error' && (outcome.isOfText === true || capture.execute !== undefined);
  if (!isOfText || !isMisunderstood(outcome.frame)) return outcome;
  c.planner.catalogueMoved();
  const failure = c.state.block === 'failed' ? await giveBack(c) : undefined;
  if (failure !== undefined) return { kind: 'error', frame: failure };
  const plans = await plansOf(c, statement.text, false);
  if (plans === undefined) return { kind: 'skipped' };
  const again = waitingIn(plans[statement.index]?.plan);
  const isAlike = again !== undefined && (again.execute === undefined) === (capture.execute === undefined);
  if (isAlike) return tryOnce(c, again, statement);
  // It may lock whatever it finds.
  c.state = lockingRows(c.state);
  return { kind: 'as-it-came' };
}

/** What a plan has that waits for row locks and captures nothing. */
function waitingIn(plan: StatementPlan | undefined): Capture | undefined {
  if (plan?.kind === 'change') return plan.waits;
  return plan?.kind === 'capture' && plan.capture.read !== undefined ? plan.capture : undefined;
}

/** One portal's statement. `isAlone` and `before` as in the statement. */
export interface WaitingPortal {
  readonly portal: Portal;
  readonly execute: Execute;
  readonly capture: Capture;
  readonly isAlone: boolean;
  readonly before: SessionState;
}

/** Runs it. The portal is bound to what we have made of it; behind `as-it-came` it is the client's own again. */
export async function runWaitingPortal(c: Conversation, of: WaitingPortal): Promise<WaitingOutcome> {
  const { portal, execute, isAlone, before } = of;
  const branch = waiterOf(c);
  const outcome = await runWaiting(c, of.capture, {
    text: portal.statement.text,
    index: 0,
    isAlone,
    before,
    run: (admission, watch) => {
      const { capture } = admission;
      const bindAgain = (committed: readonly Gid[]): void => {
        // The client's own Bind has been taken already, so this one is none that the server cannot read.
        addTwin(c, { portal, capture, branch, committed, enter: false, to: 'nobody' }, watch);
      };
      return twinRun(c, { execute, branch, admission, isAlone, bindAgain });
    },
  });
  if (outcome.kind !== 'as-it-came') return outcome;
  addPrepared(c, portal.statement);
  passError(c, c.exchange.add({ kind: 'bind', to: 'nobody' }, portal.frame));
  return outcome;
}

async function tryOnce(c: Conversation, capture: Capture, statement: WaitingStatement): Promise<Attempt> {
  const { isAlone, before } = statement;
  const savepoint = c.state.block === 'open';
  const admission: Extract<Admission, { kind: 'capture' }> = {
    kind: 'capture',
    capture,
    enter: false,
    savepoint,
    checkEarlierWrites: false,
  };
  let error: Buffer | undefined;
  const outcome = await runCapture(c, {
    ...statement.run(admission, (request, onError) => {
      request.onEnd = () => {
        if (request.state !== 'done') onError?.();
        error ??= request.error;
      };
    }),
    branch: waiterOf(c),
    admission,
    isAlone,
    keepsLocks: before.lockedRows,
    holdsLocks: holdsLocks(before),
    isBound: false,
  });
  if (outcome.kind !== 'skipped' || error === undefined) return outcome;
  return { kind: 'error', frame: placed(error, capture), isOfText: true };
}

/** The error with its position in the client's text, or with none. */
function placed(frame: Buffer, { read, execute }: Capture): Buffer {
  const report = decodeReport('error', frame.subarray(HEADER_BYTES));
  if (report.kind === 'fault') return frame;
  const fields = report.fields.flatMap((field) => {
    if (field.letter !== POSITION) return [field];
    // What EXECUTE runs is another text.
    const position =
      read === undefined || execute !== undefined ? undefined : clientPosition(Number(field.value), read.places);
    return position === undefined ? [] : [{ ...field, value: Buffer.from(String(position)) }];
  });
  return encodeReport({ ...report, fields });
}

/** Class 42: what the text says does not fit the database, so nothing of it has run. Rights are no matter of what is known of a table. */
function isMisunderstood(error: Buffer): boolean {
  const { code } = reportOf(error);
  return code?.startsWith('42') === true && code !== '42501';
}
