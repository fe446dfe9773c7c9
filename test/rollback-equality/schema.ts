/** The tables that generated statements change: every kind of column, key and constraint, and what is known of each for the grammar. */
import { TYPES, USER_TYPES } from '../types/values.ts';

export interface Column {
  /** As it is written in SQL. */
  readonly name: string;
  /** Input texts that it may be given; some of them break a constraint. */
  readonly inputs: readonly string[];
  /** SQL expressions over the row that it may be given by UPDATE. */
  readonly expressions?: readonly string[];
  /** The server makes the value: it is never given one but DEFAULT. */
  readonly isGenerated?: true;
}

export interface Table {
  /** As it is written in SQL. */
  readonly name: string;
  readonly definition: string;
  /** What stands in it at first, as an INSERT. */
  readonly seed: string;
  readonly columns: readonly Column[];
  /** The columns of its primary key. */
  readonly key: readonly string[];
  /** Conflict targets beside the primary key. */
  readonly targets?: readonly string[];
  /** Most changes of it are refused; it is generated less often. */
  readonly isAwkward?: true;
}

const inputsOf = (type: string): readonly string[] =>
  TYPES.filter((item) => item.type === type && item.since === undefined).flatMap(({ inputs }) => inputs);

const small: readonly string[] = ['1', '2', '3', '4', '5', '6'];

/** A table of one column for each type, beside a small key. */
function wide(name: string, types: readonly string[]): Table {
  const columns = types.map((type, index) => ({ name: `c${index}`, type, inputs: inputsOf(type) }));
  const row = (offset: number): string =>
    columns.map(({ inputs }) => `'${(inputs[offset % inputs.length] ?? '').replaceAll("'", "''")}'`).join(', ');
  return {
    name,
    definition: `id int4 PRIMARY KEY, ${columns.map((column) => `${column.name} ${column.type}`).join(', ')}`,
    seed: `VALUES (1, ${row(0)}), (2, ${row(1)}), (3, ${columns.map(() => 'NULL').join(', ')})`,
    columns: [{ name: 'id', inputs: small, expressions: ['id + 1', '7 - id', '-id'] }, ...columns],
    key: ['id'],
  };
}

const all = TYPES.filter(({ since }) => since === undefined).map(({ type }) => type);

const WIDE: readonly Table[] = Array.from({ length: 5 }, (_, part) =>
  wide(
    `wide_${part}`,
    all.filter((__, index) => index % 5 === part),
  ),
);

const numbers: Column = { name: 'n', inputs: ['0', '1', '-1', '100'], expressions: ['n + 1', 'n * 2', '-n'] };

/** The tables, those that are referred to first. */
export const TABLES: readonly Table[] = [
  ...WIDE,
  {
    name: 'coded',
    definition:
      'code varchar(9) PRIMARY KEY, cit citext UNIQUE, k numeric NOT NULL DEFAULT 1.50 CHECK (k < 1000), n int',
    seed: `VALUES ('a', 'Abc', 1.0, 1), ('b', NULL, 2.50, 2), ('a ', 'x', 3, 3)`,
    columns: [
      { name: 'code', inputs: ['a', 'a ', 'b', 'B', '', 'c:1', "'"], expressions: ["code || 'x'", 'upper(code)'] },
      { name: 'cit', inputs: ['abc', 'ABC', 'x', 'X', 'y'], expressions: ['upper(cit)::citext', 'code'] },
      { name: 'k', inputs: ['1', '1.0', '1.00', 'NaN', '999.9'], expressions: ['k + 0.5', 'k * 100'] },
      numbers,
    ],
    key: ['code'],
    targets: ['cit'],
  },
  {
    name: '"Mixed ""Case"',
    definition: `"Key A" int, "select" text, old jsonb, "new" int DEFAULT 7, excluded text, "Mixed ""Case" text, "ü;--" date, PRIMARY KEY ("select", "Key A")`,
    seed: `VALUES (1, 'a', '{"a": 1.0}', 1, 'e', 'm', '2024-01-01'), (1, 'b:1', NULL, NULL, NULL, NULL, 'infinity')`,
    columns: [
      { name: '"Key A"', inputs: small, expressions: ['"Key A" + 1'] },
      { name: '"select"', inputs: ['a', 'b:1', 'b', ''], expressions: [`"select" || '1'`] },
      { name: 'old', inputs: ['{"a": 1.0}', 'null'] },
      { name: '"new"', inputs: small, expressions: ['"new" + "Key A"'] },
      { name: 'excluded', inputs: ['x', ''], expressions: ['"select"'] },
      { name: '"Mixed ""Case"', inputs: ['m', 'M'] },
      { name: '"ü;--"', inputs: ['2024-01-01', '0001-01-01 BC'] },
    ],
    key: ['"select"', '"Key A"'],
  },
  {
    name: 'parent',
    definition: 'a int, b numeric, tag text UNIQUE, n int DEFAULT 0, PRIMARY KEY (a, b), CHECK (n < 5000)',
    seed: `VALUES (1, 1.0, 't1', 1), (2, 1.50, 't2', 2), (3, 'NaN', NULL, 3)`,
    columns: [
      { name: 'a', inputs: ['1', '2', '3', '4'], expressions: ['a + 10'] },
      { name: 'b', inputs: ['1', '1.0', '1.5', 'NaN'], expressions: ['b * 2'] },
      { name: 'tag', inputs: ['t1', 't2', 't3'], expressions: ["tag || '!'"] },
      numbers,
    ],
    key: ['a', 'b'],
    targets: ['tag'],
  },
  {
    name: 'child',
    definition: `id int8 PRIMARY KEY, a int, b numeric, tag text REFERENCES parent (tag) ON DELETE RESTRICT ON UPDATE RESTRICT, n int,
 FOREIGN KEY (a, b) REFERENCES parent DEFERRABLE`,
    seed: `VALUES (1, 1, 1.00, 't1', 1), (2, 2, 1.5, NULL, 2), (3, NULL, 7, 't2', 3)`,
    columns: [
      { name: 'id', inputs: [...small, '9223372036854775807'], expressions: ['id + 3', '9223372036854775807 - id'] },
      { name: 'a', inputs: ['1', '2', '3', '9'], expressions: ['a + 1'] },
      { name: 'b', inputs: ['1', '1.50', 'NaN'] },
      { name: 'tag', inputs: ['t1', 't2', 't3'] },
      numbers,
    ],
    key: ['id'],
  },
  {
    name: 'node',
    definition: 'id int PRIMARY KEY, up int REFERENCES node ON DELETE RESTRICT, n int',
    seed: 'VALUES (1, NULL, 1), (2, 1, 2), (3, 3, 3), (4, 2, 4)',
    columns: [
      { name: 'id', inputs: small, expressions: ['id + 10'] },
      { name: 'up', inputs: small, expressions: ['id', 'NULL'] },
      numbers,
    ],
    key: ['id'],
  },
  {
    name: 'tree',
    definition: 'id int PRIMARY KEY, up int REFERENCES tree',
    seed: 'VALUES (1, NULL), (2, 1), (3, 2), (4, 4)',
    columns: [
      { name: 'id', inputs: small, expressions: ['id + 10', 'id + 1'] },
      { name: 'up', inputs: small, expressions: ['up + 10', 'id + 10', 'id'] },
    ],
    key: ['id'],
  },
  {
    name: 'made',
    isAwkward: true,
    definition: `id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, tag text DEFAULT 'none',
 long int GENERATED ALWAYS AS (length(tag)) STORED UNIQUE`,
    seed: `(n, tag) VALUES (1, 'a'), (2, 'bb'), (NULL, NULL)`,
    columns: [
      { name: 'id', inputs: [], isGenerated: true },
      numbers,
      { name: 'twice', inputs: [], isGenerated: true },
      { name: 'tag', inputs: ['a', 'bb', 'ccc', 'dddd'], expressions: ["tag || 'e'", 'upper(tag)'] },
      { name: 'long', inputs: [], isGenerated: true },
    ],
    key: ['id'],
    targets: ['long'],
  },
  {
    name: 'numbered',
    definition: `id serial PRIMARY KEY, by_default int8 GENERATED BY DEFAULT AS IDENTITY, n int NOT NULL, tag text, gone int, later text DEFAULT 'fast'`,
    seed: `(n, tag) VALUES (1, 'A'), (2, 'b')`,
    columns: [
      { name: 'id', inputs: small, expressions: ['id + 1'] },
      { name: 'by_default', inputs: small, expressions: ['DEFAULT'] },
      numbers,
      { name: 'tag', inputs: ['A', 'a', 'b', 'c'], expressions: ['upper(tag)', "tag || 'x'"] },
      { name: 'later', inputs: ['', 'x'], expressions: ['DEFAULT'] },
    ],
    key: ['id'],
  },
  {
    name: 'folded',
    isAwkward: true,
    definition: 'id int PRIMARY KEY, n int, tag text',
    seed: `VALUES (1, 1, 'A'), (2, 0, 'b'), (3, 0, NULL)`,
    columns: [
      { name: 'id', inputs: small },
      numbers,
      { name: 'tag', inputs: ['A', 'a', 'b', 'c'], expressions: ['upper(tag)'] },
    ],
    key: ['id'],
    targets: ['lower(tag)', 'n) WHERE (n > 0'],
  },
  {
    name: 'swapped',
    isAwkward: true,
    definition: 'id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED, tag text',
    seed: `VALUES (1, 1, 'x'), (2, 2, 'x'), (3, 3, 'y')`,
    columns: [
      { name: 'id', inputs: small, expressions: ['4 - id', 'id + 1'] },
      { name: 'place', inputs: small, expressions: ['4 - place', 'place + 1', 'id'] },
      { name: 'tag', inputs: ['x', 'y'] },
    ],
    key: ['id'],
  },
  {
    name: 'slot',
    isAwkward: true,
    definition: 'during int4range NOT NULL, id uuid PRIMARY KEY, note json, EXCLUDE USING gist (during WITH &&)',
    seed: `VALUES ('[1,5)', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" :1}'), ('[5,6)', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', NULL)`,
    columns: [
      { name: 'during', inputs: ['[1,5)', '[5,6)', '[6,9)', 'empty'] },
      { name: 'id', inputs: [1, 2, 3, 4].map((digit) => `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1${digit}`) },
      { name: 'note', inputs: ['{"a" :1}', '1.0', '{"a":1,"a":2}'] },
    ],
    key: ['id'],
  },
  {
    name: 'measured',
    definition: 'at timestamptz, f float8, n int, PRIMARY KEY (at, f)',
    seed: `VALUES ('2024-10-27 02:30+02', 0, 1), ('infinity', 'NaN', 2), ('0044-03-15 BC', 0.1, 3)`,
    columns: [
      {
        name: 'at',
        inputs: ['2024-10-27 02:30+02', 'infinity', '0044-03-15 BC'],
        expressions: [`at + interval '1 day'`],
      },
      { name: 'f', inputs: ['0', '-0', 'NaN', '0.1', '5e-324'], expressions: ['-f', 'f * 3'] },
      numbers,
    ],
    key: ['at', 'f'],
  },
  {
    name: 'only_made',
    isAwkward: true,
    definition: 'id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED',
    seed: 'DEFAULT VALUES',
    columns: [
      { name: 'id', inputs: [], isGenerated: true },
      { name: 'twice', inputs: [], isGenerated: true },
    ],
    key: ['id'],
  },
];

const AFTERWARDS = `
CREATE INDEX numbered_tag ON numbered (lower(tag)); CREATE INDEX numbered_n ON numbered (n) WHERE n > 0;
CREATE UNIQUE INDEX folded_tag ON folded (lower(tag)); CREATE UNIQUE INDEX folded_n ON folded (n) WHERE n > 0;
ALTER TABLE numbered DROP COLUMN gone; ALTER TABLE numbered ADD COLUMN after text DEFAULT 'missing', ADD COLUMN pos "Pair Of" DEFAULT '(1,x,)';`;

const insertSeed = ({ name, seed }: Table): string => `INSERT INTO ${name} ${seed}`;

/** Creates the tables and fills them. */
export function schemaSql(major: number): string {
  const definitionOf = (table: Table): string =>
    major >= 18 && table.name === 'made'
      ? table.definition.replace('(n * 2) STORED', '(n * 2) VIRTUAL')
      : table.definition;
  return [
    USER_TYPES,
    'CREATE TABLE "Odd Table" ();',
    ...TABLES.map((table) => `CREATE TABLE ${table.name} (${definitionOf(table)});`),
    // A column that is added later costs rows that are already there nothing: the server keeps its default beside them.
    ...TABLES.filter(({ name }) => name === 'numbered').map((table) => `${insertSeed(table)};`),
    AFTERWARDS,
    RESET,
  ].join('\n');
}

const SEQUENCES: readonly (readonly [string, string])[] = [
  ['made', 'id'],
  ['numbered', 'id'],
  ['numbered', 'by_default'],
  ['only_made', 'id'],
];

/** Puts every row and every sequence back. TRUNCATE would cost ten times as much, and every plan that the server keeps. */
export const RESET: string = [
  ...TABLES.map(({ name }) => `DELETE FROM ${name}`).toReversed(),
  ...SEQUENCES.map(([table, column]) => `SELECT setval(pg_get_serial_sequence('${table}', '${column}'), 1, false)`),
  ...TABLES.map(insertSeed),
].join(';\n');
