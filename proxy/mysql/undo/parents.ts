/** Rows that the rows of a table refer to by its foreign keys: the locks of those, computed of the columns that refer. */
import { columnOf, type ForeignKeyFacts, type TableFacts } from '../catalog.ts';
import { quoteName, tableName } from '../identifier.ts';
import type { ImageColumn } from './image.ts';
import { isOver, keyIndex, lockKeys, type ParentKey } from './lock-key.ts';
import { refuse, type Refused } from './refusal.ts';
import { isAssigned, type Actions } from './target.ts';

/** The foreign keys by which a statement may change what rows refer to. */
export function referring(facts: TableFacts, { inserts, deletes, assigned }: Actions): readonly ForeignKeyFacts[] {
  if (inserts || deletes) return facts.parents;
  return facts.parents.filter(({ columns }) => columns.some(({ own }) => isAssigned(facts, assigned, own)));
}

/**
 * The lock of the row that a foreign key leads to; undefined where no row of that table is ever locked: it cannot be captured. Refuses a
 * foreign key to columns that are not unique, which InnoDB allows, and one between columns of which equal values have other texts.
 */
export function parentKey(
  child: TableFacts,
  foreignKey: ForeignKeyFacts,
  parent: TableFacts,
): ParentKey | Refused | undefined {
  if (keyIndex(parent) === undefined) return undefined;
  const own = new Map(foreignKey.columns.map((pair) => [pair.other.toLowerCase(), pair.own]));
  const lock = lockKeys(parent).find(({ index }) => isOver(index, [...own.keys()]));
  const what = `changing ${tableName(child)}, whose foreign key ${foreignKey.name} leads to`;
  if (lock === undefined) {
    return refuse(
      `${what} columns of ${tableName(parent)} that are not unique,`,
      'Let it lead to a primary key or a unique index.',
    );
  }
  const isAlike = foreignKey.columns.every(({ own: from, other }) =>
    haveOneText(columnOf(child, from)?.image, columnOf(parent, other)?.image),
  );
  if (!isAlike) return refuse(`${what} columns of another type,`, 'Give the columns on both sides the same type.');
  return {
    relation: lock.relation,
    sql: (row) => {
      const value = (column: string): string => `${row}.${quoteName(own.get(column.toLowerCase()) ?? '')}`;
      const isNull = [...own.keys()].map((column) => `${value(column)} IS NULL`).join(' OR ');
      return `IF(${isNull}, '', ${lock.sqlOf(value)})`;
    },
  };
}

/** InnoDB wants columns to be alike, but lets lengths of strings and the width of numbers on display differ. */
function haveOneText(one: ImageColumn | undefined, other: ImageColumn | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  const member = /^(?:enum|set)(?=\()/.exec(one.type)?.[0];
  // The numbers of members are compared, whatever their names are.
  if (member !== undefined) return other.type.startsWith(`${member}(`);
  if (one.collation !== undefined) return one.collation === other.collation;
  if (one.form === 'bytes') return other.form === 'bytes';
  return withoutWidth(one) === withoutWidth(other);
}

function withoutWidth({ type }: ImageColumn): string {
  return type.includes('zerofill') ? type : type.replace(/int\(\d+\)/, 'int');
}
