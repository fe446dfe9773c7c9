import test from 'ava';
import { parse } from '../../../proxy/mysql/parse.ts';
import { namedTables } from '../../../proxy/mysql/text/named-tables.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';

test.before(loadGrammar);

/** The names that a statement may read, in the order in which they stand there. */
function names(text: string): string {
  const parsed = parse(Buffer.from(text).toString('latin1'), {
    charset: 'utf8',
    noBackslashEscapes: false,
    ansiQuotes: false,
  });
  const [one] = parsed.kind === 'parsed' ? parsed.statements : [];
  if (one === undefined) return 'unreadable';
  return namedTables(one.source, one.span)
    .map(({ database, table }) => (database === undefined ? table : `${database}.${table}`))
    .join(' ');
}

const CASES: readonly (readonly [text: string, names: string])[] = [
  ['select 1', ''],
  ['select v, t.v, f(v), (v) from t', 't'],
  ['select * from v', 'v'],
  ['(select * from v)', 'v'],
  ['select * from `v` as x, d.w y, `größe`', 'v d.w größe'],
  ['select * from /* a */ d . w', 'd.w'],
  ['select * from .w', 'w'],
  ['select * from t join v on v.id = t.id left join w using (id)', 't v w id'],
  ['select * from t join v on (v.id = t.id and t.x in (a, b)), w', 't v w'],
  ['select straight_join * from a straight_join b', 'a b'],
  ['select * from ((a, v) cross join (b natural join (w)))', 'a v b w'],
  ['select * from { oj a left outer join v on a.x = v.x }', 'a v'],
  ['select * from a use index for order by (i), v order by a.x, b.y', 'a v'],
  ['select * from a partition (p0), v group by x, y.z having q > 1, r limit 1, 2 for update', 'a v'],
  ['select * from a for system_time all, v', 'a v'],
  ['select (select max(x) from v where v.a = t.a) from t where exists (select 1 from w, x)', 'v t w x'],
  ['select x from t where a in (b, c) and d in (select e from v)', 't v'],
  ['select * from (select * from v where x = 1) as d, w', 'v w'],
  ['select * from t, lateral (select * from v) as l', 't lateral v'],
  ['select 1 from a union all select 2 from v union (select 3 from w)', 'a v w'],
  ['table v', 'v'],
  ['select * from t where x in (table v)', 't v'],
  ['values row(1, 2), row(3, (select max(x) from v))', 'v'],
  [
    "select extract(year from t.d), trim(leading 'x' from a.b), substring(c.d from 2), convert(x using utf8mb4) from t",
    'utf8mb4 t',
  ],
  ["select * from json_table(t.j, '$' columns (a int path '$.a')) as j, v", 'json_table v'],
  ['select replace(a.b, c.d, insert(e.f, 1, 2, g.h)) from v', 'v'],
  ['update v set a = 1, b.c = 2 where d in (select e from w)', 'v w'],
  ['update low_priority ignore a, v join w on a.x = w.x, y set a.z = 1, b.z = 2', 'a v w y'],
  ['delete from t where id in (select id from v)', 't v'],
  ['delete a, b from t as a join v as b', 't v'],
  ['delete from a using t as a, v', 'a t v'],
  ['insert into t (a, b.c) values (1, (select max(x) from v))', 't v'],
  ['insert ignore t select a, b.c from v on duplicate key update d = 1, e.f = values(g)', 't v'],
  ['replace delayed t set a = (select b from v)', 't v'],
  ['set @a = (select b from v), @c = 1', 'v'],
  ['do (select b from v)', 'v'],
  ['explain select * from v', 'v'],
  ['select x into @a, @b from v', 'v'],
  ['show columns from v', ''],
  ['show create view v', ''],
  ['show tables from d where (select 1 from v)', 'v'],
  ['describe v', ''],
  ['checksum table v', 'v'],
  ['begin', ''],
  ['savepoint v', ''],
];

test('what a statement may read is found wherever it stands', (t) => {
  for (const [text, expected] of CASES) t.is(names(text), expected, text);
});

test('a common table expression hides a table where it is meant, and nowhere else', (t) => {
  const cases: typeof CASES = [
    ['with v as (select 1) select * from v', ''],
    ['with v (a, b) as (select 1, 2), w as (select * from v) select * from w join v', ''],
    ['with v as (select * from v) select * from v', 'v'],
    ['with recursive v as (select 1 union all select * from v) select * from v', ''],
    ['with v as (select 1) select * from d.v', 'd.v'],
    ['with w as (select * from v), v as (select 1) select * from v, w', 'v'],
    ['select * from (with v as (select 1) select * from v) as x join v', 'v'],
    ['select * from v where a in (with v as (select 1) select * from v)', 'v'],
    ['with `V` as (select 1) select * from v', 'v'],
    ['insert into t with v as (select 1) select * from v on duplicate key update a = (select b from v)', 't v'],
    ['insert into t with v as (select 1) select * from v returning (select a from v)', 't v'],
    ['update t join v set a = 1 where x in (with v as (select 1) select * from v)', 't v'],
    ['select a, count(*) from v group by a with rollup', 'v'],
  ];
  for (const [text, expected] of cases) t.is(names(text), expected, text);
});
