/**
 * The capture of a change: the statements that a session runs, on the client's own connection and in its local transaction, in place
 * of the client's one, and what they must have found. All texts have one character for each byte, as the client's own.
 */
import { tableName } from '../identifier.ts';
import { imageSql, isRestorable, valuesOf, type ImageColumn } from './image.ts';
import { keptText } from '../kept-text.ts';
import type { LockKey, ParentKey } from './lock-key.ts';
import type { ChangedRow, UndoRecord } from './record.ts';
import { refuse, type Refused } from './refusal.ts';

/** A statement, and which of the client's parameters it has, by their numbers from 0. */
export interface Step {
  readonly sql: string;
  readonly parameters: readonly number[];
}

/** A table whose rows the statement changes. */
export interface CapturedTable {
  readonly database: string;
  readonly table: string;
  readonly columns: readonly ImageColumn[];
  /** Columns that tell the rows apart. */
  readonly key: readonly string[];
  readonly locks: readonly LockKey[];
  /** The rows that its rows refer to, as far as the statement may change that. */
  readonly parents: readonly ParentKey[];
  /** What its columns are qualified with in the client's statement: quoted. */
  readonly row: string;
  /** The columns that a read has for a row, of what these are qualified with: its image, then its locks. */
  readonly readSql: (row: string) => string;
  /** Only where a change is asked about: the condition for where rows with these images may be, once the statement has given them another key. */
  readonly movedSql?: (images: readonly string[], row: string) => string;
}

/** A row as it was read. */
export interface FoundRow {
  readonly image: string;
  /** The key of each of its locks, in the order of the table's. Empty ones lock nothing. */
  readonly locks: readonly string[];
  /** The key of each row that it refers to, in the order of the table's parents. Empty where it refers to none. */
  readonly parents: readonly string[];
}

/** The rows of each table, in the order of the capture's tables; none twice. */
export type Found = readonly (readonly FoundRow[])[];

/** What the server answered to the change. */
export interface Outcome {
  /** Of a capture that `answersRows`: how many rows there are in the answer. */
  readonly affectedRows: number;
  /** The digits of the OK packet's last insert id; `0` where the answer is rows. */
  readonly insertId: string;
  /** The client asked for CLIENT_FOUND_ROWS: rows that an UPDATE leaves as they were are counted as well. */
  readonly countsFound: boolean;
  /** The local transaction is READ COMMITTED or below: rows may appear that a locking read did not find. */
  readonly hasPhantoms: boolean;
}

/** A row lock to be taken. */
export interface RowLock {
  readonly relation: string;
  readonly key: string;
}

/** `refused`: what is said where trying again does not help, because nobody else is the reason. */
export interface Again {
  readonly kind: 'again';
  readonly refused?: Refused;
}

export type Conclusion =
  | Captured
  /** Rows changed between two steps: back to the savepoint, and once more from the start. */
  | Again
  /** Back to the savepoint, and the client is refused. */
  | Refused;

/** What has to be written, and asked, before the client is answered. All lists may be empty. */
export interface Captured {
  readonly kind: 'captured';
  readonly records: readonly UndoRecord[];
  /** To be taken, for the rows that were changed. */
  readonly locks: readonly RowLock[];
  /**
   * Rows that the changed ones refer to now, by the locks of these: no other global transaction may have one, for the rollback of who
   * inserted the row, or changed its key, would meet the reference. To be asked over another connection, of what is committed. The
   * foreign key's check has locked the row since, so whoever changed it has ended its local transaction, and no one changes it now.
   */
  readonly shared: readonly RowLock[];
  /**
   * Rows that the changed ones do not refer to any more: to be claimed, so that they are there when this is taken back. Claims do not
   * exclude each other.
   */
  readonly claims: readonly RowLock[];
  /**
   * Keys that rows of other tables could refer to, and that are no row's any more: no other global transaction may have claimed one. To
   * be asked like `shared`. The foreign key's check has met every row that referred to the key, and waited for the end of who deleted it
   * or had it refer to another one: what that one claims is committed.
   */
  readonly freed: readonly RowLock[];
}

export interface Change extends Step {
  /** It is not what the client has said, because nothing is met. */
  readonly isPlain: boolean;
  /** What the client has said, where the server has to look at what is left out of it. */
  readonly whole?: string;
}

/**
 * How a change is captured. Behind a savepoint, in this order:
 *
 * 1. `before`, when there is one. Rows that cannot be captured are a refusal; nothing has been changed. With `looksFirst` it is run
 *    without locks first, and once more with them when it found a row.
 * 2. `change`, whose OK packet is the client's answer. An error of its own is the client's answer too, and the local transaction
 *    goes on; but a duplicate key (1062) where `isPlain` says that the statement was to do something else then is 'again', with locks.
 * 3. `after`, when there is one.
 * 4. `conclude`; records and locks are written.
 *
 * 2 and 3 may be sent together where `after` does not need the outcome. What goes together is one text of several statements, which ends
 * at the first error: of several texts MySQL carries out what stands behind an error, after a deadlock (1213) outside of any transaction.
 */
export interface Capture {
  readonly kind: 'capture';
  readonly tables: readonly CapturedTable[];
  readonly looksFirst: boolean;
  readonly before: ((locks: boolean) => Step) | undefined;
  readonly change: (before: Found) => Change;
  /** Undefined where nothing is left to be read. `needsOutcome`: which rows to read is known from the answer to the change. */
  readonly after: ((before: Found, outcome: Outcome | undefined) => Step | undefined) | undefined;
  readonly needsOutcome: boolean;
  /** What is said where the plain form fails by a duplicate key again and again, though no reading finds what it meets. */
  readonly duplicates?: Refused;
  /**
   * Where the client's own words name the one row that can be meant, so that nothing has to be read first: `change` without a pin, and
   * `after` by these words. With `before(true)` in one text, which ends at the first error, and then concluded like the others.
   */
  readonly atOnce?: { readonly change: Step; readonly after: Step | undefined };
  /** RETURNING: the answer to the change is rows, which are the client's, and no OK packet. */
  readonly answersRows: boolean;
  readonly conclude: (before: Found, outcome: Outcome, after: Found) => Conclusion;
}

/** Our own SQL, which may name tables in any script, with one character for each byte of it. */
export function ours(sql: string): string {
  return Buffer.from(sql, 'utf8').toString('latin1');
}

/**
 * `readSql` of a table. `required`: columns that are never NULL. The expressions get a short name, for the server would send each one's
 * whole text in its place.
 */
export function readSqlOf(
  { columns, locks }: Pick<CapturedTable, 'columns' | 'locks'>,
  required: readonly string[],
): CapturedTable['readSql'] {
  return keptText((row) =>
    ours(
      [imageSql(columns, row, required), ...locks.map(({ sql }) => sql(row))].map((sql) => `${sql} AS ${NAME}`).join(),
    ),
  );
}

const NAME = 'atomesh_';

/** The columns that a read has for a table: its image, then its locks, then what it refers to. */
export function readColumns({ readSql, parents, row }: CapturedTable): string {
  return [readSql(row), ...parents.map(({ sql }) => ours(`${sql(row)} AS ${NAME}`))].join();
}

/** As many columns, for a read that has no row of the table. */
export function noColumns({ locks, parents }: CapturedTable): string {
  return `'${NOTHING}'` + ", ''".repeat(locks.length + parents.length);
}

/** The table's own name, for a statement of ours. */
export function ownName(table: CapturedTable): string {
  return ours(tableName(table));
}

/**
 * What a read answered: for each table its columns, one after the other, as ASCII. Refuses what no record can be made of. A joined row
 * without a row of the table has nothing but NULL for its key. `mayBeAltered`: a row is read as NULL too where a column has come to take NULL since.
 */
export function readFound(
  tables: readonly CapturedTable[],
  rows: readonly (readonly (string | null)[])[],
  maxRows: number,
): { readonly kind: 'found'; readonly found: Found } | (Refused & { readonly mayBeAltered: boolean }) {
  const found: FoundRow[][] = [];
  let place = 0;
  for (const table of tables) {
    const width = 1 + table.locks.length + table.parents.length;
    const seen = new Map<string, FoundRow>();
    for (const columns of rows) {
      const row = readRow(table, columns.slice(place, place + width));
      if (row === undefined) {
        const long = refuse(`a row of ${tableName(table)} that is longer than max_allowed_packet allows`);
        return { ...long, mayBeAltered: true };
      }
      if (row !== 'none') seen.set(keyText(table, row.image), row);
    }
    if (seen.size > maxRows) {
      const many = refuse(
        `changing or locking more than ${maxRows} rows by one statement`,
        "Split the statement, or raise maxRows of this database in the sidecar's configuration.",
      );
      return { ...many, mayBeAltered: false };
    }
    found.push([...seen.values()]);
    place += width;
  }
  return { kind: 'found', found };
}

function readRow(table: CapturedTable, [image, ...keys]: readonly (string | null)[]): FoundRow | 'none' | undefined {
  if (image === null || image === undefined) return undefined;
  if (!isPresent(table, image)) return 'none';
  const known = keys.filter((key) => key !== null);
  if (known.length !== keys.length) return undefined;
  const { length } = table.locks;
  return { image, locks: known.slice(0, length), parents: known.slice(length) };
}

/** In place of an image, where a row that was read is of another table. No image is this text. */
const NOTHING = '-';

function isPresent({ columns, key }: CapturedTable, image: string): boolean {
  if (image === NOTHING) return false;
  const values = valuesOf(columns, image);
  return columns.some(({ name }, index) => key.includes(name) && values[index] !== undefined);
}

/** The part of an image that tells the row apart. */
export function keyText({ columns, key }: CapturedTable, image: string): string {
  const values = valuesOf(columns, image);
  return columns.flatMap(({ name }, index) => (key.includes(name) ? [values[index] ?? ''] : [])).join(',');
}

/** The rows of a table before and after, in pairs; those that are the same are left out. */
export function pairs(
  table: CapturedTable,
  before: readonly FoundRow[],
  after: readonly FoundRow[],
): readonly ChangedRow[] {
  const later = new Map(after.map(({ image }) => [keyText(table, image), image]));
  const earlier = new Set(before.map(({ image }) => keyText(table, image)));
  return [
    ...before.map(({ image }) => ({ before: image, after: later.get(keyText(table, image)) })),
    ...after
      .filter(({ image }) => !earlier.has(keyText(table, image)))
      .map(({ image }) => ({ before: undefined, after: image })),
  ].filter((row) => row.before !== row.after);
}

/** The records and locks of what changed. Refuses a row that could not be written back exactly. */
export function concluded(
  tables: readonly CapturedTable[],
  changed: readonly (readonly ChangedRow[])[],
  found: readonly Found[],
): Conclusion {
  const records: UndoRecord[] = [];
  const met = { locks: new LockSet(), shared: new LockSet(), claims: new LockSet(), freed: new LockSet() };
  for (const [index, table] of tables.entries()) {
    const rows = changed[index] ?? [];
    if (rows.length === 0) continue;
    const lossy = lossyColumn(table, rows);
    if (lossy !== undefined) {
      return refuse(
        `changing ${lossy} of ${tableName(table)}, a JSON with a date, bytes, a decimal or a number of 16 digits or more,`,
      );
    }
    const { database, table: name, columns, key } = table;
    records.push({ database, table: name, columns, key, rows });
    const read = new Map(found.flatMap((each) => each[index] ?? []).map((row) => [row.image, row]));
    for (const { before, after } of rows) meet(table, read.get(before ?? ''), read.get(after ?? ''), met);
  }
  const { locks, shared, claims, freed } = met;
  return {
    kind: 'captured',
    records,
    locks: locks.all(),
    shared: shared.all(),
    claims: claims.all(),
    freed: freed.all(),
  };
}

/** Row locks, each once. */
class LockSet {
  readonly #locks = new Map<string, RowLock>();

  add(relation: string, key: string): void {
    if (key !== '') this.#locks.set(`${relation} ${key}`, { relation, key });
  }

  all(): readonly RowLock[] {
    return [...this.#locks.values()];
  }
}

/** What one changed row has to do with the locks of others. */
function meet(
  { locks, parents }: CapturedTable,
  before: FoundRow | undefined,
  after: FoundRow | undefined,
  met: Readonly<Record<'locks' | 'shared' | 'claims' | 'freed', LockSet>>,
): void {
  for (const [place, { relation, isReferred }] of locks.entries()) {
    const [earlier = '', later = ''] = [before?.locks[place], after?.locks[place]];
    met.locks.add(relation, earlier);
    met.locks.add(relation, later);
    if (isReferred && earlier !== later) met.freed.add(relation, earlier);
  }
  for (const [place, { relation }] of parents.entries()) {
    const [earlier = '', later = ''] = [before?.parents[place], after?.parents[place]];
    if (earlier === later) continue;
    met.claims.add(relation, earlier);
    met.shared.add(relation, later);
  }
}

/** A column with a value that would have to be written back, and cannot be. */
function lossyColumn({ columns }: CapturedTable, rows: readonly ChangedRow[]): string | undefined {
  for (const { before, after } of rows) {
    if (before === undefined) continue;
    const values = valuesOf(columns, before);
    const later = after === undefined ? undefined : valuesOf(columns, after);
    const place = values.findIndex((value, index) => !isRestorable(value) && value !== later?.[index]);
    if (place !== -1) return columns[place]?.name;
  }
  return undefined;
}
