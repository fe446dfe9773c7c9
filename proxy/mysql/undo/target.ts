/** Which tables of MySQL can be captured, and for which changes. */
import { assert } from '../../../src/platform/assert.ts';
import { columnOf, imageColumns, type ForeignKeyFacts, type TableFacts } from '../catalog.ts';
import { quoteName, tableName } from '../identifier.ts';
import { readSqlOf, type CapturedTable } from './capture.ts';
import { keyIndex, lockKeys, unlockableUniques } from './lock-key.ts';
import { refuse, refuseHard, refuseRead, type Refused } from './refusal.ts';

/** What a statement does to the rows of a table. */
export interface Actions {
  /** Its name in messages: UPDATE, INSERT. */
  readonly command: string;
  readonly inserts: boolean;
  readonly deletes: boolean;
  /** Columns that are assigned in rows that exist; undefined when it updates none. */
  readonly assigned: readonly string[] | undefined;
}

/** Their tables are the server's, or ours. */
const SYSTEM_DATABASES: ReadonlySet<string> = new Set([
  'mysql',
  'information_schema',
  'performance_schema',
  'sys',
  'atomesh',
]);

/** The table for a capture. `alias` is what the statement calls it. `isJoined`: rows of other tables may be found without one of it. */
export function captured(
  facts: TableFacts,
  actions: Actions,
  alias: string,
  isJoined = false,
): CapturedTable | Refused {
  const refused = refuseTable(facts, actions);
  if (refused !== undefined) return refused;
  const read = readingOf(facts);
  if (read === undefined) return refuse(`${actions.command} of ${tableName(facts)}`);
  const { database, table } = facts;
  const { columns, key, locks, readSql, readJoinedSql } = read;
  const row = quoteName(alias);
  return { database, table, columns, key, locks, parents: [], row, readSql: isJoined ? readJoinedSql : readSql };
}

/** What follows from the facts alone. */
interface Reading extends Pick<CapturedTable, 'columns' | 'key' | 'locks' | 'readSql'> {
  readonly readJoinedSql: CapturedTable['readSql'];
}

const readings = new WeakMap<TableFacts, Reading>();

/** Undefined where the table cannot be captured. */
function readingOf(facts: TableFacts): Reading | undefined {
  const known = readings.get(facts);
  if (known !== undefined) return known;
  const columns = imageColumns(facts);
  const key = keyIndex(facts)?.columns.flatMap(({ name }) => (name === undefined ? [] : [name]));
  if (columns === undefined || key === undefined) return undefined;
  const locks = lockKeys(facts);
  const required = facts.columns.flatMap(({ name, isNullable }) => (isNullable === false ? [name] : []));
  const [readSql, readJoinedSql] = [required, []].map((each) => readSqlOf({ columns, locks }, each));
  assert(readSql !== undefined && readJoinedSql !== undefined, 'both are made');
  const reading = { columns, key, locks, readSql, readJoinedSql };
  readings.set(facts, reading);
  return reading;
}

/**
 * The table for a reading that locks rows; undefined where none of its rows is ever held, because it cannot be captured. Of images it has
 * the key alone, and of locks that of the key, which whoever changes the row takes.
 */
export function locked(facts: TableFacts, alias: string): CapturedTable | Refused | undefined {
  if (SYSTEM_DATABASES.has(facts.database.toLowerCase())) return undefined;
  if (facts.kind === 'view') {
    return refuseRead(`a locking read of ${tableName(facts)}, a view,`, 'Read the table behind it.');
  }
  const table = captured(facts, { command: 'SELECT', inserts: false, deletes: false, assigned: undefined }, alias);
  if ('kind' in table) return undefined;
  const { key } = table;
  const columns = table.columns.filter(({ name }) => key.includes(name));
  const locks = table.locks.slice(0, 1);
  return { ...table, columns, locks, readSql: readSqlOf({ columns, locks }, []) };
}

function refuseTable(facts: TableFacts, actions: Actions): Refused | undefined {
  const name = tableName(facts);
  const { command } = actions;
  if (SYSTEM_DATABASES.has(facts.database.toLowerCase())) return refuseHard(`${command} of ${name}`);
  if (facts.kind === 'view') return refuse(`${command} of ${name}, a view,`, 'Change the table behind it.');
  if (facts.kind === 'other') return refuse(`${command} of ${name}, which is no ordinary table,`);
  if (facts.engine.toLowerCase() !== 'innodb') {
    return refuseHard(
      `${command} of ${name}, of the engine ${facts.engine}, which has no transactions,`,
      `Convert it: ALTER TABLE ${name} ENGINE=InnoDB.`,
    );
  }
  const unknown = facts.columns.find(({ image, isGenerated }) => image === undefined && !isGenerated);
  if (unknown !== undefined) return refuse(`${command} of ${name}, whose column ${unknown.name} has an unknown type,`);
  if (keyIndex(facts) === undefined) {
    return refuse(
      `${command} of ${name}, which has no primary key and no unique index over columns that are NOT NULL,`,
      `Add one: ALTER TABLE ${name} ADD PRIMARY KEY (…).`,
    );
  }
  return refuseTriggers(facts, actions) ?? refuseReferences(facts, actions) ?? refuseUniques(facts, actions);
}

/**
 * Undoing an insertion deletes, and the other way round: a trigger on either counts for both. A row that REPLACE has put in the place of
 * its like is undone by an update.
 */
function refuseTriggers(facts: TableFacts, { command, inserts, deletes, assigned }: Actions): Refused | undefined {
  const firing = facts.triggers.filter(({ event }) =>
    event === 'UPDATE' ? assigned !== undefined || (inserts && deletes) : inserts || deletes,
  );
  if (firing.length === 0) return undefined;
  return refuse(
    `${command} of ${tableName(facts)}, which has triggers (${firing.map(({ name }) => name).join(', ')}),`,
    'What a trigger does elsewhere cannot be seen. Drop it, or make the change outside the global transaction.',
  );
}

/** InnoDB changes rows that refer by itself, and no statement of ours would see it. */
function refuseReferences(facts: TableFacts, { command, deletes, assigned }: Actions): Refused | undefined {
  const reaches = (key: ForeignKeyFacts): boolean => {
    if (deletes && key.onDelete !== 'restrict') return true;
    return key.onUpdate !== 'restrict' && key.columns.some(({ own }) => isAssigned(facts, assigned, own));
  };
  const found = facts.children.find(reaches);
  if (found === undefined) return undefined;
  const from = tableName(found);
  return refuse(
    `${command} of ${tableName(facts)}, to which ${from} refers with ON DELETE or ON UPDATE CASCADE or SET NULL (${found.name}),`,
    `Change the rows of ${from} first, in statements of their own, and declare the foreign key RESTRICT.`,
  );
}

/** Others must not take a unique value before it is given back. */
function refuseUniques(facts: TableFacts, { command, deletes, assigned }: Actions): Refused | undefined {
  const freed = unlockableUniques(facts).find(
    ({ columns }) =>
      deletes ||
      columns.some(({ name }) => (name === undefined ? assigned !== undefined : isAssigned(facts, assigned, name))),
  );
  if (freed === undefined) return undefined;
  return refuse(
    `${command} of ${tableName(facts)}, which may free a value of the unique index ${freed.name},`,
    'Such values cannot be kept from others. Use a unique index over columns, and not over expressions or very long texts.',
  );
}

/** A generated column changes with any other. */
export function isAssigned(facts: TableFacts, assigned: readonly string[] | undefined, name: string): boolean {
  if (assigned === undefined) return false;
  const column = columnOf(facts, name);
  return column?.isGenerated === true || assigned.some((other) => other.toLowerCase() === name.toLowerCase());
}
