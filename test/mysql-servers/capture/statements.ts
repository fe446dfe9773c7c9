/** Statements that are captured, and those that are refused, on tables of their own. */

type Value = string | number | null;

/** Two of everything: keys of all kinds, unique keys beside them, names that have to be quoted, and references. */
export const TABLES = `
create table person (id int primary key auto_increment, email varchar(60) unique, name varchar(40), age int not null default 1,
  seen timestamp not null default current_timestamp on update current_timestamp, doubled int as (age * 2) stored) default charset utf8mb4 auto_increment = 100;
insert into person (id, email, name, age, seen) values (1, 'a@x', 'Ann', 30, '2020-01-01'), (2, 'b@x', 'Bob', 40, '2020-01-01'), (3, 'c@x', 'Cid', 50, '2020-01-01'),
  (4, null, 'Dan', 60, '2020-01-01');
create table note (id bigint unsigned primary key auto_increment, person int, body text, index (person)) auto_increment = 100;
insert into note values (1, 1, 'one'), (2, 1, 'two'), (3, 2, 'three');
create table pair (a int, b varchar(10) collate utf8mb4_general_ci, v int, primary key (a, b)) default charset utf8mb4;
insert into pair values (1, 'x', 1), (1, 'Y', 2), (2, 'x', 3);
create table moment (at timestamp(3) not null primary key, v int);
insert into moment values ('2024-01-01 00:00:00.5', 1), ('2024-06-01 00:00:00', 2);
create table seat (n int primary key, who varchar(10)) ;
insert into seat values (1, 'a'), (2, 'b'), (3, 'c');
create table uniq (u varchar(20) not null unique, v int);
insert into uniq values ('one', 1), ('two', 2);
create table \`odd name\` (\`key\` int primary key, \`a,b\` int, \`q\`\`t\` varchar(10));
insert into \`odd name\` values (1, 2, 'z');
create table parent (id int primary key, v int);
insert into parent values (1, 1), (2, 2);
create table child (id int primary key, p int, foreign key (p) references parent (id) on delete cascade on update cascade);
insert into child values (1, 1);
create table watched (id int primary key, v int);
insert into watched values (1, 1);
create trigger watches before update on watched for each row set new.v = new.v + 1;
create table keyless (v int);
insert into keyless values (1);
create table isam (id int primary key, v int) engine = myisam;
insert into isam values (1, 1);
create table secret (id varchar(36) primary key, v int);
create view people as select * from person;
create function tick() returns int deterministic modifies sql data return 1;
`;

/** `rows`: how many rows the records have in all. Each is run on the tables as they were at the start. */
export const STATEMENTS: readonly {
  readonly sql: string;
  readonly values?: readonly Value[];
  readonly rows: number;
}[] = [
  { sql: 'UPDATE person SET age = age + 1 WHERE id = 1', rows: 1 },
  { sql: 'UPDATE person SET age = ?, name = ? WHERE id = ?', values: [31, "O'Neil", 1], rows: 1 },
  { sql: 'update `person` as `p` set `p`.`age` = 5 where `p`.`email` in (?, ?)', values: ['a@x', 'b@x'], rows: 2 },
  { sql: 'update person set age = 30 where id = 1', rows: 0 },
  { sql: 'update person set age = 1 where id = 99', rows: 0 },
  { sql: 'update person set age = age + 1', rows: 4 },
  { sql: 'update person set age = age + 1 order by age desc limit 2', rows: 2 },
  { sql: 'update person set age = age + ? where age > ? order by age limit ?', values: [1, 10, 2], rows: 2 },
  { sql: "update person set name = 'x' where name like 'A%' or name = 'Bob' -- or not", rows: 2 },
  { sql: "update person set name = 'it''s ; where \\' limit 1' where id = 1 /* why */", rows: 1 },
  { sql: 'update person set email = null where id in (1, 2)', rows: 2 },
  { sql: "update person set email = 'z@x' where id = 1", rows: 1 },
  { sql: 'update person set age = (select max(v) from pair) where id in (select person from note)', rows: 2 },
  { sql: 'update low_priority person set id = id, age = 2 where id = 2', rows: 1 },
  { sql: "update ignore person set email = 'b@x' where id in (1, 2)", rows: 0 },
  { sql: "update person set email = 'b@x' where id = 1", rows: 0 },
  { sql: "update person set age = 'none' where name = 0", rows: 0 },
  { sql: 'update shop.person set age = 7 where id = 1 limit 1', rows: 1 },
  { sql: "update pair set v = 9 where a = 1 and b = 'y'", rows: 1 },
  { sql: 'update pair set v = v + 1 where (a, b) in ((1, ?), (2, ?))', values: ['X', 'X'], rows: 2 },
  { sql: 'update moment set v = v + 1', rows: 2 },
  { sql: 'update seat set n = 6 - n - 2 * (n = 2) + 2 * (n = 2) where n = 9', rows: 0 },
  { sql: 'update seat set who = upper(who) where n between 2 and 3', rows: 2 },
  { sql: "update uniq set v = 5 where u = 'ONE'", rows: 1 },
  { sql: "update `odd name` set `a,b` = 3, `q``t` = '`' where `key` = 1", rows: 1 },
  {
    sql: 'update person p join note n on n.person = p.id set p.age = p.age + 1, n.body = concat(n.body, p.name) where n.id < 3',
    rows: 3,
  },
  {
    sql: 'update person p left join note n on n.person = p.id set p.age = 0, n.body = ? where p.id in (?, ?)',
    values: ['b', 2, 3],
    rows: 3,
  },
  { sql: 'update person, note set person.age = 9 where note.person = person.id', rows: 2 },
  {
    sql: 'update person join (select person, count(*) as c from note group by person) as d on d.person = person.id set age = d.c',
    rows: 2,
  },
  { sql: 'delete from person where id = 1', rows: 1 },
  { sql: 'DELETE FROM `note` WHERE `note`.`person` = ? ORDER BY `note`.`id` ASC LIMIT 1', values: [1], rows: 1 },
  { sql: 'delete from person', rows: 4 },
  { sql: 'delete from person where id in (select person from note)', rows: 2 },
  { sql: 'delete n from note n join person p on p.id = n.person where p.age > 30', rows: 1 },
  { sql: 'delete p, n from person p left join note n on n.person = p.id where p.id > 1', rows: 4 },
  {
    sql: 'delete from note using note inner join person on person.id = note.person where person.name = ?',
    values: ['Ann'],
    rows: 2,
  },
  { sql: 'delete from child where id = 1', rows: 1 },
  { sql: "insert into person (email, name) values ('n@x', 'New')", rows: 1 },
  {
    sql: 'insert into person (email, name) values (?, ?), (?, ?), (?, ?)',
    values: ['n@x', 'N', 'o@x', 'O', null, 'P'],
    rows: 3,
  },
  { sql: "insert into person (id, email) values (50, 'n@x')", rows: 1 },
  {
    sql: 'insert into person (id, email, age) values (?, ?, default), (?, ?, ?)',
    values: [50, 'n@x', 51, 'o@x', 3],
    rows: 2,
  },
  { sql: 'insert into person (id, email) values (null, ?)', values: ['n@x'], rows: 1 },
  { sql: "insert person set email = 'n@x', name = 'Set'", rows: 1 },
  { sql: "insert into person (email) values ('a@x')", rows: 0 },
  { sql: "insert into note values (default, 1, repeat('x', 10))", rows: 1 },
  { sql: 'insert into note () values ()', rows: 1 },
  { sql: "insert into pair values (3, 'z', 1), (3, 'w', 2)", rows: 2 },
  { sql: "insert into secret (id, v) values (lower('ABC'), 1)", rows: 1 },
  { sql: "insert into uniq (v, u) values (1, 'three')", rows: 1 },
  { sql: "insert into moment values ('2025-01-01', 1)", rows: 1 },
  { sql: 'insert into note (id, person) values (0, 5)', rows: 1 },
  { sql: 'insert into note (id, person) values (5e0, 5)', rows: 1 },
  {
    sql: "update moment set v = v + 1, at = at where at > timestamp'2024-01-02 00:00:00' and time(at) >= time'00:00:00'",
    rows: 1,
  },
  { sql: "update person set name = _utf8mb4'Zoe' where email = _binary'a@x' and seen > date'2019-01-01'", rows: 1 },
  { sql: 'insert into child values (2, 2)', rows: 1 },
  { sql: "insert into person (email, age) values ('a@x', 5) on duplicate key update age = values(age)", rows: 1 },
  { sql: "insert into person (email, age) values ('n@x', 5) on duplicate key update age = values(age)", rows: 1 },
  {
    sql: 'insert into person (id, email, age) values (?, ?, ?) on duplicate key update age = age + ?',
    values: [1, 'b@x', 5, 2],
    rows: 1,
  },
  { sql: "insert into pair values (1, 'X', 9), (1, 'y', 8) on duplicate key update v = v + 100", rows: 2 },
  { sql: "insert into pair values (1, 'x', 9) on duplicate key update v = 1", rows: 0 },
  {
    sql: 'insert into person (email) values (?) on duplicate key update id = last_insert_id(id), name = ?',
    values: ['c@x', 'Again'],
    rows: 1,
  },
  { sql: "insert ignore into person (id, email) values (1, 'n@x')", rows: 0 },
  { sql: "insert ignore into person (email, name) values ('a@x', 'A'), ('n@x', 'N')", rows: 1 },
  { sql: "replace into person (id, email, name) values (1, 'b@x', 'Two gone')", rows: 2 },
  { sql: "replace into person (email, name) values ('a@x', 'Other number')", rows: 2 },
  { sql: "replace into pair values (1, 'x', 5), (9, 'x', 5)", rows: 2 },
  { sql: "replace pair set a = 8, b = 'q'", rows: 1 },
];

export const REFUSED: readonly {
  readonly sql: string;
  readonly values?: readonly Value[];
  readonly because: RegExp;
}[] = [
  { sql: 'update keyless set v = 2', because: /no primary key/ },
  { sql: 'update watched set v = 2', because: /triggers \(watches\)/ },
  { sql: 'update isam set v = 2', because: /MyISAM/ },
  { sql: 'update people set age = 2', because: /view/ },
  { sql: 'update nowhere set age = 2', because: /no table/ },
  { sql: 'delete from parent where id = 1', because: /CASCADE/ },
  { sql: 'update parent set id = 9 where id = 1', because: /CASCADE/ },
  { sql: 'update seat set n = n + 10', because: /changing the key/ },
  { sql: 'update seat set n = n + 1 order by n desc', because: /changing the key/ },
  { sql: 'update person set age = tick()', because: /tick\(\)/ },
  { sql: 'update person set age = shop.tick()', because: /tick\(\)/ },
  { sql: 'update person set age = 1 where id = (@x := 1)', because: /sets a variable|with certainty/ },
  { sql: 'update person p join person q on q.id = p.id + 1 set p.age = 1, q.age = 2', because: /two names/ },
  {
    sql: 'insert into person (id, email) values (null, ?), (5, ?)',
    values: ['n', 'm'],
    because: /key cannot be known/,
  },
  { sql: 'insert into secret values (uuid(), 1)', because: /key cannot be known/ },
  { sql: 'insert into secret select 1, 2', because: /SELECT/ },
  { sql: 'insert ignore into secret select 1, 2', because: /SELECT/ },
  { sql: 'insert into person (id, name) values (0, 1), (null, 2)', because: /key cannot be known/ },
  { sql: 'insert into person (id, age) values (0, last_insert_id(1))', because: /key cannot be known/ },
  { sql: 'insert into person (id, age) values (0, 1) returning id', because: /key cannot be known/ },
  { sql: "insert into uniq values (concat('o', rand()), 1) on duplicate key update v = 3", because: /cannot be known/ },
  { sql: "insert into seat values (1, 'z') on duplicate key update n = 77", because: /changing the key/ },
  { sql: 'update person set age = 2 where id = 1 /*! or 1 */', because: /carry out/ },
  { sql: 'replace into parent values (1, 5)', because: /CASCADE/ },
];

/** What another client does, and commits, between the first reading and the change; `undo` takes that back. */
export const RACES: readonly {
  readonly sql: string;
  readonly meanwhile: string;
  readonly rows: number;
  readonly undo: string;
}[] = [
  {
    sql: "update seat set who = 'z' where n > 1",
    meanwhile: "insert into seat values (9, 'new')",
    rows: 2,
    undo: "delete from seat where n = 9 and who = 'new'",
  },
  {
    sql: 'delete from seat where n > 1',
    meanwhile: "insert into seat values (9, 'new')",
    rows: 2,
    undo: "delete from seat where n = 9 and who = 'new'",
  },
  {
    sql: "insert into person (email, age) values ('race@x', 2) on duplicate key update age = age + 1",
    meanwhile: "insert into person (id, email, age) values (77, 'race@x', 70)",
    rows: 1,
    undo: 'delete from person where id = 77',
  },
  {
    sql: "replace into uniq values ('race', 2)",
    meanwhile: "insert into uniq values ('race', 1)",
    rows: 1,
    undo: "delete from uniq where u = 'race'",
  },
  {
    sql: "insert ignore into uniq values ('race', 2), ('other', 3)",
    meanwhile: "insert into uniq values ('race', 1)",
    rows: 1,
    undo: "delete from uniq where u = 'race'",
  },
  {
    // Counted like a row that was inserted, where the client counts rows that were found.
    sql: "insert into uniq values ('race', 1) on duplicate key update v = 1",
    meanwhile: "insert into uniq values ('race', 1)",
    rows: 0,
    undo: "delete from uniq where u = 'race'",
  },
];

/** MariaDB alone knows these: the answer is rows. `rows`: how many the records have. */
export const RETURNING: readonly { readonly sql: string; readonly rows: number }[] = [
  {
    sql: "insert into person (email, name) values ('n@x', 'New'), ('o@x', 'Other') returning id, name, doubled",
    rows: 2,
  },
  { sql: "insert into person (id, email) values (50, 'n@x') returning *", rows: 1 },
  { sql: "insert into person set email = 'n@x' returning id + 1 as next", rows: 1 },
  { sql: 'insert into note (person, body) select id, name from person where id > 2 returning id', rows: 2 },
  {
    sql: 'insert into note (person) values (last_insert_id(2)), (last_insert_id(1)) returning id, last_insert_id(3)',
    rows: 2,
  },
  { sql: 'delete from person where id in (1, 2) returning id, email', rows: 2 },
  { sql: 'delete from person where id > 100 returning id', rows: 0 },
  { sql: 'delete from note order by id desc limit 1 returning (select max(v) from pair) as most, body', rows: 1 },
  { sql: 'delete from seat returning n', rows: 3 },
];
