/** Commits of branches, which are many and small: what waits at the same time goes into one local transaction. */
import type { Gid } from '../../src/contract/transaction.ts';
import { endedOtherwise } from './dirty.ts';
import type { FinishResult } from './finish.ts';

/** What a database does with a group. */
export interface CommitGroupParts {
  /**
   * Ends these branches of one resource by commit, all or none. Answers the gids of those that had been rolled back before, which are
   * left as they are. Rejects when the database does.
   */
  readonly commit: (gids: readonly Gid[], resource: string) => Promise<ReadonlySet<string>>;
  /** What such an error means: `ongoing` when a branch is in use. */
  readonly failureOf: (error: unknown) => FinishResult;
}

const GROUP_MAX = 1_000;
const WAITING_MAX = 10_000;
/** So that a connection which has gone silent holds up its own group alone. */
export const GROUPS_AT_ONCE = 3;

interface WaitingCommit {
  readonly gid: Gid;
  readonly resource: string;
  readonly answer: (result: FinishResult) => void;
}

/** Gathers commits into groups. */
export class CommitGroups {
  readonly #parts: CommitGroupParts;
  #waiting: WaitingCommit[] = [];
  #running = 0;

  constructor(parts: CommitGroupParts) {
    this.#parts = parts;
  }

  /** Never rejects. */
  commit(gid: Gid, resource: string): Promise<FinishResult> {
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.resolve({ result: 'unknown', detail: 'too many commits are waiting' });
    }
    return new Promise((answer) => {
      this.#waiting.push({ gid, resource, answer });
      void this.#commitWaiting();
    });
  }

  /** A few groups at a time; what arrives meanwhile makes the next. */
  async #commitWaiting(): Promise<void> {
    if (this.#running >= GROUPS_AT_ONCE) return;
    this.#running += 1;
    try {
      for (let group = this.#nextGroup(); group.length > 0; group = this.#nextGroup()) {
        await this.#commitGroup(group);
      }
    } finally {
      this.#running -= 1;
    }
  }

  /** The waiting commits of the resource that has waited longest. */
  #nextGroup(): readonly WaitingCommit[] {
    const resource = this.#waiting[0]?.resource;
    const group = this.#waiting.filter((item) => item.resource === resource).slice(0, GROUP_MAX);
    const taken = new Set(group);
    this.#waiting = this.#waiting.filter((item) => !taken.has(item));
    return group;
  }

  async #commitGroup(group: readonly WaitingCommit[]): Promise<void> {
    const resource = group[0]?.resource ?? '';
    try {
      const contrary = await this.#parts.commit(
        group.map((item) => item.gid),
        resource,
      );
      for (const item of group) {
        item.answer(contrary.has(item.gid) ? endedOtherwise('rolled back') : { result: 'success' });
      }
    } catch (error) {
      const result = this.#parts.failureOf(error);
      // One branch that is still in use must not hold up the others.
      if (result.result === 'ongoing' && group.length > 1) {
        for (const item of group) await this.#commitGroup([item]);
        return;
      }
      for (const item of group) item.answer(result);
    }
  }
}
