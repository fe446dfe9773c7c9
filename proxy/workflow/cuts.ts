/** Waits that a closing desk cuts short. */

/** What is waited for at a desk, each with what is done when the desk closes first. */
export class Cuts {
  readonly #cuts = new Set<() => void>();

  /** How many wait. */
  get size(): number {
    return this.#cuts.size;
  }

  /** Has `cut` called by `all`, unless the returned function is called before. */
  add(cut: () => void): () => void {
    this.#cuts.add(cut);
    return () => void this.#cuts.delete(cut);
  }

  /** As `work` ends, or as `cut` says when the desk closes before: then `work` goes on, and nobody hears its end. */
  or<T>(work: Promise<T>, cut: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const remove = this.add(() => resolve(cut()));
      work.then(resolve, reject).finally(remove);
    });
  }

  /** Cuts everything that is waited for now. */
  all(): void {
    const cuts = [...this.#cuts];
    this.#cuts.clear();
    for (const cut of cuts) cut();
  }
}
