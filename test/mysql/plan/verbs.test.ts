import test from 'ava';
import { parse } from '../../../proxy/mysql/parse.ts';
import { plan } from '../../../proxy/mysql/plan.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';

/** What is done with a statement of which nothing is known but its text: the kind of the plan, or what is refused. */
function planned(sql: string): string {
  const parsed = parse(sql, { charset: 'utf8', noBackslashEscapes: false, ansiQuotes: false });
  if (parsed.kind === 'unreadable') return parsed.message;
  return parsed.statements
    .map((statement) => {
      const found = plan(statement, { database: 'shop', facts: () => undefined, parameters: [] });
      if (found.kind === 'control') return [found.verb, ...(found.name === undefined ? [] : [found.name])].join(' ');
      if (found.kind === 'refuse') return `${found.escalates ? 'escalates' : 'refuse'}: ${found.refusal.message}`;
      return found.kind === 'facts-needed'
        ? `facts: ${found.tables.map(({ database, table }) => `${database}.${table}`).join()}`
        : found.kind;
    })
    .join('; ');
}

const EXPECTED: readonly (readonly [sql: string, expected: string | RegExp])[] = [
  ['', ''],
  ['select 1; ; select 2;', 'pass; pass'],
  ['select * from t where name = "for update"', 'pass'],
  ['SELECT * FROM t WHERE id = 1 FOR UPDATE', 'facts: shop.t'],
  ['select * from t lock in share mode', 'facts: shop.t'],
  ['(select 1 from t for share)', /^escalates: a locking read that is not one plain SELECT/],
  [
    'select lower(name), count(*), if(a, b, c), cast(a as char(10)) from t where a in (1) and (b, c) in ((1, 2))',
    'pass',
  ],
  ['select harm(1)', /^escalates: a call of harm\(\)/],
  ['select harm (1)', /^escalates: a call of harm\(\)/],
  ['select shop.lower(1)', /^escalates: a call of lower\(\)/],
  ['select `lower`(1)', /^escalates: a call of lower\(\)/],
  ['select * from t where exists (select harm(a) from u)', /^escalates/],
  ['set @a = harm()', /^escalates/],
  ['do sleep(0)', 'pass'],
  ['do harm()', /^escalates/],
  ["select 1 into outfile '/tmp/x'", /^refuse: SELECT … INTO OUTFILE/],
  ['select 1 into @a', 'pass'],
  ['with a as (select 1) select * from a', 'pass'],
  ['with a as (select 1) update t set a = 1', /^escalates: WITH/],
  ['with a as (select 1) delete from t', /^escalates: WITH/],
  ['begin', 'begin'],
  ['BEGIN WORK', 'begin'],
  ['begin not atomic update t set a = 1; end', /^refuse: a compound statement/],
  ['start transaction read only', 'begin'],
  ['commit', 'commit'],
  ['COMMIT WORK AND CHAIN', 'commit-and-chain'],
  ['commit and no chain no release', 'commit'],
  ['commit release', /^refuse: COMMIT or ROLLBACK with RELEASE/],
  ['rollback', 'rollback'],
  ['rollback and chain', 'rollback-and-chain'],
  ['savepoint a', 'savepoint a'],
  ['rollback to a', 'rollback-to a'],
  ['rollback work to savepoint `a b`', 'rollback-to `a b`'],
  ['release savepoint a', 'release a'],
  ['set autocommit = 0', /^refuse: SET autocommit/],
  ['SET @@session.autocommit=1', /^refuse: SET autocommit/],
  ['set names utf8mb4, @@AUTOCOMMIT = 1', /^refuse: SET autocommit/],
  ['set @autocommit = 1', 'pass'],
  ['set session transaction isolation level read committed', 'pass'],
  ['set global max_connections = 1', /^refuse: SET GLOBAL/],
  ['set @@global.max_connections = 1', /^refuse: SET GLOBAL/],
  ['set password = "x"', /^refuse: SET PASSWORD/],
  ['set role a', /^refuse: SET ROLE/],
  ['set statement max_statement_time = 1 for update t set a = 1', /^escalates: SET STATEMENT/],
  ['use other', 'pass'],
  ['show tables', 'pass'],
  ['explain update t set a = 1', 'pass'],
  ['explain analyze select 1', 'pass'],
  ['analyze update t set a = 1', /^escalates: ANALYZE of a change/],
  ['analyze table t', /^refuse: ANALYZE TABLE/],
  ['create table t (a int)', /^refuse: CREATE, which commits/],
  ['create temporary table t (a int)', /^refuse: CREATE TEMPORARY TABLE/],
  ['truncate t', /^refuse: TRUNCATE/],
  ['lock tables t write', /^refuse: LOCK/],
  ['xa start "a"', /^refuse: XA/],
  ['call p()', /^escalates: CALL/],
  ["load data infile 'x' into table t", /^escalates: LOAD DATA/],
  ["load data concurrent local infile 'x' into table t", /^refuse: LOAD DATA LOCAL/],
  ['kill 7', /^refuse: KILL, which no rollback/],
  ['execute s', /^escalates: EXECUTE/],
  ['frobnicate t', /^refuse: a statement that begins with FROBNICATE/],
  ['update t set a = 1', 'facts: shop.t'],
  ['update d.t join `U v` on t.id = `U v`.id set a = 1', 'facts: d.t,shop.U v'],
  ['update t join d.t on true set t.a = 1', /^escalates: UPDATE of two tables that are called t/],
  ['delete a from t as a join t as b on a.id < b.id', 'facts: shop.t,shop.t'],
  ['insert into T values (1)', 'facts: shop.T'],
  ['update t set a = 1 returning a', /^escalates: UPDATE that/],
  ['delete from t where a = 1 returning a', 'facts: shop.t'],
  ['insert into t values (1) returning a', 'facts: shop.t'],
  ['update t set a = 1 order by 1 limit 1', /^escalates: UPDATE that/],
  ['update t set a = 1 where b = (1', /^escalates: UPDATE that/],
  ['update t set a = 1, where b = 1', /^escalates: UPDATE that/],
  ['update t set a = 1 where select', /^escalates: UPDATE that/],
  ['update t set `where` = 1, t.limit = 2 where t.`order` = 3', 'facts: shop.t'],
];

test.before(() => loadGrammar());

for (const [sql, expected] of EXPECTED) {
  test(`${JSON.stringify(sql)} is planned as ${String(expected)}`, (t) => {
    if (typeof expected === 'string') t.is(planned(sql), expected);
    else t.regex(planned(sql), expected);
  });
}
