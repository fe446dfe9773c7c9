/** The changing part where RETURNING gives what is needed: any change on PostgreSQL 18, INSERT and DELETE before. */
import { quoteName } from '../identifier.ts';
import { mentionsRow, type Anatomy } from './anatomy.ts';
import { IMAGE_COLUMNS, changedRows, type Change, type ChangePart } from './capture.ts';
import { imageSql } from './image.ts';
import type { UniqueIndexFacts } from '../catalog.ts';
import { claimedKeys, freedKeys, referencesOf, type Reference } from '../locks/parents.ts';
import { lockKey, lockableIndexes, type LockKey, type RowKey } from './lock-key.ts';

/** SQL names of the row before and after; undefined where there is none. */
export interface RowNames {
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** PostgreSQL 18: `RETURNING old, new` is exact for every change, also after waiting for a lock, and for both halves of an upsert. */
export function returningPart(change: Change): ChangePart {
  const { anatomy, facts } = change;
  const columns = facts.columns.map((column) => column.name);
  const names = rowAliases(change, columns);
  const rows: RowNames = {
    before: change.command === 'INSERT' && change.assigned.size === 0 ? undefined : names.old.name,
    after: change.command === 'DELETE' ? undefined : names.new.name,
  };
  const own = ownList(change, rows, tableoidSql(change, rows));
  const options = [...(names.old.option ?? []), ...(names.new.option ?? [])].join(', ');
  const { head, tail } = aroundReturning(anatomy);
  return {
    ...own,
    before: '',
    change: `${head}\nRETURNING ${options === '' ? '' : `WITH (${options}) `}${own.list}${tail}`,
    after: '',
    rows: changedRows(change),
    checks: '',
    first: '',
  };
}

/** The table that the row lies in. A row that MERGE deletes has none after the change, one that it inserts none before. */
function tableoidSql({ command }: Change, { before, after }: RowNames): string {
  if (command === 'MERGE') return `COALESCE(${after}.tableoid, ${before}.tableoid)`;
  return `${after ?? before}.tableoid`;
}

/** INSERT without DO UPDATE, and DELETE, on 14 to 17: the returned row is the only image. */
export function plainReturningPart(change: Change): ChangePart {
  const { anatomy } = change;
  const row = quoteName(anatomy.targetName);
  const rows: RowNames =
    change.command === 'DELETE' ? { before: row, after: undefined } : { before: undefined, after: row };
  const own = ownList(change, rows, `${row}.tableoid`);
  const { head, tail } = aroundReturning(anatomy);
  return {
    ...own,
    before: '',
    change: `${head}\nRETURNING ${own.list}${tail}`,
    after: '',
    rows: changedRows(change),
    checks: '',
    first: '',
  };
}

/** The statement up to its RETURNING, and behind a comma what the client wants returned. */
function aroundReturning({ statement: { source }, returning, body }: Anatomy): {
  readonly head: string;
  readonly tail: string;
} {
  return returning === undefined
    ? { head: source.slice(body.start, body.end), tail: '' }
    : {
        head: source.slice(body.start, returning.keyword),
        tail: `, ${source.slice(returning.list.start, returning.list.end)}`,
      };
}

/**
 * Our part of the RETURNING list, which stands before the client's, and the locks that go with it.
 * `first` takes the place of the before image where that comes from elsewhere.
 */
export function ownList(
  change: Change,
  rows: RowNames,
  tableoid: string,
  first?: string,
): {
  readonly list: string;
  readonly ownColumns: readonly string[];
  readonly keys: readonly RowKey[];
  readonly parents: readonly LockKey[];
  readonly claims: readonly LockKey[];
  readonly freed: readonly LockKey[];
} {
  const keys = keysOf(change, rows);
  const references = referencesOf(change, rows);
  const parents = parentsOf(references);
  const image = (row: string | undefined): string =>
    row === undefined ? 'NULL::pg_catalog.text' : imageSql(change.facts, row);
  return {
    list: [
      first ?? image(rows.before),
      image(rows.after),
      tableoid,
      ...[...keys, ...parents].map((key) => key.sql),
      ...formerKeys(references).map(({ sql }) => sql),
    ].join(', '),
    ownColumns: [
      ...IMAGE_COLUMNS,
      ...keys.map((_, index) => `atomesh_k${index + 1}`),
      ...parents.map((_, index) => `atomesh_f${index + 1}`),
      ...formerKeys(references).map(({ name }) => name),
    ],
    keys,
    parents,
    claims: claimedKeys(references),
    freed: freedKeys(change.facts, keys),
  };
}

function parentsOf(references: readonly Reference[]): readonly LockKey[] {
  return references.flatMap(({ relation, after }) => (after === undefined ? [] : [{ relation, sql: after }]));
}

/** The keys that the row referred to before, and the own columns in which `claimedKeys` looks for them. */
export function formerKeys(
  references: readonly Reference[],
): readonly { readonly name: string; readonly sql: string }[] {
  return references.flatMap(({ before }, index) =>
    before === undefined ? [] : [{ name: `atomesh_g${index + 1}`, sql: before }],
  );
}

/** Keys of the row as it is now, and as it was where an indexed column is assigned. */
function keysOf(change: Change, rows: RowNames): readonly RowKey[] {
  const isUpdate = rows.before !== undefined && rows.after !== undefined;
  const keyOn = (side: RowKey['side'], index: UniqueIndexFacts): readonly RowKey[] => {
    const name = rows[side];
    return name === undefined ? [] : [{ ...lockKey(change.facts, index, name), side }];
  };
  // A row may also be inserted or deleted: it has each of its values on one side only, and the other side gives null, and no lock.
  if (change.command === 'MERGE') {
    return lockableIndexes(change.facts).flatMap((index) => [...keyOn('after', index), ...keyOn('before', index)]);
  }
  return lockableIndexes(change.facts).flatMap((index) => {
    const isAssigned = index.columns.some((column) => change.assigned.has(column));
    // A unique value that the statement cannot have touched needs no lock; the key always has one.
    if (change.command === 'UPDATE' && !isAssigned && !index.isKey) return [];
    const before = isUpdate && !isAssigned ? [] : keyOn('before', index);
    return [...keyOn('after', index), ...before];
  });
}

interface RowAlias {
  readonly name: string;
  /** The option that introduces the name; absent when the client's text already has it. */
  readonly option: readonly string[] | undefined;
}

/** Names for OLD and NEW: the client's own where it uses them, else ours, which nothing can shadow. */
function rowAliases(change: Change, columns: readonly string[]): { readonly old: RowAlias; readonly new: RowAlias } {
  const { returning, targetName } = change.anatomy;
  const alias = (word: 'old' | 'new', given: string | undefined): RowAlias => {
    if (given !== undefined)
      return { name: quoteName(given), option: [`${word.toUpperCase()} AS ${quoteName(given)}`] };
    // In the client's text the word is the row only where nothing else of the statement is called so.
    const isUsed =
      word !== targetName &&
      !change.sourceNames.includes(word) &&
      mentionsRow(returning?.expressions ?? [], word, columns);
    if (isUsed) return { name: word, option: undefined };
    const name = `atomesh_${word}`;
    return { name, option: [`${word.toUpperCase()} AS ${name}`] };
  };
  return { old: alias('old', returning?.oldName), new: alias('new', returning?.newName) };
}
