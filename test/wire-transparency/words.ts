/** The texts of these tests: what a client without a global transaction may say, and what one inside may. */
import { query } from '../sql-passthrough/support/messages.ts';
import type { Vocabulary } from './talks.ts';

const READS = [
  'select id, name, price from item where id < 4 order by id',
  'select 1 as one, null, true',
  'values (1), (2), (3)',
  'table log',
  "select repeat('z', 70000)",
  'select count(*) from log',
  'show timezone',
  'select 1/0',
  'select nope',
  '',
  ';',
  '-- nothing',
  'explain (costs off) select * from log',
  'copy item to stdout',
  'copy (select line from log order by id) to stdout (format binary)',
  'select id from item order by id for update',
];

const CHANGES = [
  "insert into log (line) values ('a') returning id, line",
  "insert into log (line) values ('b'), ('c')",
  'update item set price = price + 1 where id = 2',
  'update item set price = -price where id < 4 returning id, price, name as "the Name"',
  'update item set price = 1/0',
  'delete from log',
  'delete from item where id > 10 returning *',
  "insert into item values (1, 'again', 0)",
  'insert into item select n, n::text from generate_series(50, 52) n',
];

const CONTROL = [
  'begin',
  'begin',
  'begin isolation level repeatable read',
  'commit',
  'commit',
  'end',
  'rollback',
  'abort',
  'start transaction read only',
  'set constraints all immediate',
];

/** Its constraint is deferred. Alone in a pipeline, a captured statement is answered when its local transaction has ended: with the error only. */
const DEFERRED = "insert into item values (100, 'item 1', 0)";

const ONLY_IN_BLOCKS = [
  'savepoint a',
  'savepoint b',
  'rollback to a',
  'rollback to b',
  'release a',
  'declare c cursor for select id from item order by id',
  'commit and chain',
  'rollback and chain',
];

const CURSORS = ['fetch 2 from c', 'fetch backward 1 from c', 'move 1 in c', 'close c', 'close all'];

const SETTINGS = [
  "set application_name = 'a'",
  "set local timezone = 'Asia/Tokyo'",
  "set timezone = 'Europe/Paris'",
  "set datestyle = 'german'",
  'reset timezone',
];

/** Nothing here may run in a session that has a gid, or would end that. */
const ONLY_OUTSIDE = [
  'selec',
  "select 'open",
  "select shout('x')",
  'select 1; select 2, 3',
  'begin; select 1',
  "insert into log (line) values ('kept?'); select 1/0; select 3",
  "insert into log (line) values ('i'); commit; select 1",
  'commit; select 3',
  ';;select 1;',
  'set standard_conforming_strings = off',
  'reset all',
  'discard all',
  'discard plans',
  'deallocate all',
  'deallocate s',
  'prepare s as select 5',
  'execute s',
  'prepare t(int) as select $1',
  'execute t(1)',
  'listen here',
  'notify here',
  "notify here, 'again'",
  'unlisten *',
  'call twice()',
  "do $$ begin raise warning 'w'; end $$",
  'lock table item in share mode',
  'declare h cursor with hold for select id from item order by id',
  'fetch 1 from h',
  'create temp table tmp (a int)',
  'drop table tmp',
  'truncate log',
  'set client_encoding = latin1',
  'set client_encoding = utf8',
  'set transaction isolation level serializable',
  'set session authorization default',
];

/**
 * Words that a gid can come with. Not for prepared statements: in the middle of a pipeline, one whose name was prepared twice is taken
 * for one that names a gid when either text has such a word.
 */
const CLUES = [
  "select 'atomesh', 'traceparent' /* atomesh */",
  "/* traceparent='00-11111111111111111111111111111111-2222222222222222-01' */ select 1",
  "set application_name = '00-11111111111111111111111111111111-2222222222222222-01'",
];

const PARAMETER_TEXTS = [
  ['select $1::int + 1', '41'],
  ['select $1::text, $2::int', 'word', '2'],
  ['select name from item where id = $1', '3'],
  ['update item set price = $1 where id = 3 returning id, price', '7.5'],
  ['update item set price = price + 1 where id = $1', '4'],
  ['insert into log (line) values ($1)', 'x'],
] as const;

/** A client that belongs to nobody's global transaction, and knows no rules. */
export const OUTSIDE: Vocabulary = {
  opening: [],
  texts: [
    ...READS,
    ...CHANGES,
    ...CONTROL,
    ...CONTROL,
    ...CURSORS,
    ...SETTINGS,
    ...ONLY_OUTSIDE,
    ...ONLY_IN_BLOCKS,
    DEFERRED,
  ],
  placedTexts: CLUES,
  parameterTexts: PARAMETER_TEXTS,
  isOrderly: false,
};

/**
 * The same, looked at because it shall wait for row locks: in pipelines, a Query has its Sync in front of it. A pipeline with a statement
 * that may wait is a block of the sidecar's, so what belongs into blocks is said in the client's own.
 */
export const WAITING: Vocabulary = {
  ...OUTSIDE,
  texts: OUTSIDE.texts.filter((text) => !ONLY_IN_BLOCKS.includes(text)),
  placedTexts: [...CLUES, ...ONLY_IN_BLOCKS],
  isOrderly: true,
};

/** The gid of all sessions inside one: their row locks are no obstacle to each other. */
const GID = 'wire-transparency';

/** A client that has named a gid for its session. */
export const INSIDE: Vocabulary = {
  opening: [query(`set atomesh.gid = '${GID}'`)],
  texts: [...READS, ...CHANGES, ...CHANGES, ...CONTROL, ...CURSORS, ...SETTINGS],
  placedTexts: [...READS, ...CHANGES, ...CHANGES, ...CURSORS, ...ONLY_IN_BLOCKS, ...ONLY_IN_BLOCKS, DEFERRED],
  parameterTexts: PARAMETER_TEXTS,
  isOrderly: true,
};
