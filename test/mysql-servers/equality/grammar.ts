/** A grammar of statements over tables, and of the local transactions that carry them. */
import fc from 'fast-check';
import { asking, type Question } from './asking.ts';
import type { Input } from './columns.ts';
import { settings, type Settings } from './settings.ts';
import { writable, type Column, type Table } from './tables.ts';

/** A text with values in it, which go as literals or as parameters. Names of databases are `@0@` and `@1@`. */
export type Sql = readonly (string | { readonly value: string | number | null })[];

export type Step =
  | {
      readonly kind: 'statement';
      readonly sql: Sql;
      readonly isPrepared: boolean;
      /** Tables of the session's database are named with it all the same. */
      readonly isQualified: boolean;
      /** A row that it inserts may be numbered by the server. */
      readonly isNumbered: boolean;
      /** What is asked right behind it. */
      readonly asks: readonly Question[];
    }
  | {
      readonly kind: 'savepoint';
      readonly verb: 'SAVEPOINT' | 'ROLLBACK TO SAVEPOINT' | 'RELEASE SAVEPOINT';
      readonly name: string;
    };

export interface Local {
  /** A block until `end`; otherwise every statement is a local transaction of its own. */
  readonly isBlock: boolean;
  readonly end: 'COMMIT' | 'ROLLBACK';
  readonly steps: readonly Step[];
}

/** What is done in one or two gids. */
export interface Batch {
  readonly settings: Settings;
  /** What each of the two sessions does; the second one's is often empty. */
  readonly sessions: readonly [readonly Local[], readonly Local[]];
  /** Which session makes the next step, while both have steps. */
  readonly order: readonly boolean[];
  /** The second session works in a gid of its own. */
  readonly isTwoGids: boolean;
}

const inputSql = (input: Input): Sql => ('sql' in input ? [input.sql] : [input]);

const value = (column: Column): fc.Arbitrary<Sql> =>
  column.isGenerated
    ? fc.constant(['DEFAULT'])
    : fc.oneof(
        { weight: 14, arbitrary: fc.constantFrom(...column.inputs).map(inputSql) },
        { weight: 1, arbitrary: fc.constantFrom<Sql>(['NULL'], [{ value: null }]) },
        { weight: 1, arbitrary: fc.constant<Sql>(['DEFAULT']) },
      );

const given = (column: Column): fc.Arbitrary<Sql> => fc.constantFrom(...column.inputs).map(inputSql);

function join(parts: readonly Sql[], separator: string): Sql {
  return parts.flatMap((part, index) => (index === 0 ? part : [separator, ...part]));
}

const some = <T>(items: readonly T[], maxLength: number): fc.Arbitrary<readonly T[]> =>
  fc.subarray([...items], { minLength: 1, maxLength: Math.min(items.length, maxLength) });

const keysOf = (table: Table): readonly Column[] => table.columns.filter(({ name }) => table.key.includes(name));

/** A condition; `prefix` stands in front of columns, where the table has an alias. */
function where(table: Table, prefix = ''): fc.Arbitrary<Sql> {
  const keys = keysOf(table);
  const [first] = keys;
  if (first === undefined) return fc.constant(['']);
  const named = (column: Column): string => `${prefix}${column.name}`;
  const any = fc.constantFrom(...writable(table));
  const equal = fc.tuple(...keys.map(given)).map((values): Sql => [
    ' WHERE ',
    ...join(
      values.map((item, index): Sql => [`${named(keys[index] ?? first)} = `, ...item]),
      ' AND ',
    ),
  ]);
  const one = any.chain((column) => given(column).map((item): Sql => [` WHERE ${named(column)} = `, ...item]));
  const several = fc
    .tuple(given(first), given(first))
    .map(([a, b]): Sql => [` WHERE ${named(first)} IN (`, ...a, ', ', ...b, ')']);
  const beyond = given(first).map((item): Sql => [` WHERE ${named(first)} >= `, ...item, ` OR ${prefix}n is null`]);
  return fc.oneof(
    { weight: 1, arbitrary: fc.constant<Sql>(['']) },
    { weight: 1, arbitrary: any.map((column): Sql => [` WHERE ${named(column)} IS NOT NULL /* ; ' */`]) },
    { weight: 3, arbitrary: equal },
    { weight: 2, arbitrary: one },
    { weight: 2, arbitrary: several },
    { weight: 1, arbitrary: beyond },
    {
      weight: 2,
      arbitrary: fc.constantFrom<Sql>([` WHERE ${prefix}n > 0`], [` WHERE ${prefix}n between -1 and 2`], [' WHERE 1']),
    },
  );
}

/** In an order that leaves nothing open. */
const ordered = (table: Table): fc.Arbitrary<Sql> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constant<Sql>(['']) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom('n', 'n DESC'), fc.constantFrom<Sql>([' LIMIT 1'], [' LIMIT ', { value: 2 }], ['']))
        .map(([first, limit]): Sql => [` ORDER BY ${[first, ...table.key].join(', ')}`, ...limit]),
    },
  );

function assignments(columns: readonly Column[], prefix = ''): fc.Arbitrary<Sql> {
  const each = columns.map((column) =>
    fc.oneof(
      // With some plans MySQL writes zero for the DEFAULT of a TIMESTAMP of several tables.
      { weight: 3, arbitrary: prefix === '' || column.isGenerated ? value(column) : given(column) },
      { weight: prefix === '' ? 2 : 0, arbitrary: fc.constantFrom(...column.expressions).map((text): Sql => [text]) },
    ),
  );
  return fc.tuple(...each).map((values) =>
    join(
      values.map((item, index): Sql => [`${prefix}${columns[index]?.name ?? ''} = `, ...item]),
      ', ',
    ),
  );
}

/** Columns to be assigned: those of the key seldom. */
const assigned = (table: Table): fc.Arbitrary<readonly Column[]> => {
  const others = table.columns.filter(({ name, isGenerated }) => !table.key.includes(name) && !isGenerated);
  return fc.oneof({ weight: 9, arbitrary: some(others, 3) }, { weight: 1, arbitrary: some(table.columns, 3) });
};

const update = (table: Table): fc.Arbitrary<Sql> =>
  fc
    .tuple(
      fc.constantFrom('', '', '', '', '', '', 'IGNORE ', 'LOW_PRIORITY '),
      assigned(table).chain((columns) => assignments(columns)),
      where(table),
      ordered(table),
    )
    .map(([word, sets, condition, order]): Sql => [
      `UPDATE ${word}${table.name} SET `,
      ...sets,
      ...condition,
      ...order,
    ]);

const remove = (table: Table): fc.Arbitrary<Sql> =>
  fc
    .tuple(where(table), ordered(table))
    .map(([condition, order]): Sql => [`DELETE FROM ${table.name}`, ...condition, ...order]);

/**
 * In which order a server changes several tables is for it to say, and with foreign and unique keys it decides between an error and none: where
 * answers are compared, only one table is updated, and only one is deleted from that others refer to.
 */
function joined(one: Table, other: Table, isCompared: boolean): fc.Arbitrary<Sql> {
  const tables = fc.constantFrom(
    `${one.name} AS p JOIN ${other.name} AS c ON c.n = p.n`,
    `${one.name} p LEFT JOIN ${other.name} c ON c.n = p.n`,
    `${one.name} p, ${other.name} c`,
  );
  const isReferring = isCompared && [one, other].some(({ definition }) => definition.includes('references'));
  const sets = fc
    .tuple(
      assigned(one).chain((columns) => assignments(columns, 'p.')),
      isCompared ? fc.constant(null) : fc.option(assigned(other).chain((columns) => assignments(columns, 'c.'))),
    )
    .map(([first, second]): Sql => (second === null ? first : [...first, ', ', ...second]));
  return fc.oneof(
    fc
      .tuple(tables, sets, where(one, 'p.'))
      .map(([from, list, condition]): Sql => [`UPDATE ${from} SET `, ...list, ...condition]),
    fc
      .tuple(tables, fc.constantFrom('p', 'c', ...(isReferring ? [] : ['p, c'])), where(one, 'p.'))
      .map(([from, targets, condition]): Sql => [`DELETE ${targets} FROM ${from}`, ...condition]),
  );
}

/** What goes on behind the rows of an INSERT. */
const behindRows = (table: Table): fc.Arbitrary<Sql> =>
  assigned(table).chain((columns) =>
    fc
      .tuple(
        ...columns.map((column) =>
          // Where no row exists nobody notices that a computed column is given something.
          column.isGenerated
            ? value(column)
            : fc.oneof(
                fc.constant<Sql>([`VALUES(${column.name})`]),
                value(column),
                fc.constantFrom(...column.expressions).map((text): Sql => [text]),
              ),
        ),
      )
      .map((values): Sql => [
        ' ON DUPLICATE KEY UPDATE ',
        ...join(
          values.map((item, index): Sql => [`${columns[index]?.name ?? ''} = `, ...item]),
          ', ',
        ),
      ]),
  );

type Insert = { readonly sql: Sql; readonly isNumbered: boolean };

function insert(table: Table): fc.Arbitrary<Insert> {
  const keys = keysOf(table);
  const others = writable(table).filter((column) => !keys.includes(column));
  const form = fc.constantFrom(
    'INSERT INTO',
    'INSERT INTO',
    'INSERT INTO',
    'INSERT',
    'INSERT IGNORE INTO',
    'INSERT … ON',
    'INSERT … ON',
    'REPLACE INTO',
  );
  return fc
    .tuple(form, some(others, 6), fc.integer({ min: 1, max: 3 }), fc.boolean(), fc.boolean())
    .chain(([verb, chosen, count, leavesKeyOut, isSet]) => {
      const isNumbered = table.isNumbered && leavesKeyOut;
      const columns = isNumbered ? chosen : [...keys, ...chosen];
      const row = fc.tuple(...columns.map((column) => (keys.includes(column) ? given(column) : value(column))));
      const isUpdate = verb === 'INSERT … ON';
      const start = `${isUpdate ? 'INSERT INTO' : verb} ${table.name}`;
      const tail = isUpdate ? behindRows(table) : fc.constant<Sql>(['']);
      if (isSet) {
        return fc.tuple(row, tail).map(([values, behind]): Insert => ({
          sql: [
            `${start} SET `,
            ...join(
              values.map((item, index): Sql => [`${columns[index]?.name ?? ''} = `, ...item]),
              ', ',
            ),
            ...behind,
          ],
          isNumbered: table.isNumbered,
        }));
      }
      return fc.tuple(fc.array(row, { minLength: count, maxLength: count }), tail).map(([rows, behind]): Insert => ({
        sql: [
          `${start} (${columns.map(({ name }) => name).join(', ')}) VALUES `,
          ...join(
            rows.map((values): Sql => ['(', ...join(values, ', '), ')']),
            ', ',
          ),
          ...behind,
        ],
        isNumbered: table.isNumbered,
      }));
    });
}

/** INSERT of the table's own rows: under numbers that the server gives, or under the keys that are there. */
function copy(table: Table): fc.Arbitrary<Insert> {
  const columns = writable(table).filter(({ name }) => !table.isNumbered || !table.key.includes(name));
  const list = columns.map(({ name }) => name).join(', ');
  return fc
    .tuple(fc.constantFrom('INSERT INTO', 'INSERT IGNORE INTO', 'REPLACE INTO'), where(table))
    .map(([verb, condition]): Insert => ({
      sql: [`${verb} ${table.name} (${list}) SELECT ${list} FROM ${table.name}`, ...condition],
      isNumbered: table.isNumbered,
    }));
}

/** Statements of other shapes: captured, refused or passed, they must leave nothing behind either. */
const OTHERS: readonly string[] = [
  'UPDATE @0@.child AS c JOIN @0@.parent AS p ON p.a = c.a AND p.b = c.b SET c.n = p.n + 1',
  'DELETE FROM @0@.child USING @0@.child, @0@.parent WHERE parent.a = child.a AND parent.n > 1',
  'UPDATE @0@.numbered SET n = (SELECT max(n) FROM @0@.parent) WHERE id IN (SELECT a FROM @0@.parent)',
  'UPDATE @0@.numbered JOIN (SELECT n, count(*) AS c FROM @1@.top GROUP BY n) AS d ON d.c = numbered.id SET numbered.n = d.c',
  'INSERT INTO @0@.node (id, up, n) VALUES (8, NULL, 1), (9, 8, 2), (10, 9, 3)',
  'DELETE FROM @0@.node ORDER BY id DESC',
  'UPDATE @1@.top SET place = 4 - place',
  'UPDATE @1@.uniq SET u = upper(u), w = lower(w)',
  'INSERT INTO @0@.numbered () VALUES ()',
  'SELECT a, b, n FROM @0@.parent ORDER BY a FOR UPDATE',
  'SELECT count(*) FROM @0@.child LOCK IN SHARE MODE',
  'SELECT id, n FROM @0@.numbered ORDER BY n, id',
  'SHOW TABLES',
  'SET @x = 5',
  'DO 1 + 1',
  'TRUNCATE @0@.node',
  'CREATE TABLE @0@.more (id int)',
  'LOCK TABLES @0@.node WRITE',
  'CALL nothing()',
  'SELECT 1 FROM nowhere',
  'UPDATE nowhere SET n = 1',
  'UPDATE @0@.parent SET nothing = 1',
  'INSERT INTO @0@.parent (a, b) VALUES (1)',
];

function statementOf(tables: readonly Table[], isCompared: boolean): fc.Arbitrary<Insert> {
  const usual = tables.filter(({ isAwkward }) => !isAwkward);
  const common = usual.length === 0 ? tables : usual;
  const plain = (sql: fc.Arbitrary<Sql>): fc.Arbitrary<Insert> => sql.map((each) => ({ sql: each, isNumbered: false }));
  return fc.oneof(
    {
      weight: 14,
      arbitrary: fc.constantFrom(...tables, ...common, ...common).chain((table) =>
        fc.oneof(
          { weight: 5, arbitrary: insert(table) },
          { weight: 1, arbitrary: copy(table) },
          { weight: 5, arbitrary: plain(update(table)) },
          { weight: 3, arbitrary: plain(remove(table)) },
          {
            weight: 1,
            arbitrary: plain(fc.constantFrom(...common).chain((other) => joined(table, other, isCompared))),
          },
        ),
      ),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(...OTHERS).map((text) => ({ sql: [text], isNumbered: /numbered \(/.test(text) })),
    },
  );
}

const savepoint: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('savepoint' as const),
  verb: fc.oneof(
    { weight: 3, arbitrary: fc.constant('SAVEPOINT' as const) },
    { weight: 2, arbitrary: fc.constantFrom('ROLLBACK TO SAVEPOINT' as const, 'RELEASE SAVEPOINT' as const) },
  ),
  name: fc.constantFrom('s', '`S 2`'),
});

/** Batches of one to twenty statements. `isCompared`: answers and rows are compared with those of another server. */
export function batchesOver(tables: readonly Table[], isCompared: boolean): fc.Arbitrary<Batch> {
  // Of few tables, so that statements meet each other's rows.
  const few = fc.shuffledSubarray([...tables], { minLength: 2, maxLength: 5 });
  return fc.oneof(fc.constant(tables), few).chain((some) => batchesOf(some, isCompared));
}

function batchesOf(tables: readonly Table[], isCompared: boolean): fc.Arbitrary<Batch> {
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 8,
      arbitrary: fc
        .tuple(statementOf(tables, isCompared), fc.boolean(), fc.boolean(), asking)
        .map(([statement, isPrepared, isQualified, asks]): Step => ({
          kind: 'statement',
          ...statement,
          isPrepared,
          isQualified,
          asks,
        })),
    },
    { weight: 1, arbitrary: savepoint },
  );
  const local: fc.Arbitrary<Local> = fc.record({
    isBlock: fc.boolean(),
    end: fc.constantFrom('COMMIT' as const, 'COMMIT' as const, 'COMMIT' as const, 'ROLLBACK' as const),
    steps: fc.array(step, { minLength: 1, maxLength: 5 }),
  });
  const locals = fc.array(local, { minLength: 1, maxLength: 2 });
  return fc.record({
    settings,
    sessions: fc.tuple(locals, fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: locals })),
    order: fc.array(fc.boolean(), { maxLength: 20 }),
    isTwoGids: fc.boolean(),
  });
}
