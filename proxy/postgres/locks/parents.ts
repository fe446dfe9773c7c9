/**
 * Rows that a change comes to refer to by a foreign key: while another global transaction holds one, the change has to wait. And those
 * that it ceases to refer to: the change claims them, so that they are there when it is taken back.
 */
import type { ForeignKeyFacts, RelationFacts } from '../catalog.ts';
import { quoteName } from '../identifier.ts';
import type { Change } from '../undo/capture.ts';
import { lockKeyOf, type LockKey, type RowKey } from '../undo/lock-key.ts';

type Referring = Pick<Change, 'command' | 'assigned' | 'facts'>;

/** What a foreign key of a changed row leads to. */
export interface Reference {
  /** What the locks of those rows are filed under. */
  readonly relation: number;
  /** SQL for the key that the row referred to before the change; undefined where the change cannot end that. Null where it referred to none. */
  readonly before: string | undefined;
  /** SQL for the key that it refers to after the change; undefined where there is no row then. */
  readonly after: string | undefined;
}

/**
 * The references that the change may write, by the SQL names of the row before and after it. The key after it is looked for among the row
 * locks: if its holder is rolled back, that row may vanish, or its key may become another, and then the holder could not be restored
 * because of us. The key before it is claimed. Neither is locked, since any number of rows may refer to one.
 */
export function referencesOf(
  { command, assigned, facts }: Referring,
  { before, after }: { readonly before: string | undefined; readonly after: string | undefined },
): readonly Reference[] {
  // A row that an upsert inserts gives nothing up, and one that it updates what is assigned.
  const endsAll = command === 'DELETE' || command === 'MERGE';
  return leading(facts)
    .map((parent) => ({ parent, isAssigned: parent.columns.some(({ from }) => assigned.has(from)) }))
    .filter(({ isAssigned }) => command !== 'UPDATE' || isAssigned)
    .map(({ parent, isAssigned }) => ({
      relation: parent.lockRelation,
      before: before !== undefined && (endsAll || isAssigned) ? parentKey(parent, before) : undefined,
      after: after === undefined ? undefined : parentKey(parent, after),
    }));
}

/** The keys that `row`, the SQL name of a row, refers to; null where it refers to none. */
export function parentKeys(facts: RelationFacts, row: string): readonly LockKey[] {
  return leading(facts).map((parent) => ({ relation: parent.lockRelation, sql: parentKey(parent, row) }));
}

/** The keys to claim: those of the own columns `atomesh_g1`, … that the columns `atomesh_f1`, …, where there are, do not have any more. */
export function claimedKeys(references: readonly Reference[]): readonly LockKey[] {
  return references.flatMap(({ relation, before, after }, index) =>
    before === undefined
      ? []
      : [
          {
            relation,
            sql: givenUp(`atomesh_g${index + 1}`, after === undefined ? undefined : `atomesh_f${index + 1}`),
          },
        ],
  );
}

/**
 * Of the keys of a changed row, the own columns `atomesh_k1`, `atomesh_k2`, …, those to which foreign keys lead and which the change has
 * freed: somebody else may have claimed them.
 */
export function freedKeys({ referred }: RelationFacts, keys: readonly RowKey[]): readonly LockKey[] {
  return keys.flatMap(({ relation, side }, index) => {
    if (side === 'after' || !referred.some(({ lockRelation }) => lockRelation === relation)) return [];
    const kept = keys.findIndex((other) => other.relation === relation && other.side === 'after');
    return [{ relation, sql: givenUp(`atomesh_k${index + 1}`, kept < 0 ? undefined : `atomesh_k${kept + 1}`) }];
  });
}

/** SQL for a key that the row had before the change and has no longer; null where it still has it. */
function givenUp(before: string, after: string | undefined): string {
  if (after === undefined) return before;
  return `CASE WHEN ${before} COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ${after} THEN NULL ELSE ${before} END`;
}

type Parent = NonNullable<ForeignKeyFacts['parent']>;

/** Where the foreign keys lead, each once: one that leads to a partitioned table is there again for each of the partitions. */
function leading({ foreignKeys }: RelationFacts): readonly Parent[] {
  const parents = foreignKeys.flatMap(({ parent }) => (parent === undefined ? [] : [parent]));
  const nameOf = ({ lockRelation, columns }: Parent): string =>
    JSON.stringify([lockRelation, columns.map(({ from }) => from)]);
  return [...new Map(parents.map((parent) => [nameOf(parent), parent])).values()];
}

function parentKey({ lockRelation, columns }: Parent, row: string): string {
  const values = columns.map(({ from, to }) => {
    // The value in the parent's type, in which its keys are written.
    return { column: to, sql: `${row}.${quoteName(from)}::${quoteName(to.typeSchema)}.${quoteName(to.typeName)}` };
  });
  return lockKeyOf(lockRelation, values).sql;
}
