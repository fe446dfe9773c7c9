/**
 * Branches of a service that keeps a barrier: the actions of sagas, messages and workflows, the tries of TCC, prepared XA
 * transactions. Each effect comes once, however often it is asked for, and never after it was taken back.
 */
import type { BranchId, CallResult, Gid, Operation } from '../../../src/contract/transaction.ts';
import type { History } from '../history.ts';

interface BranchState {
  /** The first phase has taken effect: action, try, or prepare. */
  done: boolean;
  /** Taken back, or never to be done: an action that comes later fails. */
  undone: boolean;
  confirmed: boolean;
  /** On business rows: 0 or 1. */
  effect: number;
}

export class BarrierBranches {
  readonly #name: string;
  readonly #history: History;
  readonly #states = new Map<string, BranchState>();

  constructor(name: string, history: History) {
    this.#name = name;
    this.#history = history;
  }

  /** Does what a call asks. `action` stands for the first phase of every mode. */
  perform(gid: Gid, branch: BranchId, operation: Operation): CallResult {
    const state = this.#of(gid, branch);
    const result = this.#perform(state, operation, `${operation} ${branch} of ${gid}`);
    this.#history.note(`${this.#name} did ${operation} ${branch} of ${gid}: ${result}`);
    return result;
  }

  /** Undefined when no call for the branch has ever come. */
  state(gid: Gid, branch: BranchId): Readonly<BranchState> | undefined {
    return this.#states.get(`${gid}/${branch}`);
  }

  #perform(state: BranchState, operation: Operation, name: string): CallResult {
    switch (operation) {
      case 'action':
        return this.#do(state);
      case 'compensate':
      case 'cancel':
      case 'rollback':
        return this.#undo(state, name);
      case 'confirm':
      case 'commit':
        return this.#confirm(state, name);
      case 'msg':
      case 'workflow':
        throw new Error(`${this.#name} is asked for ${name}, which is for an initiator`);
    }
  }

  #do(state: BranchState): CallResult {
    if (state.undone) {
      this.#history.count('late action fenced');
      return 'failure';
    }
    if (state.done) {
      this.#history.count('repeated call found its work done');
      return 'success';
    }
    state.done = true;
    state.effect += 1;
    return 'success';
  }

  #undo(state: BranchState, name: string): CallResult {
    if (state.confirmed) this.#history.violated('S3 atomic outcome', `${name} is asked for after its second phase`);
    if (state.undone) this.#history.count('repeated call found its work done');
    else if (!state.done) this.#history.count('null compensation');
    state.undone = true;
    state.effect = 0;
    return 'success';
  }

  #confirm(state: BranchState, name: string): CallResult {
    if (state.undone || !state.done) {
      this.#history.violated('S3 atomic outcome', `${name} is asked for, and there is nothing to confirm`);
    }
    if (state.confirmed) this.#history.count('repeated call found its work done');
    state.confirmed = true;
    return 'success';
  }

  #of(gid: Gid, branch: BranchId): BranchState {
    const key = `${gid}/${branch}`;
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    const state = { done: false, undone: false, confirmed: false, effect: 0 };
    this.#states.set(key, state);
    return state;
  }
}
