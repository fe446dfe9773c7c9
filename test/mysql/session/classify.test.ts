import test from 'ava';
import { judge } from '../../../proxy/mysql/session/classify.ts';
import { bareText } from '../../../proxy/mysql/session/naming/text.ts';
import type { TransactionState } from '../../../proxy/mysql/session/transaction.ts';

const IDLE: TransactionState = { block: 'idle', hasAutocommit: true };
const OPEN: TransactionState = { block: 'open', hasAutocommit: true };

function judged(text: string, state = OPEN, hasPlainBackslash = false): string {
  const verdict = judge(text, state, { hasPlainBackslash });
  return verdict.kind === 'pass' ? verdict.effect : 'refused';
}

const PASSES: Readonly<Record<string, readonly string[]>> = {
  begins: [
    'begin',
    'BEGIN WORK;',
    'start transaction',
    'START TRANSACTION READ ONLY',
    'start transaction with consistent snapshot, read write',
  ],
  ends: ['commit', 'COMMIT WORK', 'rollback', 'rollback /* now */', 'commit and no chain no release'],
  chains: ['commit and chain', 'ROLLBACK AND CHAIN'],
  inside: [
    '',
    ';',
    '-- nothing',
    'savepoint a',
    'rollback to savepoint a',
    'rollback to a',
    'release savepoint `a`',
    'select 1',
    '(select 1) union (select 2)',
    "select a, count(*), max(b) from t where c in (1, 2) and d = 'x; delete from t' group by a",
    'select * from t where a = 1 for update',
    'select * from t lock in share mode',
    'select * from t for share skip locked',
    'select a into @x from t',
    "select replace(a, 'x', 'y'), insert('abc', 1, 1, 'x') from t",
    'with recursive c as (select 1 union all select 2) select * from c',
    'values row(1, 2)',
    'table t',
    'show create table t',
    'explain update t set a = 1',
    'describe t',
    'use other',
    'set names utf8mb4',
    "set names 'utf8mb4' collate utf8mb4_bin",
    'set session transaction isolation level read committed',
    'set autocommit = 0',
    "set sql_mode = 'ANSI', @x = 5, session time_zone = '+00:00'",
    'select last_insert_id(), row_count(), found_rows()',
    'select "insert into t", `update` from t',
    'select * from (select 1) as x',
    'select date_add(now(), interval 1 day)',
  ],
};

const REFUSED = [
  'insert into t values (1)',
  'update t set a = 1',
  'delete from t',
  'replace into t values (1)',
  'with c as (select 1) update t set a = 1',
  "select * from t into outfile '/tmp/x'",
  "select 1 into dumpfile '/tmp/x'",
  'select pay(1)',
  'select shop.pay(1)',
  'select count (1) from t',
  'select a from t where pay (a) = 1',
  'call pay()',
  'do sleep(1)',
  'load data local infile "x" into table t',
  'truncate t',
  'create table t (a int)',
  'alter table t add b int',
  'drop table t',
  'lock tables t write',
  'unlock tables',
  'set global max_connections = 1',
  'set persist max_connections = 1',
  'set @x = pay(1)',
  'set password = "x"',
  'set autocommit = 1',
  'set session autocommit = on',
  'select 1; delete from t',
  '/*! delete from t */',
  'select 1 /*!, pay(1) */',
  '/*M! delete from t */',
  "prepare s from 'delete from t'",
  'execute s',
  'xa start "x"',
  'handler t open',
  'analyze update t set a = 1',
  'explain analyze update t set a = 1',
  'analyze table t',
  'optimize table t',
  'flush tables',
  'grant all on *.* to x',
  'select nextval(s)',
  'begin; delete from t',
  'commit release',
];

for (const [effect, texts] of Object.entries(PASSES)) {
  for (const text of texts) test(`passes, and ${effect}: ${text}`, (t) => t.is(judged(text), effect));
}
for (const text of REFUSED) test(`is refused: ${text}`, (t) => t.is(judged(text), 'refused'));

test('SET autocommit commits nothing where nothing is open', (t) => t.is(judged('set autocommit = 1', IDLE), 'inside'));

test('a backslash escapes, unless the session says that it is a character', (t) => {
  const text = "select '\\'; delete from t -- '";
  t.is(judged(text), 'inside');
  t.is(judged(text, OPEN, true), 'refused');
});

test('comments become blanks, literals their quotes, and what the server runs stays', (t) => {
  const bare = (text: string, keepsLiterals = false): string =>
    bareText(text, { hasPlainBackslash: false, keepsLiterals });
  t.is(bare("a/* 'x' */b -- 'y'\nc # d\ne"), 'a b  \nc  \ne');
  t.is(bare("'it''s' \"x\" `y`"), "'''' \"\" ``");
  t.is(bare("'/* no */' -x --5", true), "'/* no */' -x --5");
  t.is(bare('/*!50000 run */ /*M! run */ /*+ hint */'), '/*!50000 run */ /*M! run */  ');
  t.is(bare("'open"), "''");
  t.is(bare('/* open'), ' ');
});
