/** Tables that refer to each other, and what statements on them have to do with the rows that are referred to. */

export const REFERENCE_TABLES = `
create table parent (id int(5) primary key, code varchar(10) collate utf8mb4_general_ci not null, a int, b bigint unsigned, unique key code (code), unique key ab (a, b)) default charset utf8mb4;
insert into parent values (1, 'One', 1, 10), (2, 'two', 2, 20), (3, 'three', null, 30);
create table child (id int primary key auto_increment, p int, c varchar(40) collate utf8mb4_general_ci, x bigint unsigned, y int, v int,
  foreign key by_id (p) references parent (id), foreign key by_code (c) references parent (code) on update cascade, foreign key by_ab (y, x) references parent (a, b)) default charset utf8mb4 auto_increment = 100;
insert into child values (1, 1, 'ONE', 10, 1, 0), (2, 2, null, null, 2, 0), (3, null, null, null, null, 0);
create table node (id int primary key, up int, foreign key (up) references node (id));
insert into node values (1, null), (2, 1);
create table loose (id int primary key, n int, key (n));
insert into loose values (1, 7);
create table tied (id int primary key, n int, foreign key (n) references loose (n));
`;

interface Reference {
  readonly sql: string;
  readonly shared?: readonly string[];
  readonly claims?: readonly string[];
  readonly freed?: readonly string[];
}

const byId = (key: string): string => `\`shop\`.\`parent\` ${key}`;
/** In the weights of the collation, which are those of capital letters. */
const byCode = (code: string): string =>
  `\`shop\`.\`parent\`.\`code\` ${Buffer.from(code).toString('hex').toUpperCase().replaceAll(/../g, '00$&')}`;
const byPair = (key: string): string => `\`shop\`.\`parent\`.\`ab\` ${key}`;
const node = (key: string): string => `\`shop\`.\`node\` ${key}`;

/** Each is run on the tables as they were at the start. */
export const REFERENCES: readonly Reference[] = [
  { sql: 'insert into child (p, v) values (1, 0)', shared: [byId('1')] },
  {
    sql: "insert into child (id, p, c, x, y) values (9, 2, 'TWO ', 20, 2)",
    shared: [byId('2'), byCode('TWO'), byPair('2,20')],
  },
  { sql: 'insert into child (v) values (5), (6)' },
  { sql: 'update child set v = 1', shared: [] },
  { sql: 'update child set p = 2 where id = 1', shared: [byId('2')], claims: [byId('1')] },
  { sql: 'update child set p = p, v = v + 1' },
  {
    sql: 'update child set p = null, x = 20, y = 2 where id in (1, 2)',
    claims: [byId('1'), byPair('1,10'), byId('2')],
    shared: [byPair('2,20')],
  },
  { sql: "update child set c = 'one' where id = 1" },
  { sql: 'delete from child', claims: [byId('1'), byCode('ONE'), byPair('1,10'), byId('2')] },
  { sql: 'delete from parent where id = 3', freed: [byId('3'), byCode('THREE')] },
  { sql: 'update parent set a = 5 where id = 3', freed: [] },
  { sql: 'update parent set b = 21 where id = 2', freed: [byPair('2,20')] },
  { sql: 'replace into child (id, p) values (2, 3)', shared: [byId('3')], claims: [byId('2')] },
  {
    sql: 'insert into child (id, p) values (2, 3), (4, 1) on duplicate key update p = values(p)',
    shared: [byId('3'), byId('1')],
    claims: [byId('2')],
  },
  { sql: 'insert into node values (3, 3)', shared: [node('3')] },
  { sql: 'delete from node where id = 2', claims: [node('1')], freed: [node('2')] },
  {
    sql: 'update child join parent on parent.id = child.p set child.p = 3, parent.b = parent.b where child.id = 2',
    shared: [byId('3')],
    claims: [byId('2')],
  },
];

export const UNTOLD: readonly (readonly [sql: string, because: RegExp])[] = [
  ['insert into tied values (1, 7)', /not unique/],
  ["update parent set code = 'x' where id = 3", /CASCADE/],
];

/** What one global transaction does, what another one does before the first is finished, and what takes that back. */
export const CONFLICTS: readonly { readonly first: string; readonly later: string; readonly undo: string }[] = [
  {
    first: "insert into parent values (50, 'fifty', 50, 50)",
    later: 'insert into child (id, p) values (50, 50)',
    undo: 'delete from child where id = 50',
  },
  {
    first: 'update parent set b = 31, a = 3 where id = 3',
    later: 'update child set x = 31, y = 3 where id = 3',
    undo: 'update child set x = null, y = null where id = 3',
  },
  {
    first: 'update child set x = null where id = 1',
    later: 'update parent set b = 99 where id = 1',
    undo: 'update parent set b = 10 where id = 1',
  },
  {
    first: 'delete from node where id = 2',
    later: 'delete from node where id = 1',
    undo: 'insert into node values (1, null)',
  },
];

/** Types of a key and of the column that refers to it, and values: one for both, or two that are equal. */
export const TYPES: readonly (readonly [
  parent: string,
  child: string,
  values: readonly (string | readonly [parent: string, child: string])[],
])[] = [
  ['int', 'int', ['1', '-5', '2147483647']],
  ['int(5) zerofill', 'int(9) unsigned', ['1', '42']],
  ['int(5) zerofill', 'int(9) zerofill', ['1', '42']],
  ['bigint unsigned', 'bigint(3) unsigned', ['1', '18446744073709551615']],
  ['decimal(10,2)', 'decimal(10,2)', ['1', '-1.5', '0.00']],
  ['decimal(10,2)', 'decimal(12,3)', ['1', '-1.5']],
  ['double', 'double', ['0', '0.1', '1e300']],
  ['year', 'year', ['2024']],
  ['date', 'date', ["'2024-02-29'"]],
  ['datetime(3)', 'datetime(3)', ["'2024-02-29 10:00:00.5'"]],
  ['datetime(3)', 'datetime(6)', ["'2024-02-29 10:00:00.5'"]],
  ['timestamp(2) null', 'timestamp null', ["'2024-02-29 10:00:00'"]],
  ['time', 'time', ["'-10:00:00'"]],
  ["enum('a','b')", "enum('a','b','c')", ["'a'", "'b'"]],
  ["set('a','b')", "set('a','b')", ["'a,b'", "''"]],
  ['bit(9)', 'bit(9)', ['1', '300']],
  [
    'varchar(10)',
    'varchar(50)',
    [
      ["'a'", "'A '"],
      ["''", "'   '"],
      ["'ö'", "'O'"],
    ],
  ],
  ['varchar(10)', 'char(20)', [["'a '", "'A'"], "'b '"]],
  ['char(10) collate utf8mb4_bin', 'varchar(20) collate utf8mb4_bin', ["'a'", "'B'"]],
  ['varchar(10) collate utf8mb4_bin', 'varchar(10) collate utf8mb4_general_ci', ["'a'"]],
  ['varchar(10) character set latin1', 'varchar(20) character set latin1', [["'a'", "'A'"], "'ÄÖ '"]],
  ['varbinary(10)', 'varbinary(20)', ["'a'", "X'00ff'"]],
  ['binary(4)', 'binary(4)', ["'a'", "X'00ff'"]],
  ['binary(4)', 'varbinary(8)', ["'a'"]],
];
