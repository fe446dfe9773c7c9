/** The tables that generated statements change: some that are always there, and some whose columns, keys and indexes a seed decides. */
import fc from 'fast-check';
import { quoteName } from '../../../proxy/mysql/identifier.ts';
import { KINDS, type Input, type Kind } from './columns.ts';

export type Flavour = 'MariaDB' | 'MySQL';

export interface Column {
  /** As it is written in SQL. */
  readonly name: string;
  readonly inputs: readonly Input[];
  /** SQL expressions over the row that it may be given by UPDATE. */
  readonly expressions: readonly string[];
  /** The server computes it: it is never given anything but DEFAULT. */
  readonly isGenerated: boolean;
}

export interface Table {
  /** As it is written in SQL, with its database as `@0@` or `@1@` (`inDatabases`). */
  readonly name: string;
  /** What stands between the parentheses of CREATE TABLE. */
  readonly definition: string;
  /** Rows as lists of values in SQL, for all columns that are not generated. */
  readonly seed: readonly (readonly string[])[];
  readonly columns: readonly Column[];
  /** The columns that tell its rows apart. */
  readonly key: readonly string[];
  /** Its rows are numbered by the server where nothing is given. */
  readonly isNumbered: boolean;
  /** Most changes of it are refused; it is generated less often. */
  readonly isAwkward: boolean;
  /** SQL that belongs to it and comes behind. */
  readonly afterwards?: string;
}

/** A text with the names of the two databases in it. */
export function inDatabases(text: string, names: readonly [string, string]): string {
  return text.replaceAll('@0@', quoteName(names[0])).replaceAll('@1@', quoteName(names[1]));
}

export const writable = ({ columns }: Table): readonly Column[] => columns.filter(({ isGenerated }) => !isGenerated);

const ints = (...values: readonly number[]): readonly Input[] => values.map((value) => ({ value }));
const texts = (...values: readonly string[]): readonly Input[] => values.map((value) => ({ value }));
const column = (name: string, inputs: readonly Input[], ...expressions: readonly string[]): Column => ({
  name,
  inputs,
  expressions: expressions.length === 0 ? [name] : expressions,
  isGenerated: false,
});
const made = (name: string): Column => ({ name, inputs: [], expressions: ['DEFAULT'], isGenerated: true });

const small = ints(1, 2, 3, 4, 5, 6);
const number = column('n', ints(0, 1, -1, 100), 'n + 1', 'n * 2', '-n', 'DEFAULT');

type Fixed = Omit<Table, 'isNumbered' | 'isAwkward' | 'seed'> &
  Partial<Pick<Table, 'isNumbered' | 'isAwkward'>> & {
    /** Lists of values, one a row. */
    readonly rows: readonly string[];
  };

const FIXED: readonly Fixed[] = [
  {
    name: '@0@.parent',
    definition: `a int, b varchar(9) character set utf8mb4 collate utf8mb4_general_ci, tag varchar(20) unique, n int default 0,
  primary key (a, b), check (n < 5000)`,
    rows: ["1, 'x', 't1', 1", "2, 'Y', 't2', 2", "3, '', null, 3"],
    columns: [
      column('a', small, 'a + 10'),
      column('b', texts('x', 'X', 'y', ''), "concat(b, 'z')", 'upper(b)'),
      column('tag', texts('t1', 'T1', 't2', 't3'), "concat(tag, '!')", 'upper(tag)'),
      number,
    ],
    key: ['a', 'b'],
  },
  {
    name: '@0@.child',
    definition: `id bigint primary key, a int, b varchar(9) character set utf8mb4 collate utf8mb4_general_ci, tag varchar(20), n int,
  foreign key (a, b) references parent (a, b), foreign key (tag) references parent (tag) on delete restrict`,
    rows: ["1, 1, 'X', 't1', 1", "2, 2, 'y', null, 2", "3, null, 'x', 't2', 3"],
    columns: [
      column('id', [...small, { value: '9223372036854775807' }], 'id + 3'),
      column('a', ints(1, 2, 3, 9), 'a + 1', 'null'),
      column('b', texts('x', 'X', 'y', 'none')),
      column('tag', texts('t1', 'T1', 't2', 't9'), 'null'),
      number,
    ],
    key: ['id'],
  },
  {
    name: '@0@.node',
    definition: 'id int primary key, up int, n int, foreign key (up) references node (id)',
    rows: ['1, null, 1', '2, 1, 2', '3, 3, 3', '4, 2, 4'],
    columns: [column('id', small, 'id + 10'), column('up', small, 'id', 'null'), number],
    key: ['id'],
  },
  {
    name: '@1@.top',
    definition: 'id int primary key, n int, place int unique',
    rows: ['1, 1, 1', '2, 2, null', '3, 3, 3'],
    columns: [column('id', small, 'id + 10'), number, column('place', small, '4 - place', 'place + 1')],
    key: ['id'],
  },
  {
    name: '@1@.sub',
    isNumbered: true,
    definition: `id bigint unsigned auto_increment primary key, top int, n int, foreign key (top) references top (id) on delete cascade on update cascade`,
    rows: ['1, 1, 1', '2, 2, 2', '9007199254740000, null, 3'],
    columns: [column('id', ints(1, 2, 3, 7)), column('top', small, 'top + 1', 'null'), number],
    key: ['id'],
  },
  {
    name: '@0@.loose',
    definition:
      'id int primary key, top int, n int, foreign key (top) references @1@.top (id) on delete set null on update set null',
    rows: ['1, 1, 1', '2, 3, 2'],
    columns: [column('id', small, 'id + 1'), column('top', small, 'id'), number],
    key: ['id'],
  },
  {
    name: '@0@.numbered',
    isNumbered: true,
    definition: `id int primary key auto_increment, email varchar(60) character set utf8mb4 unique, name varchar(40), n int not null default 1,
  seen timestamp not null default current_timestamp on update current_timestamp, doubled int as (n * 2) stored, plus int as (n + 1) virtual, unique key (doubled, id)`,
    rows: ["1, 'a@x', 'Ann', 30, '2020-01-01'", "2, 'b@x', null, 40, '2020-01-01'", "3, null, 'Cid', 50, '2020-01-01'"],
    columns: [
      column('id', small, 'id', 'last_insert_id(id)'),
      column('email', texts('a@x', 'A@X', 'b@x', 'n@x', 'o@x'), "concat(email, '!')", 'upper(email)'),
      column('name', texts('', "O'Neil", 'a\\b', '"q"'), 'DEFAULT', 'email'),
      number,
      column('seen', texts('2021-01-01', '2024-10-27 02:30:00'), 'seen'),
      made('doubled'),
      made('plus'),
    ],
    key: ['id'],
  },
  {
    name: '@0@.`odd name;--`',
    definition:
      '`key` int, `a,b` int default 7, `q``t` varchar(10) character set utf8mb4, `ü` date, n int, primary key (`q``t`, `key`), key (n)',
    rows: ["1, 1, 'a', '2024-01-01', 1", "1, null, 'b:1', null, 2"],
    columns: [
      column('`key`', small, '`key` + 1'),
      column('`a,b`', small, '`a,b` + `key`', 'DEFAULT'),
      column('`q``t`', texts('a', 'A', 'b:1', ''), "concat(`q``t`, '1')"),
      column('`ü`', texts('2024-01-01', '2024-02-30')),
      number,
    ],
    key: ['`q``t`', '`key`'],
  },
  {
    name: '@1@.uniq',
    definition:
      'v int, u varchar(20) character set utf8mb4 not null unique, w varchar(300) character set utf8mb4, n int, unique key w3 (w(3))',
    rows: ["1, 'one', 'abcd', 1", "2, 'two', null, 2", "3, 'two ', 'xyz', 3"],
    columns: [
      column('v', small),
      column('u', texts('one', 'ONE', 'two', 'three'), "concat(u, 'x')", 'upper(u)'),
      column('w', texts('abc', 'abz', 'q', 'XYZ1'), 'u', 'null'),
      number,
    ],
    key: ['u'],
  },
  {
    name: '@0@.padded',
    definition: `k binary(4), e enum('a', '', 'b') character set utf8mb4, u varchar(9) character set utf8mb4 unique, n int, primary key (k, e)`,
    rows: ["x'00', 'a', 'one', 1", "x'20202020', 'b', 'two', 2"],
    columns: [
      column('k', [{ sql: "x'00'" }, { sql: "x'20202020'" }, { value: 'a' }], 'k'),
      column('e', texts('a', '', 'none', 'b'), 'e'),
      column('u', texts('one', 'two', 'three'), 'null'),
      number,
    ],
    key: ['k', 'e'],
  },
  {
    name: '@0@.keyless',
    isAwkward: true,
    definition: 'v int, n int',
    rows: ['1, 1', '1, 1'],
    columns: [column('v', small, 'v + 1'), number],
    key: ['v'],
  },
  {
    name: '@0@.watched',
    isAwkward: true,
    definition: 'id int primary key, n int',
    rows: ['1, 1'],
    columns: [column('id', small), number],
    key: ['id'],
    afterwards: 'create trigger @0@.watches before update on @0@.watched for each row set new.n = new.n + 1',
  },
];

/** The names that generated columns have: some must be quoted. */
const NAMES = ['c', 'select', 'a b', 'Ä', 'x`y', 'Case'];
const TABLES = 6;
const ROWS = 4;

function literal(input: Input): string {
  if ('sql' in input) return input.sql;
  if (typeof input.value !== 'string') return String(input.value);
  return `'${input.value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

const literals = (items: readonly Column[]): fc.Arbitrary<readonly string[]> =>
  fc.tuple(
    ...items.map(({ inputs }) =>
      fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(...inputs).map(literal) },
        { weight: 1, arbitrary: fc.constant('null') },
      ),
    ),
  );

/** A table of one share of all kinds of columns, with a key, unique indexes and computed columns that chance decides. */
function generated(place: number, kinds: readonly Kind[], keys: readonly Kind[]): fc.Arbitrary<Table> {
  const columns = kinds.map((kind, index) => {
    const name = quoteName(`${NAMES[(place + index) % NAMES.length]}${index}`);
    return {
      kind,
      column: { name, inputs: kind.inputs, expressions: kind.expressions?.(name) ?? [name], isGenerated: false },
    };
  });
  const uniqueable = columns.filter(({ kind }) => kind.isKey === true && !kind.type.includes('not null'));
  return fc
    .record({
      key: fc.subarray([...keys], { minLength: 1, maxLength: 2 }),
      isPrimary: fc.integer({ min: 0, max: 3 }).map((n) => n > 0),
      unique: fc.subarray(uniqueable, {
        minLength: Math.min(1, uniqueable.length),
        maxLength: Math.min(2, uniqueable.length),
      }),
      isPair: fc.boolean(),
      computed: fc.constantFrom('stored', 'virtual'),
    })
    .chain(({ key, isPrimary, unique, isPair, computed }) => {
      const keyed = key.map((kind, index): Column => ({
        name: `k${index}`,
        inputs: kind.inputs,
        expressions: [`k${index}`],
        isGenerated: false,
      }));
      const parts = unique.map(({ kind, column: { name } }) =>
        /^(?:var)?char/.test(kind.type) && !isPair ? `${name}(3)` : name,
      );
      const uniques = isPair && parts.length > 1 ? [parts.join(', ')] : parts;
      const own = [...keyed, ...columns.map((each) => each.column), number];
      const definition = [
        ...key.map((kind, index) => `k${index} ${kind.type} not null`),
        ...columns.map(({ kind, column: { name } }) => `${name} ${kind.type}`),
        'n int',
        `made bigint as (n * 3) ${computed}`,
        `${isPrimary ? 'primary' : 'unique'} key (${keyed.map(({ name }) => name).join(', ')})`,
        ...uniques.map((list, index) => `unique key u${index} (${list})`),
      ].join(', ');
      return fc.array(literals(own), { minLength: ROWS, maxLength: ROWS }).map((seed): Table => ({
        name: `@${place % 2}@.t${place}`,
        definition,
        seed,
        columns: [...own, made('made')],
        key: keyed.map(({ name }) => name),
        isNumbered: false,
        isAwkward: false,
      }));
    });
}

/** The tables of a seed, those that are referred to first. Each kind of column is in one of them. */
export function tablesOf(seed: number, flavour: Flavour): readonly Table[] {
  const kinds = KINDS.filter(({ only }) => only === undefined || only === flavour);
  const keys = kinds
    .filter(({ isKey }) => isKey === true)
    .map((kind) => ({ ...kind, type: kind.type.replace(/ (?:null )?default.*$| null$/, '') }));
  const shuffled = fc.shuffledSubarray([...kinds], { minLength: kinds.length }).chain((order) =>
    fc.tuple(
      ...Array.from({ length: TABLES }, (_, place) =>
        fc.shuffledSubarray(keys, { minLength: 4, maxLength: 4 }).chain((some) =>
          generated(
            place,
            order.filter((__, index) => index % TABLES === place),
            some,
          ),
        ),
      ),
    ),
  );
  const [tables = []] = fc.sample(shuffled, { seed, numRuns: 1 });
  const fixed = FIXED.map(({ rows, ...table }): Table => ({
    isNumbered: false,
    isAwkward: false,
    ...table,
    seed: rows.map((row) => [row]),
  }));
  return [...fixed, ...tables];
}
