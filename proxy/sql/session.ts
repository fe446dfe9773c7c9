/**
 * The decisions of one database session: to which global transaction it belongs, and what a statement needs before and after
 * it runs. Pure; the wire side performs what is decided here and reports back.
 */
import type { Gid } from '../../src/contract/transaction.ts';
import { parseGid } from '../../src/contract/transaction.ts';
import type { Capture, GidSetting, Refusal, StatementPlan } from './statement.ts';

/** Transaction status as the server reports it: idle, in a transaction block, in a failed block. */
export type BlockStatus = 'idle' | 'open' | 'failed';

interface Savepoint {
  readonly name: string;
  /** To whom the session belonged: rolling back to the savepoint undoes what SET has said since. */
  readonly binding: Pick<SessionState, 'gidOfSession' | 'gidOfSessionBefore' | 'gidOfTransaction' | 'boundLate'>;
}

export interface SessionState {
  readonly block: BlockStatus;
  /** Set by SET SESSION or at start-up; stays until changed. */
  readonly gidOfSession: Gid | undefined;
  /** What it was before this local transaction changed it, and will be again if that is rolled back. */
  readonly gidOfSessionBefore: { readonly gid: Gid | undefined } | undefined;
  /** Learned in this local transaction; goes with it. */
  readonly gidOfTransaction: Gid | undefined;
  /** True when the local transaction had already begun when its gid became known. */
  readonly boundLate: boolean;
  /** True when `branch_state` was entered in this local transaction and no rollback to a savepoint may have undone it. */
  readonly entered: boolean;
  /** True when this local transaction holds captured changes. */
  readonly changed: boolean;
  /** True when this local transaction may have locked rows that it has not changed. */
  readonly lockedRows: boolean;
  readonly savepoints: readonly Savepoint[];
}

/** A session that has just logged in. */
export const newSession: SessionState = {
  block: 'idle',
  gidOfSession: undefined,
  gidOfSessionBefore: undefined,
  gidOfTransaction: undefined,
  boundLate: false,
  entered: false,
  changed: false,
  lockedRows: false,
  savepoints: [],
};

/** The global transaction that the next statement belongs to. */
export function gidOf(state: SessionState): Gid | undefined {
  return state.gidOfTransaction ?? state.gidOfSession;
}

/** True when the session belongs to no global transaction, and will not come to belong to one unless it is named. */
export function isFree(state: SessionState): boolean {
  return (
    gidOf(state) === undefined &&
    state.gidOfSessionBefore === undefined &&
    !state.savepoints.some(({ binding }) => (binding.gidOfTransaction ?? binding.gidOfSession) !== undefined)
  );
}

/** What happened to a request to bind the session to a gid. */
export type Bound =
  | { readonly kind: 'bound'; readonly state: SessionState }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Binds the local transaction to `gid` (a comment, a trace, SET LOCAL), or the session (`scope: session`). */
export function bind(state: SessionState, gid: Gid | undefined, scope: 'local' | 'session'): Bound {
  const current = gidOf(state);
  if (current === gid) return { kind: 'bound', state };
  if (current !== undefined && state.changed) {
    return {
      kind: 'refused',
      refusal: {
        code: '25000',
        message: `this local transaction already changed rows for global transaction ${current}`,
        hint: 'One local transaction belongs to one global transaction: commit or roll back before another gid is named.',
      },
    };
  }
  const boundLate = state.block !== 'idle' && current === undefined;
  const next =
    scope === 'session'
      ? {
          ...state,
          gidOfSession: gid,
          gidOfSessionBefore: state.gidOfSessionBefore ?? { gid: state.gidOfSession },
          gidOfTransaction: undefined,
        }
      : { ...state, gidOfTransaction: gid };
  return { kind: 'bound', state: { ...next, boundLate: boundLate || state.boundLate, entered: false } };
}

/** The gid that a SET names: undefined when it resets the variable. */
export function gidOfSetting(
  setting: GidSetting,
  parameter: (number: number) => string | undefined,
): { readonly kind: 'gid'; readonly gid: Gid | undefined } | { readonly kind: 'refused'; readonly refusal: Refusal } {
  const text = typeof setting.value === 'number' ? parameter(setting.value) : setting.value;
  if (text === undefined || text === '') return { kind: 'gid', gid: undefined };
  const gid = parseGid(text);
  if (gid !== undefined) return { kind: 'gid', gid };
  return { kind: 'refused', refusal: badGid(text) };
}

/** The refusal of a text that is not a gid. */
export function badGid(text: string): Refusal {
  return {
    code: '22023',
    message: `"${text.slice(0, 60)}" is not the id of a global transaction`,
    hint: 'A gid has 1 to 128 characters of A-Za-z0-9._:{}- and is passed on as it came in the atomesh-gid header.',
  };
}

/** What a statement needs. */
export type Admission =
  | { readonly kind: 'forward' }
  | { readonly kind: 'refuse'; readonly refusal: Refusal }
  | { readonly kind: 'set-gid'; readonly setting: GidSetting }
  /** The local transaction ends with captured changes in it: the branch must be enlisted before this goes on. */
  | { readonly kind: 'commit' }
  | {
      readonly kind: 'capture';
      readonly capture: Capture;
      /** Which text runs: with or without entering the branch. */
      readonly enter: boolean;
      /** A savepoint around the statement, so that a row lock conflict can be waited for without losing the local transaction. */
      readonly savepoint: boolean;
      /** Ask whether the local transaction had written before its gid was known. */
      readonly checkEarlierWrites: boolean;
    };

/** Decides about one statement of a session that has a gid. */
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
      return ends && state.changed && state.block === 'open' ? { kind: 'commit' } : { kind: 'forward' };
    }
    case 'capture':
      if (state.block === 'failed') return { kind: 'forward' };
      return {
        kind: 'capture',
        capture: plan.capture,
        enter: state.block === 'idle' || !state.entered,
        savepoint: state.block === 'open',
        checkEarlierWrites: state.block === 'open' && state.boundLate && !state.changed,
      };
  }
}

/** The state after a statement was carried out without an error. */
export function succeeded(state: SessionState, plan: StatementPlan): SessionState {
  if (plan.kind === 'capture') return { ...state, entered: true, changed: true };
  if (plan.kind !== 'control') return state;
  const name = plan.name ?? '';
  const at = state.savepoints.findLastIndex((savepoint) => savepoint.name === name);
  switch (plan.verb) {
    case 'savepoint': {
      const { gidOfSession, gidOfSessionBefore, gidOfTransaction, boundLate } = state;
      const binding = { gidOfSession, gidOfSessionBefore, gidOfTransaction, boundLate };
      return { ...state, savepoints: [...state.savepoints, { name, binding }] };
    }
    case 'release':
      return at < 0 ? state : { ...state, savepoints: state.savepoints.slice(0, at) };
    case 'rollback-to': {
      // What was entered may have been undone; entering twice is harmless. `changed` stays: at worst a branch is enlisted that holds nothing.
      const kept = state.savepoints[at];
      return kept === undefined
        ? { ...state, entered: false }
        : { ...state, ...kept.binding, entered: false, savepoints: state.savepoints.slice(0, at + 1) };
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
  const { gidOfSession, gidOfSessionBefore: before } = state;
  return {
    ...state,
    gidOfSession: isKept || before === undefined ? gidOfSession : before.gid,
    gidOfSessionBefore: undefined,
    gidOfTransaction: undefined,
    boundLate: false,
    entered: false,
    changed: false,
    lockedRows: false,
    savepoints: [],
  };
}
