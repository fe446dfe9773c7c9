/** Kinds of columns that generated tables have, and what statements write into them. */

/** Something that a column is given: SQL that goes as it is, or a value that goes as a literal or as a parameter. */
export type Input = { readonly sql: string } | { readonly value: string | number | null };

export interface Kind {
  readonly type: string;
  readonly inputs: readonly Input[];
  /** SQL over the row, by the column's quoted name. */
  readonly expressions?: (name: string) => readonly string[];
  /** May be part of a key. */
  readonly isKey?: true;
  /** The only server that has it. */
  readonly only?: 'MariaDB' | 'MySQL';
}

const values = (...given: readonly (string | number)[]): readonly Input[] => given.map((value) => ({ value }));
const constants = (...given: readonly string[]): readonly Input[] => given.map((sql) => ({ sql }));

const numeric = (name: string): readonly string[] => [`${name} + 1`, `-${name}`, `${name} * 2`, 'DEFAULT'];
const textual = (name: string): readonly string[] => [
  `concat(${name}, 'x')`,
  `upper(${name})`,
  'DEFAULT',
  `nullif(${name}, 'a')`,
];
const WORDS = values('a', 'A', 'b', 'ß', 'ss', 'a ', '', 'é', 'e', "it's", 'c:1,d');
const DATES = values('2024-02-29', '2024-10-27', '1000-01-01', '9999-12-31', '0000-00-00', '2024-00-10', 'none');

const word = (type: string): Kind => ({ type, inputs: WORDS, expressions: textual, isKey: true });

/** Every kind that `proxy/mysql/catalog.ts` knows. */
export const KINDS: readonly Kind[] = [
  { type: 'tinyint', inputs: values(0, 1, -1, 127, -128, 300, '7'), expressions: numeric, isKey: true },
  { type: 'smallint unsigned zerofill', inputs: values(0, 1, 65_535, 42), expressions: numeric, isKey: true },
  { type: 'mediumint', inputs: values(0, 8_388_607, -1), expressions: numeric },
  { type: 'int(10) unsigned', inputs: values(0, 1, 2, 4_294_967_295), expressions: numeric, isKey: true },
  {
    type: 'bigint',
    inputs: values('-9223372036854775808', '9223372036854775807', 3),
    expressions: numeric,
    isKey: true,
  },
  {
    type: 'bigint unsigned',
    inputs: values('18446744073709551615', '9007199254740993', '0', '18446744073709551614'),
    expressions: (name) => [`${name} - 1`, `18446744073709551615 - ${name}`, 'DEFAULT'],
    isKey: true,
  },
  {
    type: 'decimal(65,30)',
    inputs: values(
      '12345678901234567890123456789012345.123456789012345678901234567891',
      '-0.000000000000000000000000000001',
      '0',
      '1.50',
    ),
    expressions: (name) => [`${name} + 0.1`, `-${name}`],
    isKey: true,
  },
  {
    type: 'decimal(9,3) default 1.5',
    inputs: values('1.0', '1', '-0', '12.0005', 'x'),
    expressions: numeric,
    isKey: true,
  },
  { type: 'float', inputs: constants('0.1', '16777217', '3.4028234e38', '-0e0', '1e-45'), expressions: numeric },
  {
    type: 'double',
    inputs: constants('0.1e0', '-0e0', '5e-324', '1.7976931348623157e308', '9007199254740993'),
    expressions: numeric,
  },
  { type: 'bit(1)', inputs: constants("b'1'", "b'0'") },
  // Not in hexadecimal: in a list beside a number MariaDB finds rows by it that it does not find by an index.
  { type: 'bit(64)', inputs: constants('18446744073709551615', "b'101'", '0'), isKey: true },
  { type: 'year', inputs: values(0, 1901, 2155, 2024), isKey: true },
  { type: 'date', inputs: DATES, isKey: true },
  { type: 'time(6)', inputs: values('-838:59:59', '00:00:00.000001', '12:00'), isKey: true },
  {
    type: 'datetime(6)',
    inputs: values('2024-10-27 02:30:00.5', '0000-00-00 00:00:00', '9999-12-31 23:59:59.999999'),
    expressions: (name) => [`${name} + interval 1 day`, 'now(6)'],
    isKey: true,
  },
  {
    type: 'datetime null default current_timestamp on update current_timestamp',
    inputs: values('2020-01-01 00:00:00'),
  },
  {
    type: 'timestamp(6) null',
    inputs: values('2024-10-27 01:30:00.25', '2038-01-19 03:14:07', '1970-01-02 00:00:01'),
    isKey: true,
  },
  {
    type: 'timestamp(3) not null default current_timestamp(3) on update current_timestamp(3)',
    inputs: values('2020-01-01 00:00:00.125'),
  },
  word('char(9) character set latin1 collate latin1_german2_ci'),
  word('char(9) character set utf8mb4 collate utf8mb4_general_ci'),
  word('varchar(20) character set utf8mb4 collate utf8mb4_unicode_ci'),
  word('varchar(20) character set utf8mb4 collate utf8mb4_bin'),
  word('varchar(20) character set utf16 collate utf16_unicode_ci'),
  { ...word('varchar(20) character set utf8mb4 collate utf8mb4_nopad_bin'), only: 'MariaDB' },
  { ...word('varchar(20) character set utf8mb4 collate utf8mb4_0900_ai_ci'), only: 'MySQL' },
  {
    type: 'varchar(20) character set gbk',
    inputs: [...constants("_gbk x'B0A1'"), ...values('a', '')],
    expressions: textual,
  },
  { type: 'varchar(20) character set sjis', inputs: [...constants("_sjis x'835C'"), ...values('a', '\\')] },
  {
    type: 'longtext character set utf8mb4',
    inputs: [...values('😀,\'"\\', 'N', '\0'), ...constants("repeat('x', 9000)")],
    expressions: textual,
  },
  { type: 'tinytext character set latin1', inputs: WORDS },
  { type: 'binary(4)', inputs: constants("x'00'", "x'20202020'", "x'00FF275C'"), isKey: true },
  { type: 'varbinary(20)', inputs: constants("x'00FF275C'", "''", "x'20'"), isKey: true },
  { type: 'longblob', inputs: constants("x'2C'", "repeat(x'00', 9000)", "''") },
  {
    type: "enum('a','b,c','','it''s','ö') character set utf8mb4",
    inputs: values('a', 'b,c', 'ö', "it's", '', 'none', 3),
    isKey: true,
  },
  { type: "set('x','y','ä') character set utf8mb4", inputs: values('x', 'x,ä', '', 'y', 'none'), isKey: true },
  { type: 'json', inputs: values('{"b": [1, 2.5, null], "ä": "😀"}', 'null', '[]', '"x"', 'no json') },
  { type: 'point', inputs: constants('point(0.1, -1e300)', "st_geomfromtext('point(1 2)', 4326)") },
  { type: 'inet6', inputs: values('::1', 'fe80::1:2'), isKey: true, only: 'MariaDB' },
  {
    type: 'uuid',
    inputs: values('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000'),
    isKey: true,
    only: 'MariaDB',
  },
];
