/** Two lists in one line: each `true` takes the next of the second, each `false` the next of the first; what is left over comes behind. */
export function merged<T>(order: readonly boolean[], first: readonly T[], second: readonly T[]): readonly T[] {
  const line: T[] = [];
  let [i, j] = [0, 0];
  for (const isSecond of order) {
    const next = isSecond ? second[j] : first[i];
    if (next === undefined) break;
    if (isSecond) j += 1;
    else i += 1;
    line.push(next);
  }
  return [...line, ...first.slice(i), ...second.slice(j)];
}
