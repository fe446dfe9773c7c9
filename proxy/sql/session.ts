/**
 * The decisions of one database session: to which global transaction it belongs, and what a statement needs before and after
 * it runs. Pure; the wire side performs what is decided here and reports back.
 */
import { markText, parseMark, type Mark } from '../../src/contract/transaction.ts';
import type { Capture, GidSetting, Recorded, Refusal, StatementPlan } from './statement.ts';
import { isCaptured } from './work.ts';

/** Transaction status as the server reports it: idle, in a transaction block, in a failed block. */
export type BlockStatus = 'idle' | 'open' | 'failed';

interface Savepoint {
  readonly name: string;
  /** To whom the session belonged: rolling back to the savepoint undoes what SET has said since. */
  readonly binding: Pick<SessionState, 'markOfSession' | 'markOfSessionBefore' | 'markOfTransaction' | 'boundLate'>;
  /** What triggers were told behind it, rolling back to it takes back. */
  readonly isRecorded: boolean;
}

export interface SessionState {
  readonly block: BlockStatus;
  /** Set by SET SESSION or at start-up; stays until changed. */
  readonly markOfSession: Mark | undefined;
  /** What it was before this local transaction changed it, and will be again if that is rolled back. */
  readonly markOfSessionBefore: { readonly mark: Mark | undefined } | undefined;
  /** Learned in this local transaction; goes with it. */
  readonly markOfTransaction: Mark | undefined;
  /** True when the local transaction had already begun when its mark became known. */
  readonly boundLate: boolean;
  /** True when cursors may be open that were opened before the mark was known. */
  readonly cursorsUnknown: boolean;
  /**
   * True when the branch was entered in this local transaction, or the row of the operation written, and nothing that happened to a
   * savepoint may have undone it.
   */
  readonly entered: boolean;
  /** True when this local transaction holds captured changes, or changes of an operation. */
  readonly changed: boolean;
  /**
   * True when this local transaction holds changes without images: at its end it is prepared, and not committed. Stays when such a
   * change is rolled back to a savepoint: at worst a local transaction is prepared that could have been undone.
   */
  readonly prepares: boolean;
  /** True when triggers were told of the branch in this local transaction, by a word that it still has. */
  readonly isRecorded: boolean;
  /** True when this local transaction may have locked rows that it has not changed. */
  readonly lockedRows: boolean;
  /** True when it has locked rows by a read that nobody else held. */
  readonly readRows: boolean;
  readonly savepoints: readonly Savepoint[];
}

/** A session that has just logged in. */
export const newSession: SessionState = {
  block: 'idle',
  markOfSession: undefined,
  markOfSessionBefore: undefined,
  markOfTransaction: undefined,
  boundLate: false,
  cursorsUnknown: false,
  entered: false,
  changed: false,
  prepares: false,
  isRecorded: false,
  lockedRows: false,
  readRows: false,
  savepoints: [],
};

/** The mark that the next statement is carried out under. */
export function markOf(state: SessionState): Mark | undefined {
  return state.markOfTransaction ?? state.markOfSession;
}

/** True when both are the same mark, or both none. */
export function isSameMark(one: Mark | undefined, other: Mark | undefined): boolean {
  if (one === other) return true;
  return one !== undefined && other !== undefined && markText(one) === markText(other);
}

/** True when the session belongs to no global transaction, and will not come to belong to one unless it is named. */
export function isFree(state: SessionState): boolean {
  return (
    markOf(state) === undefined &&
    state.markOfSessionBefore === undefined &&
    !state.savepoints.some(({ binding }) => (binding.markOfTransaction ?? binding.markOfSession) !== undefined)
  );
}

function isCapturing(state: SessionState): boolean {
  const mark = markOf(state);
  return mark !== undefined && isCaptured(mark);
}

/** The state once the server was asked what the local transaction had done before its mark was known. */
export function heardEarlier(
  state: SessionState,
  earlier: { readonly hasWritten: boolean; readonly hasOpened: boolean },
): SessionState {
  return {
    ...state,
    boundLate: state.boundLate && earlier.hasWritten,
    cursorsUnknown: state.cursorsUnknown && earlier.hasOpened,
  };
}

/** What happened to a request to bind the session to a mark. */
export type Bound =
  | { readonly kind: 'bound'; readonly state: SessionState }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Binds the local transaction to `mark` (a comment, a trace, SET LOCAL), or the session (`scope: session`). */
export function bind(state: SessionState, mark: Mark | undefined, scope: 'local' | 'session'): Bound {
  const current = markOf(state);
  if (scope === 'session' && mark?.operation !== undefined) return { kind: 'refused', refusal: outlivesOperation };
  if (isSameMark(current, mark)) return { kind: 'bound', state };
  if (current !== undefined && state.changed) {
    return {
      kind: 'refused',
      refusal: {
        code: '25000',
        message: `this local transaction already changed rows for global transaction ${markText(current)}`,
        hint: 'One local transaction belongs to one global transaction, and to one operation of it: commit or roll back before another is named.',
      },
    };
  }
  const boundLate = state.block !== 'idle' && current === undefined;
  const next =
    scope === 'session'
      ? {
          ...state,
          markOfSession: mark,
          markOfSessionBefore: state.markOfSessionBefore ?? { mark: state.markOfSession },
          markOfTransaction: undefined,
        }
      : { ...state, markOfTransaction: mark };
  return { kind: 'bound', state: { ...(boundLate ? joinedLate(next) : next), entered: false } };
}

/** The state once a mark is known that statements of the same local transaction have run without. */
export function joinedLate(state: SessionState): SessionState {
  return { ...state, boundLate: true, cursorsUnknown: true };
}

/** A pooled connection would carry it into the next request. */
const outlivesOperation: Refusal = {
  code: '25000',
  message: 'an operation of a branch is named for one local transaction, and not for the session',
  hint: "After BEGIN, use SET LOCAL atomesh.gid = '…' or select set_config('atomesh.gid', $1, true); for a single statement, a comment.",
};

/** The mark that a SET names: undefined when it resets the variable. */
export function markOfSetting(
  setting: GidSetting,
  parameter: (number: number) => string | undefined,
):
  | { readonly kind: 'mark'; readonly mark: Mark | undefined }
  | { readonly kind: 'refused'; readonly refusal: Refusal } {
  const text = typeof setting.value === 'number' ? parameter(setting.value) : setting.value;
  if (text === undefined || text === '') return { kind: 'mark', mark: undefined };
  const mark = parseMark(text);
  return mark === undefined ? { kind: 'refused', refusal: badMark(text) } : { kind: 'mark', mark };
}

/** The refusal of a text that is neither a gid nor a gid with an operation. */
export function badMark(text: string): Refusal {
  return {
    code: '22023',
    message: `"${text.slice(0, 60)}" is not the id of a global transaction`,
    hint: 'A gid has 1 to 128 characters of A-Za-z0-9._:{}- and is passed on as it came in the atomesh-gid header, with what may follow it there.',
  };
}

/** What a statement needs. */
export type Admission =
  | { readonly kind: 'forward' }
  | { readonly kind: 'refuse'; readonly refusal: Refusal }
  | { readonly kind: 'set-gid'; readonly setting: GidSetting }
  /** The local transaction ends with captured changes in it: the branch must be enlisted before this goes on. */
  | { readonly kind: 'commit' }
  /** The local transaction ends with changes in it that have no images: it is prepared in the place of its COMMIT. */
  | { readonly kind: 'prepare'; readonly chains: boolean }
  | {
      readonly kind: 'capture';
      readonly capture: Capture;
      /** Which text runs: with or without entering the branch. */
      readonly enter: boolean;
      /** A savepoint around the statement, so that a row lock conflict can be waited for without losing the local transaction. */
      readonly savepoint: boolean;
      /** Ask whether the local transaction had written before its mark was known. */
      readonly checkEarlierWrites: boolean;
    }
  /** The row of the operation goes in first, or the branch is entered first. */
  | {
      readonly kind: 'enter';
      readonly isPlain: boolean;
      readonly runsCode?: true;
      readonly checkEarlierWrites: boolean;
      readonly recorded?: Recorded;
      readonly waits?: Capture;
    }
  /** The row stands, or the branch is entered: it runs as it came, or as it waits. */
  | {
      readonly kind: 'entered';
      readonly isPlain: boolean;
      readonly recorded?: Recorded;
      readonly runsCode?: true;
      readonly waits?: Capture;
    };

/** Decides about one statement of a session that has a mark. */
export function admit(state: SessionState, plan: StatementPlan): Admission {
  switch (plan.kind) {
    case 'pass':
      return { kind: 'forward' };
    case 'refuse':
      // In a failed block the server refuses by itself, with the error that the client expects there.
      return state.block === 'failed' ? { kind: 'forward' } : { kind: 'refuse', refusal: plan.refusal };
    case 'set-gid':
      return state.block === 'failed' ? { kind: 'forward' } : { kind: 'set-gid', setting: plan.setting };
    case 'control': {
      const ends = plan.verb === 'commit' || plan.verb === 'commit-and-chain';
      if (!ends || !isCapturing(state) || !state.changed || state.block !== 'open') return { kind: 'forward' };
      return state.prepares ? { kind: 'prepare', chains: plan.verb === 'commit-and-chain' } : { kind: 'commit' };
    }
    case 'capture':
      if (state.block === 'failed') return { kind: 'forward' };
      return {
        kind: 'capture',
        capture: plan.capture,
        enter: state.block === 'idle' || !state.entered,
        savepoint: state.block === 'open',
        checkEarlierWrites:
          state.block === 'open' && state.boundLate && !state.changed && plan.capture.read === undefined,
      };
    case 'change':
      if (state.block === 'failed') return { kind: 'forward' };
      // Not by the block alone: a pipeline without one is a local transaction up to its Sync.
      if (state.entered) return { ...plan, kind: 'entered' };
      return { ...plan, kind: 'enter', checkEarlierWrites: state.boundLate && !state.changed };
  }
}

/** The state once the row of an operation is on its way: what comes behind it finds it, or is not carried out. */
export function enteredOperation(state: SessionState): SessionState {
  return { ...state, entered: true, changed: true };
}

/** The state once a change that triggers record is on its way. */
export function enteredRecorded(state: SessionState): SessionState {
  return { ...enteredOperation(state), isRecorded: true };
}

/**
 * The state once a change without images is on its way in a branch that is entered, or will be ahead of it. `isFree`: nobody's rollback needs
 * what it locks, for it has asked, and does nothing else. Otherwise which rows it locks is not known, so it may be any.
 */
export function escalated(state: SessionState, isFree = false): SessionState {
  return { ...state, entered: true, changed: true, prepares: true, lockedRows: state.lockedRows || !isFree };
}

/** The state after a statement was carried out without an error. */
export function succeeded(state: SessionState, plan: StatementPlan): SessionState {
  if (plan.kind === 'capture' && plan.capture.read !== undefined) {
    return { ...(plan.capture.read.keepsLocks ? lockingRows(state) : state), readRows: true };
  }
  if (plan.kind === 'capture')
    return plan.capture.recorded === undefined ? enteredOperation(state) : enteredRecorded(state);
  if (plan.kind !== 'control') return state;
  const name = plan.name ?? '';
  const at = state.savepoints.findLastIndex((savepoint) => savepoint.name === name);
  switch (plan.verb) {
    case 'savepoint': {
      const { markOfSession, markOfSessionBefore, markOfTransaction, boundLate } = state;
      const binding = { markOfSession, markOfSessionBefore, markOfTransaction, boundLate };
      return { ...state, savepoints: [...state.savepoints, { name, binding, isRecorded: state.isRecorded }] };
    }
    case 'release':
      // With it goes SET TRANSACTION READ ONLY behind it, under which an operation was let through without its row.
      return {
        ...state,
        entered: state.entered && isCapturing(state),
        savepoints: at < 0 ? state.savepoints : state.savepoints.slice(0, at),
      };
    case 'rollback-to': {
      // What was entered may have been undone; entering twice is harmless. `changed` stays: at worst a branch is enlisted that holds nothing.
      // Triggers are not told twice: it would hide that somebody else has told them something.
      const kept = state.savepoints[at];
      if (kept === undefined) return { ...state, entered: false, isRecorded: false };
      const { binding, isRecorded } = kept;
      const savepoints = state.savepoints.slice(0, at + 1);
      const next = { ...state, ...binding, entered: isRecorded, isRecorded, savepoints };
      // Nothing is left of what was changed under a mark: whoever names one again may have changed rows in between.
      return markOf(next) === undefined ? { ...next, changed: false, prepares: false } : next;
    }
    case 'commit-and-chain':
      return ended(state, true);
    case 'rollback-and-chain':
      return ended(state, false);
    // In a pipeline more statements may follow before the server says how things stand.
    case 'begin':
      return { ...state, block: 'open' };
    case 'commit':
      return ended({ ...state, block: 'idle' }, state.block !== 'failed');
    case 'rollback':
      return ended({ ...state, block: 'idle' }, false);
  }
}

/** True when the local transaction has locks on rows in the database, so that others there may wait for it. */
export function holdsLocks({ changed, lockedRows, readRows }: SessionState): boolean {
  return changed || lockedRows || readRows;
}

/** The state after a statement was sent that may lock rows without changing them (SELECT … FOR UPDATE). Lasts to the end of the local transaction. */
export function lockingRows(state: SessionState): SessionState {
  return state.lockedRows ? state : { ...state, lockedRows: true };
}

/**
 * The state when the server reports that it is ready, with its own word on the transaction block. `isKept`: a local transaction
 * that has ended was committed; false when the last answer was an error or the tag ROLLBACK.
 */
export function ready(state: SessionState, block: BlockStatus, isKept = true): SessionState {
  if (block === 'idle') return ended({ ...state, block }, isKept);
  return state.block === block ? state : { ...state, block };
}

function ended(state: SessionState, isKept: boolean): SessionState {
  const { block, markOfSession, markOfSessionBefore: before } = state;
  return { ...newSession, block, markOfSession: isKept || before === undefined ? markOfSession : before.mark };
}
