/** Participants: services with a database of their own, whose sidecars keep undo records, branch states and fences. */
import type { BranchId, CallResult, Gid, Mode, Operation } from '../../../src/contract/transaction.ts';
import type { History } from '../history.ts';
import { BarrierBranches } from './barrier.ts';

/** What a call asks of a participant. */
export interface Asked {
  readonly gid: Gid;
  readonly mode: Mode;
  readonly branch: BranchId;
  readonly operation: Operation;
}

/** What one database knows of one global transaction. */
interface LocalState {
  /** The local transaction is committed. */
  landed: boolean;
  /** Its effect on business rows: 0 or 1. */
  effect: number;
  /** `branch_state` says rolled back: a local commit that comes later fails. */
  fenced: boolean;
  /** Undo records are gone, the change is for good. */
  committed: boolean;
  /** Somebody outside has changed the rows since. */
  changed: boolean;
}

export class Participant {
  readonly name: string;
  /** What it does in every mode but mesh, and in a mesh for branches that are no row images. */
  readonly branches: BarrierBranches;
  readonly #history: History;
  readonly #states = new Map<Gid, LocalState>();

  constructor(name: string, history: History) {
    this.name = name;
    this.#history = history;
    this.branches = new BarrierBranches(name, history);
  }

  /** The local transaction commits, unless the branch was rolled back before. */
  land(gid: Gid, isChanged: boolean): 'landed' | 'fenced' {
    const state = this.#of(gid);
    if (state.fenced) {
      this.#history.count('local commit fenced by an earlier rollback');
      return 'fenced';
    }
    state.landed = true;
    state.effect += 1;
    state.changed = isChanged;
    this.#history.note(`${this.name} committed its part of ${gid}`);
    return 'landed';
  }

  /** Does what a branch call asks. Whatever was done before is not done again. */
  perform({ gid, mode, branch, operation }: Asked): CallResult {
    const isUndo = mode === 'mesh' && (operation === 'commit' || operation === 'rollback');
    if (!isUndo) return this.branches.perform(gid, branch, operation);
    const state = this.#of(gid);
    const result = operation === 'commit' ? this.#commit(gid, state) : this.#rollback(gid, state);
    this.#history.note(`${this.name} did ${operation} of ${gid}: ${result}`);
    return result;
  }

  /** An operator has looked at the changed rows and lets the undo go ahead. */
  resolve(gid: Gid): void {
    this.#of(gid).changed = false;
  }

  state(gid: Gid): Readonly<LocalState> {
    return this.#of(gid);
  }

  /** The transactions that this database has seen. */
  gids(): Iterable<Gid> {
    return this.#states.keys();
  }

  #commit(gid: Gid, state: LocalState): CallResult {
    if (state.fenced)
      this.#history.violated('S3 atomic outcome', `${this.name} is asked to commit ${gid}, which it rolled back`);
    if (!state.landed)
      this.#history.violated('S3 atomic outcome', `${this.name} is asked to commit ${gid} before its local commit`);
    if (state.committed) this.#history.count('repeated call found its work done');
    state.committed = true;
    return 'success';
  }

  #rollback(gid: Gid, state: LocalState): CallResult {
    if (state.committed)
      this.#history.violated('S3 atomic outcome', `${this.name} is asked to roll back ${gid}, which it committed`);
    if (state.effect > 0 && state.changed) {
      this.#history.count('dirty branch');
      return 'dirty';
    }
    if (state.fenced) this.#history.count('repeated call found its work done');
    else if (!state.landed) this.#history.count('null compensation');
    state.effect = 0;
    state.fenced = true;
    return 'success';
  }

  #of(gid: Gid): LocalState {
    const known = this.#states.get(gid);
    if (known !== undefined) return known;
    const state = { landed: false, effect: 0, fenced: false, committed: false, changed: false };
    this.#states.set(gid, state);
    return state;
  }
}
