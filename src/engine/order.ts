/** The order of steps, as an initiator may give it. */

/**
 * What is wrong with an order of `steps` steps, for people; undefined when each step can be reached. `order` holds for each step
 * the indexes, from 0, of the steps before it; entries that are missing at its end mean none. A step that waits for itself,
 * for one that does not exist, or in a circle would wait for ever, and the transaction with it.
 */
export function orderFault(order: readonly (readonly number[])[], steps: number): string | undefined {
  if (order.length > steps) return `step ${order.length - 1} has an order, and the last step is ${steps - 1}`;
  for (const [index, before] of order.entries()) {
    const stranger = before.find((other) => !Number.isInteger(other) || other < 0 || other >= steps);
    if (stranger !== undefined) return `step ${index} comes after step ${stranger}, which does not exist`;
  }
  const stuck = unreachable(order, steps);
  return stuck === undefined ? undefined : `step ${stuck} waits in a circle for itself, or for steps that do`;
}

/** The first step that is never reached, however often one that waits for nothing more is taken away (Kahn's algorithm). */
function unreachable(order: readonly (readonly number[])[], steps: number): number | undefined {
  const successors: number[][] = Array.from({ length: steps }, () => []);
  const waitsFor: number[] = Array.from({ length: steps }, () => 0);
  for (const [index, before] of order.entries()) {
    for (const other of new Set(before)) successors[other]?.push(index);
    waitsFor[index] = new Set(before).size;
  }
  const ready = [...waitsFor.keys()].filter((index) => waitsFor[index] === 0);
  for (let index = ready.pop(); index !== undefined; index = ready.pop()) {
    for (const next of successors[index] ?? []) {
      const left = (waitsFor[next] ?? 0) - 1;
      waitsFor[next] = left;
      if (left === 0) ready.push(next);
    }
  }
  const stuck = waitsFor.findIndex((left) => left > 0);
  return stuck < 0 ? undefined : stuck;
}
