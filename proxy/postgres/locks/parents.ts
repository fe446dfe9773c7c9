/** Rows that a change comes to refer to by a foreign key: while another global transaction holds one, the change has to wait. */
import type { ForeignKeyFacts } from '../catalog.ts';
import { quoteName } from '../identifier.ts';
import type { Change } from '../undo/capture.ts';
import { lockKeyOf, type LockKey } from '../undo/lock-key.ts';

/**
 * The keys of the rows that `after`, the SQL name of a row after the change, refers to; null where it refers to none. If their holder
 * is rolled back, such a row may vanish, or its key may become another: then the holder could not be restored because of us. They are
 * looked for and not locked, since any number of rows may refer to one.
 */
export function parentKeys(
  { command, assigned, facts }: Pick<Change, 'command' | 'assigned' | 'facts'>,
  after: string | undefined,
): readonly LockKey[] {
  if (after === undefined) return [];
  return facts.foreignKeys
    .filter(({ columns }) => command !== 'UPDATE' || columns.some((column) => assigned.has(column)))
    .flatMap(({ parent }) => (parent === undefined ? [] : [parentKey(parent, after)]));
}

function parentKey({ lockRelation, columns }: NonNullable<ForeignKeyFacts['parent']>, row: string): LockKey {
  const values = columns.map(({ from, to }) => {
    // The value in the parent's type, in which its keys are written.
    return { column: to, sql: `${row}.${quoteName(from)}::${quoteName(to.typeSchema)}.${quoteName(to.typeName)}` };
  });
  return lockKeyOf(lockRelation, values);
}
