/** A grammar of statements over the tables of `schema.ts`, and of the local transactions that carry them. */
import fc from 'fast-check';
import { TABLES, type Column, type Table } from './schema.ts';

/** A text with values in it, which go as literals or as parameters; null is NULL. */
export type Sql = readonly (string | { readonly value: string | null })[];

export type Step =
  | {
      readonly kind: 'statement';
      readonly sql: Sql;
      readonly protocol: 'simple' | 'extended';
      /** In a block: within a savepoint of its own, so that an error takes back this statement alone. */
      readonly isGuarded: boolean;
    }
  | { readonly kind: 'savepoint'; readonly verb: 'SAVEPOINT' | 'ROLLBACK TO' | 'RELEASE'; readonly name: string };

export interface Local {
  /** A block between BEGIN and `end`; otherwise every statement is a local transaction of its own. */
  readonly isBlock: boolean;
  readonly end: 'COMMIT' | 'ROLLBACK';
  readonly steps: readonly Step[];
}

/** What is done in one or two gids. */
export interface Batch {
  /** Which settings the sessions have, by their place in `SETTINGS`. */
  readonly settings: number;
  /** What each of the two sessions does; the second one's is often empty. */
  readonly sessions: readonly [readonly Local[], readonly Local[]];
  /** Which session makes the next step, while both have steps. */
  readonly order: readonly boolean[];
  /** The second session works in a gid of its own. */
  readonly isTwoGids: boolean;
}

const value = (column: Column): fc.Arbitrary<Sql> =>
  column.isGenerated === true
    ? fc.constant(['DEFAULT'])
    : fc.oneof(
        { weight: 12, arbitrary: fc.constantFrom(...column.inputs).map((input): Sql => [{ value: input }]) },
        { weight: 1, arbitrary: fc.constant<Sql>([{ value: null }]) },
        { weight: 1, arbitrary: fc.constant<Sql>(['DEFAULT']) },
      );

const given = (column: Column): fc.Arbitrary<Sql> =>
  fc.constantFrom(...column.inputs).map((input): Sql => [{ value: input }]);

function join(parts: readonly Sql[], separator: string): Sql {
  return parts.flatMap((part, index) => (index === 0 ? part : [separator, ...part]));
}

/** A few of the columns, at least one. */
const some = <T>(items: readonly T[], maxLength: number): fc.Arbitrary<readonly T[]> =>
  fc.subarray([...items], { minLength: 1, maxLength: Math.min(items.length, maxLength) });

const returning = (table: Table): fc.Arbitrary<Sql> =>
  fc.constantFrom<Sql>(
    [''],
    [''],
    [' RETURNING *'],
    [` RETURNING ${table.key.join(', ')}`],
    [` RETURNING ${table.key[0]} AS k, 1 AS one`],
  );

function where(table: Table): fc.Arbitrary<Sql> {
  const keys = table.columns.filter((column) => table.key.includes(column.name) && column.inputs.length > 0);
  const always: fc.Arbitrary<Sql> = fc.constant(['']);
  const nullable = fc.constantFrom(...table.columns).map((column): Sql => [` WHERE ${column.name} IS NOT NULL`]);
  const [first] = keys;
  if (first === undefined)
    return fc.oneof(
      always,
      nullable,
      fc.constantFrom<Sql>([` WHERE ${table.key[0]} = 2`], [` WHERE ${table.key[0]} > 1`]),
    );
  const equal = fc.tuple(...keys.map(given)).map((values): Sql => [
    ' WHERE ',
    ...join(
      values.map((item, index): Sql => [`${keys[index]?.name ?? ''} = `, ...item]),
      ' AND ',
    ),
  ]);
  const one = given(first).map((item): Sql => [` WHERE ${first.name} = `, ...item]);
  const several = fc
    .tuple(given(first), given(first))
    .map(([a, b]): Sql => [` WHERE ${first.name} IN (`, ...a, ', ', ...b, ')']);
  const beyond = given(first).map((item): Sql => [` WHERE ${first.name} >= `, ...item]);
  return fc.oneof(
    { weight: 1, arbitrary: always },
    { weight: 1, arbitrary: nullable },
    { weight: 3, arbitrary: equal },
    { weight: 3, arbitrary: one },
    { weight: 2, arbitrary: several },
    { weight: 2, arbitrary: beyond },
  );
}

function conflict(table: Table): fc.Arbitrary<Sql> {
  const targets = [table.key.join(', '), ...(table.targets ?? [])];
  const sets = some(
    table.columns.filter((column) => column.isGenerated !== true),
    2,
  ).chain((columns) =>
    fc
      .tuple(...columns.map((column) => fc.oneof(fc.constant<Sql>([`excluded.${column.name}`]), value(column))))
      .map((values) =>
        join(
          values.map((item, index): Sql => [`${columns[index]?.name ?? ''} = `, ...item]),
          ', ',
        ),
      ),
  );
  return fc.oneof(
    { weight: 2, arbitrary: fc.constant<Sql>(['']) },
    { weight: 3, arbitrary: fc.constant<Sql>([' ON CONFLICT DO NOTHING']) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.constantFrom(...targets), sets)
        .map(([target, list]): Sql => [` ON CONFLICT (${target}) DO UPDATE SET `, ...list]),
    },
  );
}

function insert(table: Table): fc.Arbitrary<Sql> {
  const writable = table.columns.filter((column) => column.isGenerated !== true);
  if (writable.length === 0) return fc.constant([`INSERT INTO ${table.name} DEFAULT VALUES`]);
  const keys = writable.filter(({ name }) => table.key.includes(name));
  const others = writable.filter((column) => !keys.includes(column));
  return fc
    .tuple(others.length === 0 ? fc.constant([]) : some(others, 12), fc.integer({ min: 1, max: 3 }))
    .chain(([chosen, rows]) => {
      const columns = [...keys, ...chosen];
      const row = fc
        .tuple(...columns.map((column) => (keys.includes(column) ? given(column) : value(column))))
        .map((values): Sql => ['(', ...join(values, ', '), ')']);
      return fc
        .tuple(fc.array(row, { minLength: rows, maxLength: rows }), conflict(table), returning(table))
        .map(([values, onConflict, back]): Sql => [
          `INSERT INTO ${table.name} (${columns.map(({ name }) => name).join(', ')}) VALUES `,
          ...join(values, ', '),
          ...onConflict,
          ...back,
        ]);
    });
}

/** INSERT of the table's own rows under other keys. */
function copy(table: Table): fc.Arbitrary<Sql> {
  const writable = table.columns.filter((column) => column.isGenerated !== true);
  if (writable.length === 0) return insert(table);
  const shifted = (column: Column): fc.Arbitrary<string> =>
    table.key.includes(column.name)
      ? fc.constantFrom(column.name, ...(column.expressions ?? [])).filter((text) => text !== 'DEFAULT')
      : fc.constant(column.name);
  return fc
    .tuple(
      fc.tuple(...writable.map(shifted)),
      where(table),
      fc.constantFrom('', ' ON CONFLICT DO NOTHING'),
      returning(table),
    )
    .map(([list, condition, onConflict, back]): Sql => [
      `INSERT INTO ${table.name} (${writable.map(({ name }) => name).join(', ')}) SELECT ${list.join(', ')} FROM ${table.name}`,
      ...condition,
      onConflict,
      ...back,
    ]);
}

function update(table: Table): fc.Arbitrary<Sql> {
  return some(table.columns, 3).chain((columns) =>
    fc
      .tuple(
        fc.tuple(
          ...columns.map((column) =>
            fc.oneof(
              { weight: 3, arbitrary: value(column) },
              {
                weight: 2,
                arbitrary: fc
                  .constantFrom(...(column.expressions ?? [column.isGenerated === true ? 'DEFAULT' : column.name]))
                  .map((text): Sql => [text]),
              },
            ),
          ),
        ),
        where(table),
        returning(table),
      )
      .map(([values, condition, back]): Sql => [
        `UPDATE ${table.name} SET `,
        ...join(
          values.map((item, index): Sql => [`${columns[index]?.name ?? ''} = `, ...item]),
          ', ',
        ),
        ...condition,
        ...back,
      ]),
  );
}

const remove = (table: Table): fc.Arbitrary<Sql> =>
  fc
    .tuple(where(table), returning(table))
    .map(([condition, back]): Sql => [`DELETE FROM ${table.name}`, ...condition, ...back]);

/** Statements of other shapes: captured, refused or passed, they must leave nothing behind either. */
const OTHERS: readonly string[] = [
  'UPDATE child SET n = p.n + 1 FROM parent AS p WHERE p.a = child.a AND p.b = child.b',
  'DELETE FROM child USING parent AS p WHERE p.a = child.a AND p.b = child.b AND p.n > 1',
  'WITH gone AS (DELETE FROM child RETURNING *) INSERT INTO child (id, n) SELECT id + 20, n FROM gone',
  'WITH told AS (SELECT max(n) AS n FROM parent) UPDATE parent SET n = told.n FROM told',
  "MERGE INTO coded AS c USING (VALUES ('a', 5), ('q', 6)) AS v (code, n) ON c.code = v.code WHEN MATCHED THEN UPDATE SET n = v.n WHEN NOT MATCHED THEN INSERT (code, n) VALUES (v.code, v.n)",
  'TRUNCATE node',
  "DO 'BEGIN DELETE FROM node; END'",
  'EXPLAIN ANALYZE DELETE FROM node',
  "UPDATE parent SET (n, tag) = (SELECT 9, 'z') WHERE a = 1",
  'UPDATE ONLY parent SET n = 0 WHERE EXISTS (SELECT FROM child WHERE child.a = parent.a)',
  'DELETE FROM node WHERE id NOT IN (SELECT up FROM node WHERE up IS NOT NULL)',
  'SELECT * FROM parent ORDER BY a FOR UPDATE',
  'SELECT count(*) FROM child',
  `SET LOCAL "DateStyle" = 'SQL, DMY'`,
  `SET LOCAL "TimeZone" = 'America/St_Johns'`,
  `SET LOCAL bytea_output = 'escape'`,
  'SET LOCAL extra_float_digits = -3',
  'SET LOCAL search_path = pg_catalog, public, atomesh',
  'INSERT INTO node (id, up, n) VALUES (8, 9, 1), (9, 8, 2)',
  'INSERT INTO node (id, up, n) SELECT 10 + i, 11 + i % 3, i FROM generate_series(1, 3) AS i ORDER BY i',
  'UPDATE tree SET id = id + 10, up = up + 10',
  'UPDATE swapped SET id = 4 - id, place = 4 - place',
];

/** What is refused for most of its tables has been tried soon. */
const COMMON = TABLES.filter(({ isAwkward }) => isAwkward !== true);

const statement: fc.Arbitrary<Sql> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .constantFrom(...TABLES, ...COMMON, ...COMMON)
      .chain((table) =>
        fc.oneof(
          { weight: 4, arbitrary: insert(table) },
          { weight: 1, arbitrary: copy(table) },
          { weight: 5, arbitrary: update(table) },
          { weight: 3, arbitrary: remove(table) },
        ),
      ),
  },
  { weight: 1, arbitrary: fc.constantFrom(...OTHERS).map((text): Sql => [text]) },
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('statement' as const),
      sql: statement,
      protocol: fc.constantFrom('simple' as const, 'extended' as const),
      isGuarded: fc.integer({ min: 0, max: 19 }).map((n) => n > 0),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('savepoint' as const),
      verb: fc.oneof(
        { weight: 4, arbitrary: fc.constant('SAVEPOINT' as const) },
        { weight: 1, arbitrary: fc.constantFrom('ROLLBACK TO' as const, 'RELEASE' as const) },
      ),
      name: fc.constantFrom('s', '"S 2"'),
    }),
  },
);

const local: fc.Arbitrary<Local> = fc.record({
  isBlock: fc.boolean(),
  end: fc.constantFrom('COMMIT' as const, 'COMMIT' as const, 'COMMIT' as const, 'ROLLBACK' as const),
  steps: fc.array(step, { minLength: 1, maxLength: 5 }),
});

const locals = fc.array(local, { minLength: 1, maxLength: 2 });

/** Batches of one to twenty statements, for `settings` kinds of sessions. */
export function batches(settings: number): fc.Arbitrary<Batch> {
  return fc.record({
    settings: fc.integer({ min: 0, max: settings - 1 }),
    sessions: fc.tuple(locals, fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: locals })),
    order: fc.array(fc.boolean(), { maxLength: 20 }),
    isTwoGids: fc.boolean(),
  });
}
