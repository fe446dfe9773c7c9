/** INSERT IGNORE, ON DUPLICATE KEY UPDATE and REPLACE: what exists under any unique key of the new rows is read as well. */
import { assert } from '../../../src/platform/assert.ts';
import { columnOf, type UniqueFacts } from '../catalog.ts';
import { quoteName, tableName } from '../identifier.ts';
import { parametersIn, placesOf, textOf, type Span } from '../text/span.ts';
import {
  concluded,
  keyText,
  ours,
  ownName,
  pairs,
  readColumns,
  type Capture,
  type Change,
  type Conclusion,
  type Found,
  type FoundRow,
  type Outcome,
  type Step,
} from './capture.ts';
import { givenValue, isZero } from './given.ts';
import { rowsSql } from './image.ts';
import { captureInsert, valueOf, type Insertion } from './insert.ts';
import { refuse, type Refused } from './refusal.ts';

/** What a conflict with an existing row leads to. */
type Resolution = 'ignore' | 'update' | 'replace';

/** The rows of one unique index that the new rows could meet: SQL for each value, or parameters in it. */
interface Meeting {
  readonly condition: string;
  readonly parameters: readonly number[];
}

/** The capture of an INSERT that may meet rows that exist. */
export function captureUpsert(insertion: Insertion): Capture | Refused {
  const { statement, table } = insertion;
  const { rows } = statement;
  const resolution = resolutionOf(insertion);
  if (rows === undefined)
    return refuse(`${NAMES[resolution]} with a SELECT`, 'Read the rows and write them by VALUES.');
  if (statement.returning !== undefined)
    return refuse(`${NAMES[resolution]} with RETURNING`, 'Read the rows by a statement of their own.');
  if (statement.isIgnoring && resolution !== 'ignore') return refuse(`INSERT IGNORE with ON DUPLICATE KEY UPDATE`);
  const meetings = meetingsOf(insertion, rows, NAMES[resolution]);
  if ('kind' in meetings) return meetings;
  const { met, findable } = meetings;
  // Without a value of a unique key nothing can be met.
  if (findable === 0) return captureInsert(insertion);
  if (findable < rows.length) return refuse(`${NAMES[resolution]} of rows of which only some have a key`);
  return {
    kind: 'capture',
    tables: [table],
    looksFirst: true,
    before: (locks) => readMet(insertion, met, [], locks),
    change: ([before = []]) => changeStep(insertion, resolution, before.length === 0),
    // What is found by its key alone has another unique value now.
    after: ([before = []]) => readMet(insertion, met, before, true),
    needsOutcome: false,
    answersRows: false,
    duplicates: sameTwice(resolution),
    conclude: (before, outcome, after) => conclude(insertion, resolution, { before, outcome, after }),
  };
}

const NAMES: Readonly<Record<Resolution, string>> = {
  ignore: 'INSERT IGNORE',
  update: 'INSERT … ON DUPLICATE KEY UPDATE',
  replace: 'REPLACE',
};

function resolutionOf({ statement }: Insertion): Resolution {
  if (statement.kind === 'replace') return 'replace';
  return statement.onDuplicate === undefined ? 'ignore' : 'update';
}

/** For each unique index what may be met in it, and how many of the rows have a value of some index. */
function meetingsOf(
  insertion: Insertion,
  rows: readonly (readonly Span[])[],
  name: string,
): { readonly met: readonly Meeting[]; readonly findable: number } | Refused {
  const findable = new Set<readonly Span[]>();
  const met: Meeting[] = [];
  for (const index of insertion.facts.uniques) {
    const columns = plainColumns(insertion, index);
    if (columns === undefined) {
      return refuse(
        `${name} into ${tableName(insertion.facts)}, whose unique index ${index.name} is not over plain columns,`,
      );
    }
    const tuples: Meeting[] = [];
    for (const row of rows) {
      const tuple = tupleOf(insertion, columns, row);
      if (tuple === 'unknown')
        return refuse(`${name} of a row whose value of the unique index ${index.name} cannot be known`, KNOWN);
      if (tuple === 'none') continue;
      findable.add(row);
      tuples.push(tuple);
    }
    if (tuples.length === 0) continue;
    const left = columns.map((column) => ours(`${ROW}.${quoteName(column)}`));
    met.push({
      condition: `(${left.join(', ')}) IN (${tuples.map(({ condition }) => condition).join(', ')})`,
      parameters: tuples.flatMap(({ parameters }) => parameters),
    });
  }
  return { met, findable: findable.size };
}

const KNOWN = 'Write it as a constant or a parameter.';
const ROW = '`atomesh_row`';

function plainColumns({ facts }: Insertion, index: UniqueFacts): readonly string[] | undefined {
  const names = index.columns.flatMap(({ name, prefix }) => {
    const isPlain = name !== undefined && prefix === undefined && columnOf(facts, name)?.isGenerated === false;
    return isPlain ? [name] : [];
  });
  return names.length === index.columns.length ? names : undefined;
}

/** A row's value of an index; `none` where a NULL, or a number that is yet to be given, keeps it from meeting anything. */
function tupleOf(insertion: Insertion, columns: readonly string[], row: readonly Span[]): Meeting | 'none' | 'unknown' {
  const { source, parameters, facts } = insertion;
  const parts: string[] = [];
  const numbers: number[] = [];
  let isUnknown = false;
  for (const name of columns) {
    const span = valueOf(insertion, row, name);
    const value = span === undefined ? ({ kind: 'default' } as const) : givenValue(source, span, parameters);
    const isNumbered = columnOf(facts, name)?.isAutoIncrement === true;
    if (value.kind === 'null' || (isNumbered && (value.kind === 'default' || isZero(value)))) {
      return 'none';
    }
    if (value.kind === 'unknown') isUnknown = true;
    if (span === undefined || value.kind === 'default') parts.push(ours(`DEFAULT(${ROW}.${quoteName(name)})`));
    else {
      parts.push(textOf(source, span));
      numbers.push(...parametersIn(source, span));
    }
  }
  if (isUnknown) return 'unknown';
  return { condition: `(${parts.join(', ')})`, parameters: numbers };
}

/** One read for each index, which each uses its own; and one for rows that are known. A row may be found twice. */
function readMet({ table }: Insertion, met: readonly Meeting[], known: readonly FoundRow[], locks: boolean): Step {
  const own = { ...table, row: ROW };
  const conditions = met.map(({ condition }) => condition);
  if (known.length > 0) {
    const images = known.map(({ image }) => image);
    conditions.push(ours(rowsSql(own, images, ROW)));
    if (table.movedSql !== undefined) conditions.push(table.movedSql(images, ROW));
  }
  const reads = conditions.map(
    (condition) =>
      `(SELECT ${readColumns(own)} FROM ${ownName(table)} AS ${ROW} WHERE ${condition}${locks ? ' FOR UPDATE' : ''})`,
  );
  assert(reads.length > 0, 'something may be met');
  return { sql: reads.join(' UNION ALL '), parameters: met.flatMap(({ parameters }) => parameters) };
}

/** Where nothing was met, nothing may be: it runs as a plain INSERT, which fails if there is something after all. */
function changeStep(insertion: Insertion, resolution: Resolution, isFree: boolean): Change {
  const { statement, source, span } = insertion;
  const { text } = source;
  const whole = placesOf(source, span);
  const isPlain = isFree && resolution !== 'ignore';
  if (!isPlain) return { sql: text.slice(whole.start, whole.end), parameters: parametersIn(source, span), isPlain };
  const verb = source.tokens[statement.verb];
  assert(verb !== undefined, 'a statement has a first word');
  const kept = { from: span.from, to: statement.onDuplicate?.span.from ?? span.to };
  const { end } = placesOf(source, kept);
  const plain = { sql: `INSERT${text.slice(verb.end, end)}`, parameters: parametersIn(source, kept), isPlain };
  const said = isSurelyRight(insertion) ? undefined : inAscii(insertion);
  return said === undefined ? plain : { ...plain, whole: said };
}

/**
 * The statement for the server to look at. It would read a text within a text by another character set, so that strings beyond ASCII are left empty.
 * Undefined where names, or comments, are beyond ASCII.
 */
function inAscii({ source, span }: Insertion): string | undefined {
  const { text, tokens } = source;
  const { start, end } = placesOf(source, span);
  const parts: string[] = [];
  let at = start;
  for (const token of tokens.slice(span.from, span.to)) {
    if (token.kind !== 'string' || ASCII.test(text.slice(token.start, token.end))) continue;
    parts.push(text.slice(at, token.start), "''");
    at = token.end;
  }
  const said = [...parts, text.slice(at, end)].join('');
  return ASCII.test(said) ? said : undefined;
}

const ASCII = /^[\t\n\r -~]*$/;

/** True where the server can have nothing against ON DUPLICATE KEY UPDATE: it has columns, constants, VALUES() of columns, and signs between them. */
function isSurelyRight({ statement, source, facts }: Insertion): boolean {
  const isPlain = (name: string): boolean => columnOf(facts, name) !== undefined;
  return (statement.onDuplicate?.assignments ?? []).every(({ table, column, value }) => {
    if (table !== undefined || columnOf(facts, column)?.isGenerated !== false) return false;
    const tokens = source.tokens.slice(value.from, value.to);
    const text = tokens
      .map(({ kind, text: said }) => {
        const isName = kind === 'name' || (kind === 'word' && isPlain(said));
        if (isName) return isPlain(said) ? 'c' : '!';
        return kind === 'number' || kind === 'string' ? '1' : said;
      })
      .join(' ');
    return RIGHT.test(text);
  });
}

const RIGHT = /^(?:c|1|null|values \( c \))(?: [-+*/] (?:c|1|null|values \( c \)))*$/;

interface Steps {
  readonly before: Found;
  readonly outcome: Outcome;
  readonly after: Found;
}

function conclude(insertion: Insertion, resolution: Resolution, { before, outcome, after }: Steps): Conclusion {
  const { table, statement } = insertion;
  const [earlier = []] = before;
  const [later = []] = after;
  const count = statement.rows?.length ?? 0;
  const tally = tallyOf(insertion, earlier, later);
  const found = [before, after];
  if (earlier.length === 0) {
    // Nobody else can take away what was inserted: it is not where the statement says.
    if (later.length < outcome.affectedRows) return elsewhere(resolution);
    // Every row that is there was inserted, if that many were.
    if (later.length !== outcome.affectedRows || (resolution !== 'ignore' && later.length !== count))
      return again(resolution);
    return concluded([table], [pairs(table, [], later)], found);
  }
  switch (resolution) {
    case 'ignore': {
      // What was there may have been changed by others: it is not locked.
      if (tally.inserted.length !== outcome.affectedRows) return again(resolution);
      return concluded([table], [pairs(table, [], tally.inserted)], found);
    }
    case 'update':
      if (tally.gone > 0) return refuse(`changing the key of ${tableName(table)}`);
      if (!isUpdateTally(tally, count, outcome)) return again(resolution);
      // Counted like a row that was left as it is, which then would have been found.
      if (outcome.countsFound && count - tally.inserted.length - tally.changed > tally.same)
        return elsewhere(resolution);
      break;
    case 'replace': {
      const least = count + tally.gone + tally.changed;
      // A row that is replaced by its like is counted once or twice, depending on the server.
      if (outcome.affectedRows < least || outcome.affectedRows > least + tally.same) return again(resolution);
      // Whatever went, each row of the statement is there now.
      if (later.length < count) return elsewhere(resolution);
      if (outcome.hasPhantoms && tally.same > 0 && tally.inserted.length > 0) return uncertain(resolution);
      break;
    }
  }
  if (resolution === 'update' && outcome.hasPhantoms && outcome.countsFound && tally.inserted.length > 0) {
    // A row that came between, and was left as it is, is counted like one that was inserted.
    return uncertain(resolution);
  }
  return concluded([table], [pairs(table, earlier, later)], found);
}

interface Tally {
  readonly inserted: readonly FoundRow[];
  readonly gone: number;
  readonly changed: number;
  readonly same: number;
}

function tallyOf({ table }: Insertion, before: readonly FoundRow[], after: readonly FoundRow[]): Tally {
  const later = new Map(after.map((row) => [keyText(table, row.image), row.image]));
  const earlier = new Set(before.map(({ image }) => keyText(table, image)));
  const inserted = after.filter(({ image }) => !earlier.has(keyText(table, image)));
  let gone = 0;
  let same = 0;
  for (const { image } of before) {
    const now = later.get(keyText(table, image));
    if (now === undefined) gone += 1;
    else if (now === image) same += 1;
  }
  return { inserted, gone, same, changed: before.length - gone - same };
}

/** The server counts 1 for a row that it inserts, 2 for one that it changes, and 0 or 1 for one that it leaves as it is. */
function isUpdateTally({ inserted, changed }: Tally, count: number, { affectedRows, countsFound }: Outcome): boolean {
  const left = count - inserted.length - changed;
  return left >= 0 && affectedRows === inserted.length + 2 * changed + (countsFound ? left : 0);
}

/** Others may have changed what it meets; where they have not, its own rows meet one another. */
function again(resolution: Resolution): Conclusion {
  return { kind: 'again', refused: sameTwice(resolution) };
}

function sameTwice(resolution: Resolution): Refused {
  return refuse(
    `${NAMES[resolution]} of two rows with the same key, or of one that is stored under another key than it is written with,`,
    'Write each row once, by its key as it is stored.',
  );
}

function elsewhere(resolution: Resolution): Refused {
  return refuse(
    `${NAMES[resolution]} of a row that cannot be found by the key in the statement`,
    'Write the key as it is stored.',
  );
}

function uncertain(resolution: Resolution): Refused {
  return refuse(
    `${NAMES[resolution]} of which some rows exist, under READ COMMITTED,`,
    'Use REPEATABLE READ, or write the new rows by a statement of their own.',
  );
}
