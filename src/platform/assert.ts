/** Broken invariants stop the work, in production too. */

/** Throws when `condition` does not hold: a defect of ours, never an expected outcome. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}
