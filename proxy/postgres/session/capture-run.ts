/** Runs one capturing statement: with its savepoint, beside the enlistment of its branch, and again when it had to wait for a row lock. */
import type { Gid } from '../../../src/contract/transaction.ts';
import { now } from '../../../src/platform/clock.ts';
import type { Enlistment, EnlistResult } from '../../branch/enlist.ts';
import type { LockConflict, LockHolders, LockWaiter } from '../../branch/lock-holders.ts';
import { heardEarlier, type Admission, type SessionState } from '../../sql/session.ts';
import type { Capture, OwnParameter, Refusal } from '../../sql/statement.ts';
import type { UndoBranch } from '../../sql/work.ts';
import { CONFLICT, PLAN_STALE } from '../schema.ts';
import type { Preparation } from '../xa/preparation.ts';
import { reportOf, type Exchange, type Request } from './exchange.ts';
import { earlierIn, rowsOf, type Injected } from './injected.ts';
import { rolledBackAsAWhole } from './refusals.ts';
import { SYNC } from '../wire/bodiless.ts';
import { decodeReport, encodeReport, type ReportTexts } from '../wire/error.ts';
import { encodeCommandComplete, formatCommandTag, parseCommandTag } from '../wire/execute.ts';
import { BACKEND, HEADER_BYTES } from '../wire/frames.ts';

/** P */
const POSITION = 0x50;
/** M */
const MESSAGE = 0x4d;
const TEXT = 25;
const TEXT_ARRAY = 1009;

export interface CaptureDeps {
  /** The session's; what is learned of the time before its mark goes in. */
  state: SessionState;
  readonly exchange: Exchange;
  readonly injected: Injected;
  readonly enlistment: Enlistment;
  readonly holders: LockHolders;
  readonly lockTimeoutMs: number;
  /** Undefined where no local transaction is prepared. */
  readonly preparation: Preparation | undefined;
  /** True when the global transaction was rolled back while this session belonged to it. */
  readonly isAbandoned: (branch: UndoBranch) => boolean;
}

/** One captured statement, as the protocol it came by runs it. */
export interface CaptureRun {
  readonly branch: UndoBranch;
  readonly admission: Extract<Admission, { kind: 'capture' }>;
  /** True when nothing but this statement runs before the next Sync: the server's implicit transaction is the local one. */
  readonly isAlone: boolean;
  /** The local transaction keeps local locks on rows that it has not changed, whatever becomes of this statement. */
  readonly keepsLocks: boolean;
  /** The local transaction has locks, of whatever kind. */
  readonly holdsLocks: boolean;
  /** The first try's Bind has been added already. */
  readonly isBound: boolean;
  /** Adds the Bind (and Parse) of the capturing statement, its answers going nowhere. The portal of an earlier try is closed. */
  bindAgain(committed: readonly Gid[]): void;
  /** Adds the Execute, its answer held. */
  execute(): Request;
}

export type CaptureOutcome =
  /** The frames for the client: its rows and its command tag. */
  | { readonly kind: 'done'; readonly frames: readonly Buffer[] }
  /** The server's own error, for the client. */
  | { readonly kind: 'error'; readonly frame: Buffer }
  /** An earlier request of the same pipeline failed, and the client has its error. */
  | { readonly kind: 'skipped' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  /** The plan was made for another relation than the statement met: plan again. */
  | { readonly kind: 'stale' };

/** The values of the parameters that a capturing statement has beside the client's. */
export function ownValues(
  parameters: readonly OwnParameter[],
  values: {
    readonly branch: UndoBranch;
    readonly timeZone: string;
    readonly committed: readonly Gid[];
  },
): Buffer[] {
  return parameters.map((parameter) => {
    switch (parameter) {
      case 'gid':
        return Buffer.from(values.branch.gid);
      case 'resource':
        return Buffer.from(values.branch.resource);
      case 'time-zone':
        return Buffer.from(values.timeZone);
      case 'committed-gids':
        return Buffer.from(`{${values.committed.map((gid) => `"${gid}"`).join(',')}}`);
    }
  });
}

/** The types of the same parameters: text and text[]. Source: PostgreSQL, src/include/catalog/pg_type.dat. */
export function ownTypes(parameters: readonly OwnParameter[]): number[] {
  return parameters.map((parameter) => (parameter === 'committed-gids' ? TEXT_ARRAY : TEXT));
}

/** Runs it to its end. Never leaves a local lock behind while it waits for somebody else's row lock. */
export async function runCapture(deps: CaptureDeps, run: CaptureRun): Promise<CaptureOutcome> {
  const waiter = deps.holders.waiter(run.branch.gid, now() + deps.lockTimeoutMs);
  let isDone = false;
  try {
    const outcome = await untilTaken(deps, run, waiter);
    isDone = outcome.kind === 'done';
    return outcome;
  } finally {
    waiter.end(isDone);
  }
}

async function untilTaken(deps: CaptureDeps, run: CaptureRun, waiter: LockWaiter): Promise<CaptureOutcome> {
  const { exchange, injected } = deps;
  const { admission, branch } = run;
  const { gid } = branch;
  const committed: Gid[] = [];
  let enlisting: Promise<EnlistResult> | undefined;
  const { read } = admission.capture;
  if (read === undefined && !deps.enlistment.isEnlisted(branch)) {
    const opens = await mayOpen(deps, run);
    if (typeof opens !== 'boolean') return opens;
    enlisting = deps.enlistment.enlist(branch, opens);
    // The implicit transaction commits with the statement itself, so its branch must be known before it runs.
    const enlisted = run.isAlone ? await enlisting : undefined;
    if (enlisted?.kind === 'refused') return enlisted;
    await deps.enlistment.opened(branch);
  }
  const turn = deps.holders.turn(admission.capture.locks ?? []);
  if (turn !== undefined) await turn;
  // The try behind a wait meets whoever else is let go then, the rollback that it waited for among them, with rows in another order.
  let hasMetDeadlock = false;
  for (let attempt = 1; ; attempt += 1) {
    if (deps.isAbandoned(branch)) return { kind: 'refused', refusal: rolledBackAsAWhole(gid) };
    const earlier = admission.checkEarlierWrites && attempt === 1 ? injected.add('has-written') : undefined;
    // Of a row that its own global transaction has prepared, there is no end to be waited for. Without a block the error of the last
    // try has ended the local transaction, and the setting with it.
    const waitsForOwn = (attempt === 1 || run.isAlone) && deps.preparation?.hasPrepared(branch) === true;
    const bounds = waitsForOwn ? injected.boundWaits(deps.lockTimeoutMs) : undefined;
    const savepoint = admission.savepoint ? injected.add('savepoint') : undefined;
    const entries = addEntry(deps, run, committed);
    if (attempt > 1 || !run.isBound) run.bindAgain(committed);
    const execute = run.execute();
    const release = admission.savepoint ? injected.add('release') : undefined;
    if (run.isAlone && admission.capture.recorded !== undefined) entries.push(injected.checkCapture(branch, true));
    const end = exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await exchange.settled();
    // Outside a block the Sync commits: a deferred constraint speaks only then.
    const requests = [earlier, bounds, savepoint, ...entries, release, end];
    const ownError = requests.find((request) => request?.error !== undefined)?.error;
    if (ownError !== undefined) return { kind: 'error', frame: ownError };
    if (earlier?.state === 'done') {
      const heard = earlierIn(rowsOf(earlier));
      if (heard.hasWritten) return { kind: 'refused', refusal: boundTooLate(gid) };
      deps.state = heardEarlier(deps.state, heard);
    }
    if (execute.state === 'done') {
      const enlisted = run.isAlone ? undefined : await enlisting;
      if (enlisted?.kind === 'refused') return enlisted;
      return { kind: 'done', frames: answerOf(admission.capture, execute) };
    }
    if (execute.error === undefined) return { kind: 'skipped' };
    const report = reportOf(execute.error);
    const conflict = conflictIn(report, run);
    if (report.schema === PLAN_STALE.schema && report.table === PLAN_STALE.table) return { kind: 'stale' };
    const isOursToSolve = report.code === DEADLOCK && attempt > 1 && !hasMetDeadlock;
    if (conflict === undefined && !isOursToSolve)
      return { kind: 'error', frame: errorOf(admission.capture, execute.error, report) };
    const failure = admission.savepoint ? await giveBack(deps) : undefined;
    if (failure !== undefined) return { kind: 'error', frame: failure };
    if (conflict === undefined) {
      hasMetDeadlock = true;
      continue;
    }
    const { holder } = conflict;
    if (read?.waits === false) return { kind: 'refused', refusal: notNow(holder) };
    const waited = await waiter.wait(conflict);
    if (waited === 'timeout') return { kind: 'refused', refusal: lockedBy(holder, deps.lockTimeoutMs) };
    if (waited === 'rolling-back') return { kind: 'refused', refusal: inTheWayOf(holder) };
    if (waited === 'deadlock') return { kind: 'refused', refusal: waitsForUs(gid, holder) };
    if (waited === 'committed') committed.push(holder);
  }
}

/**
 * Whether another connection may write the branch's state. A block with one snapshot for all its statements would not see it,
 * and to the server its own attempt would be a conflict.
 */
async function mayOpen(
  { exchange, injected }: CaptureDeps,
  { admission }: CaptureRun,
): Promise<boolean | Extract<CaptureOutcome, { kind: 'error' | 'skipped' }>> {
  if (!admission.savepoint) return true;
  const isolation = injected.add('isolation');
  exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await exchange.settled();
  if (isolation.error !== undefined) return { kind: 'error', frame: isolation.error };
  if (isolation.state !== 'done') return { kind: 'skipped' };
  return rowsOf(isolation)[0]?.[0] === 'read committed';
}

/**
 * Triggers hear of the branch ahead of the first change, and of whose row locks may be taken over ahead of each try. That must not
 * hide that somebody else has told them something.
 */
function addEntry({ injected }: CaptureDeps, run: CaptureRun, committed: readonly Gid[]): Request[] {
  const { capture, enter } = run.admission;
  if (capture.recorded === undefined || !(enter || committed.length > 0)) return [];
  const { rowsMax } = capture.recorded;
  const checks = enter ? [] : [injected.checkCapture(run.branch, false)];
  return [...checks, injected.enterCapture(run.branch, { rowsMax, committed, checkEarlierWrites: false })];
}

/** Gives back the local locks that the statement took. The server's error when it was stopped in that. */
export async function giveBack({
  exchange,
  injected,
}: Pick<CaptureDeps, 'exchange' | 'injected'>): Promise<Buffer | undefined> {
  const restored = injected.add('rollback-to');
  const released = injected.add('release');
  exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await exchange.settled();
  return restored.error ?? released.error;
}

/**
 * What the client gets instead of the capturing statement's answer: its own rows, and the tag of its own command. Of rows in portions
 * a tag counts the last portion, as that of any statement with RETURNING does.
 */
export function answerOf(capture: Capture, execute: Request): Buffer[] {
  if (capture.recorded !== undefined || capture.read !== undefined) return [...execute.frames];
  const frames: Buffer[] = [];
  let count = 0;
  if (!capture.returnsRows) count = Number(rowsOf(execute)[0]?.[0] ?? 0);
  for (const frame of execute.frames) {
    if (frame[0] === BACKEND.commandComplete) {
      if (capture.returnsRows) count = parseCommandTag(frame.subarray(HEADER_BYTES, -1)).count ?? 0;
      frames.push(
        encodeCommandComplete({ kind: 'command-complete', tag: formatCommandTag({ command: capture.command, count }) }),
      );
    } else if (capture.returnsRows) frames.push(frame);
  }
  return frames;
}

/** What the server calls a capturing statement where a local transaction may only read (PG source: tcop/utility.c, CreateCommandName). */
const CAPTURING = /SELECT(?: FOR (?:SHARE|NO KEY UPDATE))?/;
const READ_ONLY = '25006';
const DEADLOCK = '40P01';

/** The error of a capturing statement, as that of the client's. */
function errorOf({ command, read, recorded }: Capture, frame: Buffer, { code }: ReportTexts): Buffer {
  if (code !== READ_ONLY || read !== undefined || recorded !== undefined) return withoutPosition(frame);
  const inItsWords = (value: Buffer): Buffer =>
    Buffer.from(value.toString('latin1').replace(CAPTURING, command), 'latin1');
  return withoutPosition(frame, inItsWords);
}

/** The same error without its position, which counts in the capturing text and not in the client's. */
export function withoutPosition(frame: Buffer, message = (value: Buffer): Buffer => value): Buffer {
  const report = decodeReport('error', frame.subarray(HEADER_BYTES));
  if (report.kind === 'fault') return frame;
  const fields = report.fields
    .filter(({ letter }) => letter !== POSITION)
    .map(({ letter, value }) => ({ letter, value: letter === MESSAGE ? message(value) : value }));
  return encodeReport({ ...report, fields });
}

/** The row lock that was met, and whose it is, when that is what the error says. */
function conflictIn(
  report: ReportTexts,
  { keepsLocks, holdsLocks }: Pick<CaptureRun, 'keepsLocks' | 'holdsLocks'>,
): LockConflict | undefined {
  const { schema, table, constraint, dataType: relation = '', column: key = '' } = report;
  if (schema !== CONFLICT.schema || table !== CONFLICT.table || constraint === undefined) return undefined;
  return { holder: constraint as Gid, row: { relation, key }, keepsLocks, holdsLocks };
}

function lockedBy(holder: Gid, lockTimeoutMs: number): Refusal {
  return {
    code: '55P03',
    message: `the row is held by global transaction ${holder}, which has not finished within ${lockTimeoutMs} ms`,
    hint: 'Roll back and try again. lockTimeout in the sidecar configuration says how long a statement waits.',
  };
}

/** NOWAIT. The server's own words for a row that is locked, with the holder. */
function notNow(holder: Gid): Refusal {
  return {
    code: '55P03',
    message: `could not obtain lock on row: it is held by global transaction ${holder}`,
    hint: 'Leave NOWAIT out to wait for the end of that global transaction.',
  };
}

/** Not a lock timeout: waiting longer would not help, and the holder waits as well. */
function inTheWayOf(holder: Gid): Refusal {
  return {
    code: '40001',
    message: `the row is held by global transaction ${holder}, which is being rolled back and may need a row that this local transaction has locked`,
    hint: 'Roll back the local transaction and try it again; rolling back to a savepoint is not enough.',
  };
}

/** The code of a deadlock within one database: clients know to try again what was in the transaction. */
function waitsForUs(gid: Gid, holder: Gid): Refusal {
  return {
    code: '40P01',
    message: `deadlock: global transaction ${holder} holds the row and waits for one that global transaction ${gid} holds`,
    hint: 'Roll back and let this global transaction end; then try the work again in a new one. Taking rows in the same order everywhere avoids it.',
  };
}

function boundTooLate(gid: Gid): Refusal {
  return {
    code: '25000',
    message: `the local transaction had changed rows before it was told that it belongs to global transaction ${gid}`,
    hint: 'Name the gid first: right after BEGIN, or in a comment on BEGIN.',
  };
}
