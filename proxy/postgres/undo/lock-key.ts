/** SQL for the keys under which rows and unique values are locked: equal values have equal keys, other values other keys. */
import { assert } from '../../../src/platform/assert.ts';
import type { ColumnFacts, OtherUniqueFacts, RelationFacts, UniqueIndexFacts } from '../catalog.ts';
import { quoteName } from '../identifier.ts';

/** A lock that one changed row takes: `relation` is the table for its key, the index for another unique value. */
export interface LockKey {
  readonly relation: number;
  readonly sql: string;
}

/** The key of a row on one side of its change. */
export interface RowKey extends LockKey {
  readonly side: 'before' | 'after';
}

/** Longer values are replaced by their hash: a B-tree entry holds at most about 2,700 bytes. */
const KEY_BYTES_MAX = 1000;

/** The unique indexes whose values can be locked, the key first. Where nulls are equal to each other, they would need a lock too. */
export function lockableIndexes(facts: RelationFacts): readonly UniqueIndexFacts[] {
  return facts.uniqueIndexes.filter(
    (index) =>
      (index.isKey || !index.nullsNotDistinct) &&
      columnsOf(facts, index).every((column) => column.keyForm !== undefined),
  );
}

/** The uniquenesses that are left: what frees one of their values could not have it back for sure. */
export function unlockableUniques(facts: RelationFacts): readonly OtherUniqueFacts[] {
  const lockable = lockableIndexes(facts);
  const unlockable = facts.uniqueIndexes.filter((index) => !lockable.includes(index));
  return [
    ...facts.otherUniques,
    ...unlockable.map(({ constraint, columns }) => ({ name: constraint ?? columns.join(', '), columns })),
  ];
}

/** The index that tells the rows apart; undefined when there is none, or when its values cannot be locked. */
export function keyIndex(facts: RelationFacts): UniqueIndexFacts | undefined {
  return lockableIndexes(facts).find((index) => index.isKey);
}

/** The key of one row for one index. `row` is the SQL name of the row. Null when a column is null: nulls are never equal. */
export function lockKey(facts: RelationFacts, index: UniqueIndexFacts, row: string): LockKey {
  const values = columnsOf(facts, index).map((column) => ({ column, sql: `${row}.${quoteName(column.name)}` }));
  return lockKeyOf(index.lockRelation, values);
}

/** The key of those values: each of the type of its column, in the order of the index. */
export function lockKeyOf(
  relation: number,
  values: readonly { readonly column: ColumnFacts; readonly sql: string }[],
): LockKey {
  const parts = values.map(({ column, sql }) => part(column, sql));
  const [first] = parts;
  assert(first !== undefined, 'an index has a column');
  return {
    relation,
    // Length before value: ('a','bc') and ('ab','c') differ whatever characters they hold.
    sql: parts.length === 1 ? first : parts.map(lengthPrefixed).join(' OPERATOR(pg_catalog.||) '),
  };
}

function columnsOf(facts: RelationFacts, index: UniqueIndexFacts): readonly ColumnFacts[] {
  return index.columns.map((name) => {
    const column = facts.columns.find((candidate) => candidate.name === name);
    assert(column !== undefined, 'an index is over columns of its table');
    return column;
  });
}

function lengthPrefixed(sql: string): string {
  return `pg_catalog.octet_length(${sql})::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) ${sql}`;
}

const SEND: Readonly<Record<string, string>> = {
  date: 'date_send',
  timestamp: 'timestamp_send',
  timestamptz: 'timestamptz_send',
  time: 'time_send',
  bytea: 'byteasend',
};

function part(column: ColumnFacts, value: string): string {
  switch (column.keyForm) {
    case 'text':
      return `${value}::pg_catalog.text`;
    case 'long-text':
      return shortened(`${value}::pg_catalog.text`);
    case 'folded':
      return shortened(`pg_catalog.lower(${value}::pg_catalog.text)`);
    case 'numeric':
      // 1.0 and 1.00 are equal.
      return shortened(`pg_catalog.trim_scale(${value})::pg_catalog.text`);
    case 'float':
      // -0 and 0 are equal, and so is every NaN, whatever its bits; the binary form does not depend on extra_float_digits.
      return `CASE WHEN ${value}::pg_catalog.float8 OPERATOR(pg_catalog.=) 'NaN'::pg_catalog.float8 THEN 'NaN' ELSE pg_catalog.encode(pg_catalog.float8send(${value}::pg_catalog.float8 OPERATOR(pg_catalog.+) 0::pg_catalog.float8), 'hex') END`;
    case 'binary':
      // The binary form depends neither on DateStyle nor TimeZone nor bytea_output.
      return shortened(`pg_catalog.encode(pg_catalog.${SEND[column.baseName] ?? 'byteasend'}(${value}), 'hex')`);
    case undefined:
      throw new Error(`invariant broken: column ${column.name} has no key form`);
  }
}

function shortened(sql: string): string {
  return `CASE WHEN pg_catalog.octet_length(${sql}) OPERATOR(pg_catalog.>) ${KEY_BYTES_MAX} THEN 'sha256:' OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(${sql}, 'UTF8')), 'hex') ELSE ${sql} END`;
}
