/** The changing part of UPDATE and INSERT … DO UPDATE on PostgreSQL 14 to 17, whose RETURNING does not give the row before. */
import { assert } from '../../../src/platform/assert.ts';
import type { ColumnFacts, RelationFacts } from '../catalog.ts';
import { quoteName } from '../identifier.ts';
import { children, child, integer, relationName } from '../tree.ts';
import type { Anatomy } from './anatomy.ts';
import { claimedKeys, freedKeys, referencesOf } from '../locks/parents.ts';
import { changedRows, type Change, type ChangePart } from './capture.ts';
import { imageSql } from './image.ts';
import { keyIndex, lockKey, lockableIndexes, type RowKey } from './lock-key.ts';
import { formerKeys, ownList } from './returning.ts';
import { starOf } from './text/result-columns.ts';

const RACE = `THEN atomesh.refuse_capture('race') `;

/**
 * UPDATE: rows are found, locked and imaged once, then changed by their key. Joined on ctid instead, a row that changed
 * while the lock was waited for would silently not be updated. A row whose key changed in that moment is missed by the
 * join: the counts differ, and the statement fails with 40001.
 */
export function lockingUpdatePart(change: Change): ChangePart {
  const { anatomy, facts } = change;
  const { source } = anatomy.statement;
  const row = quoteName(anatomy.targetName);
  const key = keyColumns(facts);
  const locked = `atomesh_b${change.suffix}`;
  const locksKey = facts.uniqueIndexes.some((index) => index.columns.some((column) => change.assigned.has(column)));
  // Keys of the row before come out of the locking part; those of the row after out of the change.
  const moved = assignedKeys(change, row);
  const references = referencesOf(change, { before: row, after: row });
  const former = formerKeys(references);
  const before = [
    imageSql(facts, row),
    ...key.map((column) => `${row}.${quoteName(column.name)}`),
    ...[...moved, ...former].map((item) => item.sql),
  ];
  const movedNames = moved.map((_, index) => `atomesh_o${index + 1}`);
  const formerNames = former.map(({ name }) => name);
  const beforeNames = [
    'atomesh_image',
    ...key.map((_, index) => `atomesh_p${index + 1}`),
    ...movedNames,
    ...formerNames,
  ];
  const { where } = anatomy;
  const condition = where === undefined ? '' : `${source.slice(where.start, where.end)}\n`;
  const from = anatomy.from === undefined ? '' : `${source.slice(anatomy.from.start, anatomy.from.end)}\n, `;
  const own = ownList(change, { before: undefined, after: row }, `${row}.tableoid`, `${locked}.atomesh_image`);
  const list = [own.list, ...[...movedNames, ...formerNames].map((name) => `${locked}.${name}`)].join(', ');
  const keys = [...own.keys, ...moved];
  const head = source.slice(
    anatomy.body.start,
    (anatomy.from ?? where)?.keyword ?? anatomy.returning?.keyword ?? anatomy.body.end,
  );
  const keyNames = key.map((_, index) => `atomesh_p${index + 1}`).join(', ');
  const join = key.map(
    (column, index) => `${row}.${quoteName(column.name)} OPERATOR(pg_catalog.=) ${locked}.atomesh_p${index + 1}`,
  );
  // A row that the join finds several times is changed once. Which values it gets is not said: so the join is made again for the
  // rows that are locked, under the same snapshot, and finds the same.
  const isJoin = anatomy.from !== undefined;
  const again = isJoin && condition !== '' ? `(${condition}) AND ` : '';
  return {
    before: `${locked} (${beforeNames.join(', ')}) AS MATERIALIZED (SELECT ${before.join(', ')} FROM ${from}${targetSql(anatomy)}${condition === '' ? '' : ` WHERE ${condition}`} FOR ${locksKey ? '' : 'NO KEY '}UPDATE OF ${row}),\n`,
    ownColumns: [
      ...own.ownColumns,
      ...moved.map((_, index) => `atomesh_k${own.keys.length + index + 1}`),
      ...formerNames,
    ],
    change: `${head}\nFROM ${from}${isJoin ? `(SELECT DISTINCT ON (${keyNames}) * FROM ${locked}) AS ${locked}` : locked} WHERE ${again}${join.join(' AND ')}\nRETURNING ${list}${clientList(change, row)}`,
    after: '',
    rows: changedRows(change),
    checks: `WHEN pg_catalog.count(*) OPERATOR(pg_catalog.<>) (SELECT pg_catalog.count(*) FROM ${isJoin ? `(SELECT DISTINCT ${keyNames} FROM ${locked}) AS d` : locked}) ${RACE}`,
    first: '',
    keys,
    parents: own.parents,
    claims: claimedKeys(references),
    freed: freedKeys(facts, keys),
  };
}

/**
 * INSERT … DO UPDATE: the rows that the values may conflict with are locked and imaged first; `conflicting` is the condition on them,
 * under the name `atomesh_t`. A row that appears in between is updated without an image: `xmax` tells it from an inserted one, and the statement fails with 40001.
 */
export function lockingUpsertPart(change: Change, conflicting: string): ChangePart {
  const { anatomy, facts } = change;
  const { source } = anatomy.statement;
  const row = quoteName(anatomy.targetName);
  const key = keyColumns(facts);
  const keyNames = key.map((_, position) => `atomesh_p${position + 1}`);
  const inserted = `${row}.xmax::pg_catalog.text OPERATOR(pg_catalog.=) '0'`;
  const own = ownList(change, { before: undefined, after: row }, `${row}.tableoid`, inserted);
  const keyList = key.map((column) => `${row}.${quoteName(column.name)}`);
  const head = source.slice(anatomy.body.start, anatomy.returning?.keyword ?? anatomy.body.end);
  const ownColumns = [
    ...own.ownColumns.map((name) => (name === 'atomesh_before' ? 'atomesh_inserted' : name)),
    ...keyNames,
  ];
  const list = [own.list, ...keyList];
  const moved = assignedKeys(change, 'atomesh_t');
  const movedNames = moved.map((_, position) => `atomesh_o${position + 1}`);
  const references = referencesOf(change, { before: 'atomesh_t', after: row });
  const former = formerKeys(references);
  const formerNames = former.map(({ name }) => name);
  const join = keyNames.map((name) => `atomesh_b.${name} OPERATOR(pg_catalog.=) atomesh_c.${name}`).join(' AND ');
  const images = [
    imageSql(facts, 'atomesh_t'),
    ...key.map((column) => `atomesh_t.${quoteName(column.name)}`),
    ...[...moved, ...former].map((item) => item.sql),
  ];
  const keys = [...own.keys, ...moved];
  const rest = [
    ...own.ownColumns.slice(1).map((name) => `atomesh_c.${name}`),
    // An inserted row has no value before it: null, and so no lock.
    ...movedNames.map((name, position) => `atomesh_b.${name} AS atomesh_k${own.keys.length + position + 1}`),
    ...formerNames.map((name) => `atomesh_b.${name}`),
  ];
  return {
    before: `atomesh_b (${['atomesh_image', ...keyNames, ...movedNames, ...formerNames].join(', ')}) AS MATERIALIZED (SELECT ${images.join(', ')} FROM ${relationSql(anatomy)} AS atomesh_t WHERE ${conflicting} FOR UPDATE OF atomesh_t),\n`,
    ownColumns,
    change: `${head}\nRETURNING ${list.join(', ')}${clientList(change, row)}`,
    after: `atomesh_i AS (SELECT CASE WHEN atomesh_c.atomesh_inserted THEN NULL ELSE atomesh_b.atomesh_image END AS atomesh_before, atomesh_c.atomesh_inserted, ${rest.join(', ')}
  FROM atomesh_c LEFT JOIN atomesh_b ON ${join}),\n`,
    rows: 'atomesh_i',
    checks: `WHEN pg_catalog.bool_or(NOT atomesh_inserted AND atomesh_before IS NULL) ${RACE}`,
    // Locks the rows before the first one is inserted; afterwards this statement's own changes would hide them.
    first: '(SELECT pg_catalog.count(*) FROM atomesh_b) OPERATOR(pg_catalog.>=) 0',
    keys,
    parents: own.parents,
    claims: claimedKeys(references),
    freed: freedKeys(facts, keys),
  };
}

/** The columns that tell its rows apart. */
function keyColumns(facts: RelationFacts): readonly ColumnFacts[] {
  const index = keyIndex(facts);
  assert(index !== undefined, 'a captured table has a key');
  return index.columns.map((name) => {
    const column = facts.columns.find((candidate) => candidate.name === name);
    assert(column !== undefined, 'a key is over columns of its table');
    return column;
  });
}

function assignedKeys(change: Change, row: string): readonly RowKey[] {
  return lockableIndexes(change.facts)
    .filter((index) => index.columns.some((column) => change.assigned.has(column)))
    .map((index) => ({ ...lockKey(change.facts, index, row), side: 'before' }));
}

function relationSql(anatomy: Anatomy): string {
  const name = relationName(anatomy.target);
  return (name.schema === undefined ? '' : `${quoteName(name.schema)}.`) + quoteName(name.name);
}

function targetSql(anatomy: Anatomy): string {
  const only = anatomy.target['inh'] === true ? '' : 'ONLY ';
  // An alias of our own would forbid references by schema and table.
  const alias = child(anatomy.target, 'alias') === undefined ? '' : ` AS ${quoteName(anatomy.targetName)}`;
  return `${only}${relationSql(anatomy)}${alias}`;
}

/** The client's RETURNING list with a bare star bound to the client's own tables: ours must not show in it. */
function clientList(change: Change, row: string): string {
  const { anatomy } = change;
  const { returning } = anatomy;
  if (returning === undefined) return '';
  const { source } = anatomy.statement;
  let sql = '';
  let from = returning.list.start;
  for (const item of returning.expressions) {
    const target = child(item, 'ResTarget');
    const value = target && child(target, 'val');
    const star = starOf(value);
    const reference = value && child(value, 'ColumnRef');
    if (star?.length !== 0 || reference === undefined || children(reference, 'fields').length !== 1) continue;
    const location = integer(reference, 'location') ?? 0;
    sql += `${source.slice(from, location)}${[row, ...change.sourceNames.map(quoteName)].map((name) => `${name}.*`).join(', ')}`;
    from = location + 1;
  }
  return `, ${sql}${source.slice(from, returning.list.end)}`;
}
