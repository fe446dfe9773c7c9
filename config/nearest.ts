/** The known name that a person probably meant. */

/**
 * The name of `known` that is nearest to `written`, or undefined when none is near: other spelling of the same words
 * (`lock_timeout`), or at most a third of the letters added, dropped, changed or swapped with their neighbour.
 */
export function nearest(written: string, known: readonly string[]): string | undefined {
  const plain = normalised(written);
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const name of known) {
    const allowed = Math.max(1, Math.floor(name.length / 3));
    const candidate = normalised(name);
    if (Math.abs(candidate.length - plain.length) > allowed) continue;
    const distance = editDistance(plain, candidate);
    if (distance <= allowed && (best === undefined || distance < best.distance)) best = { name, distance };
  }
  return best?.name;
}

function normalised(name: string): string {
  return name.toLowerCase().replace(/[-_ ]/g, '');
}

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours, one each. */
function editDistance(left: string, right: string): number {
  let before: number[] = [];
  let above = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      let cost = Math.min(
        (above[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (above[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (swapped) cost = Math.min(cost, (before[column - 2] ?? 0) + 1);
      current.push(cost);
    }
    before = above;
    above = current;
  }
  return above[right.length] ?? 0;
}
