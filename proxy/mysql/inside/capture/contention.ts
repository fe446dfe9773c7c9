/**
 * Tables of which row locks of unfinished global transactions were met of late. InnoDB lets go of a row at the end of the local
 * transaction only, so one that has met another's row lock keeps its holder from the row while it waits. Where that is likely, row locks
 * are asked for before rows are locked, which costs a question more.
 */
import { now } from '../../../../src/platform/clock.ts';

/** How long a table is remembered. */
const REMEMBERED_MS = 10_000;
const RELATIONS_MAX = 1_000;

export class Contention {
  /** By relation, until when. */
  readonly #until = new Map<string, number>();

  /** A row lock of the relation was in the way. */
  met(relation: string): void {
    this.#until.delete(relation);
    this.#until.set(relation, now() + REMEMBERED_MS);
    const [oldest] = this.#until.keys();
    if (this.#until.size > RELATIONS_MAX && oldest !== undefined) this.#until.delete(oldest);
  }

  /** True when one of the relations is worth a question. */
  isLikely(relations: readonly string[]): boolean {
    return this.#until.size > 0 && relations.some((relation) => (this.#until.get(relation) ?? 0) > now());
  }
}
