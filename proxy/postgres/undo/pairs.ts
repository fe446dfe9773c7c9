/** Which row becomes which again: a statement may have put one row into the place of another. */

/** One row of a record: no image before of a row that was inserted, none after of one that was deleted. */
export interface ChangedRow {
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** The row at place `before` had the key that the row at place `after` has now. */
export interface KeyMatch {
  readonly before: number;
  readonly after: number;
}

/**
 * The same images, paired along their keys: whatever has the key of a row of before becomes that row, where it is. So no key is missing on
 * the way that was there before the statement and is there behind it; other rows may refer to it. What is left of such a chain, its
 * two ends, is one row: keys 1 and 2 that became 2 and 3 are 2 that stays, and 3 that becomes 1.
 */
export function pairAlongKeys(rows: readonly ChangedRow[], matches: readonly KeyMatch[]): readonly ChangedRow[] {
  const holderOf = new Map<number, number>();
  const takerOf = new Map<number, number>();
  for (const { before, after } of matches) {
    // Images that nobody has forged have each key once. One that has two holders would lead chains into a circle.
    if (holderOf.has(before) || takerOf.has(after)) continue;
    holderOf.set(before, after);
    takerOf.set(after, before);
  }
  return rows.flatMap(({ before }, place): readonly ChangedRow[] => {
    let end = holderOf.get(place);
    if (end === undefined) {
      // Nothing has its key: here a chain begins, and the image after of its last row has a key that no row had.
      end = place;
      for (let next = takerOf.get(end); next !== undefined; next = takerOf.get(end)) end = next;
    }
    const after = rows[end]?.after;
    return before === undefined && after === undefined ? [] : [{ before, after }];
  });
}
