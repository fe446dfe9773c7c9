/** In which order several changes of one statement can be undone, however the server interleaved them. */
import type { CapturedChange } from './capture.ts';
import { keyIndex } from './lock-key.ts';
import { actionsOf, type Actions } from './target.ts';

interface Item {
  readonly captured: CapturedChange;
  readonly actions: Actions;
}

/**
 * The changes in the order deletions, updates, insertions. Undoing goes from the last to the first, and so no row returns while another
 * one still has its unique values: what was inserted is deleted first, then updated rows get their former values, and what was deleted
 * returns last. Undefined where foreign keys between the tables ask for another order, or for none: rows are inserted after those that
 * they refer to, and deleted before them.
 */
export function undoOrder(changes: readonly CapturedChange[]): readonly CapturedChange[] | undefined {
  if (changes.length < 2) return changes;
  const items = changes.map((captured) => ({ captured, actions: actionsOf(captured.change.anatomy.statement) }));
  if (items.some((item) => items.some((other) => other !== item && areEntangled(item, other)))) return undefined;
  const linked = items.filter((item) => items.some((other) => other !== item && isLinked(item, other)));
  if (
    linked.some(({ captured }) => movesUniques(captured) || movesReferences(captured)) ||
    linked.some(({ actions }) => actions.command === 'MERGE')
  )
    return undefined;
  if (linked.some(({ actions }) => actions.inserts) && linked.some(({ actions }) => actions.deletes)) return undefined;
  const byParents = parentsFirst(items);
  if (byParents === undefined) return undefined;
  const those = (isMeant: (actions: Actions) => boolean, among: readonly Item[]): readonly Item[] =>
    among.filter(({ actions }) => isMeant(actions));
  return [
    ...those(({ deletes, inserts, updates }) => deletes && !inserts && !updates, byParents.toReversed()),
    ...those(({ updates, inserts }) => updates && !inserts, byParents),
    ...those(({ inserts }) => inserts, byParents),
  ].map(({ captured }) => captured);
}

/** A foreign key leads from the table of one change to that of the other, which may be the same. */
function isLinked(one: Item, other: Item): boolean {
  return refersTo(one, other) || refersTo(other, one);
}

function refersTo({ captured: { change } }: Item, { captured: other }: Item): boolean {
  return change.facts.foreignKeys.some(({ to }) => to === other.change.facts.oid);
}

/** Two changes of one table whose unique values may have passed from one's rows to the other's, either way. */
function areEntangled({ captured: one, actions }: Item, { captured: other, actions: others }: Item): boolean {
  if (keyIndex(one.change.facts)?.lockRelation !== keyIndex(other.change.facts)?.lockRelation) return false;
  return actions.command === 'MERGE' || others.command === 'MERGE' || (movesUniques(one) && movesUniques(other));
}

/** An update of a column that is unique, and that a foreign key may refer to. */
function movesUniques({ change }: CapturedChange): boolean {
  return change.facts.uniqueIndexes.some(({ columns }) => columns.some((column) => change.assigned.has(column)));
}

/** An update of a column that a foreign key is made of. */
function movesReferences({ change }: CapturedChange): boolean {
  return change.facts.foreignKeys.some(({ columns }) => columns.some((column) => change.assigned.has(column)));
}

/** Sorted so that none refers to a later one; undefined when they refer to each other in a circle. */
function parentsFirst(items: readonly Item[]): readonly Item[] | undefined {
  const sorted: Item[] = [];
  let waiting = [...items];
  while (waiting.length > 0) {
    const free = waiting.filter((item) => !waiting.some((other) => other !== item && refersTo(item, other)));
    if (free.length === 0) return undefined;
    sorted.push(...free);
    waiting = waiting.filter((item) => !free.includes(item));
  }
  return sorted;
}
