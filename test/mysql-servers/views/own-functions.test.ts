/** What views are made of as servers write it: a view that calls none but the server's own functions is never taken for another. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { createViewFacts } from '../../../proxy/mysql/facts/view-facts.ts';
import { SERVERS, openWorld, silent, type World } from '../second-phase/world.ts';

const TABLES =
  'create table t (id int primary key, v int, s varchar(20), j json, d datetime, g geometry, fulltext key (s));';

/** Servers write some of these in words of their own. A server makes those that it knows. */
const EXPRESSIONS = `
cast(s as char(3))|cast(v as decimal(5,2))|cast(v as double)|cast(d as datetime(3))|cast(s as json)|char(65, 66 using utf8mb4)|convert(s using latin1)|
convert(s, char(3) character set latin1)|count(distinct v, s)|d + interval v month|date_sub(d, interval '1:1' minute_second)|extract(day_hour from d)|
group_concat(distinct s order by v desc separator ';')|j->>'$.a'|json_unquote(json_extract(j, '$.a'))|max(distinct v)|position('a' in s)|
substring(s from 1 for 1)|trim(both 'x' from s)|trim(leading 'x' from s)|weight_string(s as binary(3))|row_number() over (partition by v order by id)|
lag(v, 1) over (order by v)|nth_value(v, 2) over (order by v)|sum(v) over (order by v rows between 1 preceding and current row)|count(*) over ()|
median(v) over (partition by s)|percentile_cont(0.5) within group (order by v) over (partition by s)|match(s) against('x')|match(s) against('x' in boolean mode)|
v between 1 and 2|s like 'a%' escape '!'|s rlike 'a'|v in (1, 2)|v not in (select id from t)|v is true|not v|v div 2|v mod 2|binary s|s sounds like 'a'|
case when v then 1 else 2 end|exists (select 1 from t)|(v, s) = (1, 'a')|v = any (select 1)|v > all (select 1)|v xor 1|_latin1'x'|x'41'|date'2020-01-01'|
default(v)|current_time(2)|utc_date|column_get(column_create('a', v), 'a' as int)|next value for sq|truncate(v, 1)|format(v, 2, 'de_DE')|
get_format(date, 'EUR')|timestampdiff(month, d, d)|timestampadd(week, 1, d)|st_srid(g)|srid(g)|st_astext(point(1, v))|mbrwithin(g, g)|
polygon(linestring(point(0, 0), point(1, 1), point(1, 0), point(0, 0)))|json_objectagg(s, v)|json_array(v, json_object('a', s))|bit_or(v)|any_value(v)|
json_value(j, '$.a')|regexp_replace(s, 'a', 'b')|insert(s, 1, 1, 'x')|replace(s, 'a', 'b')|left(s, 1)|if(v, 1, 2)|interval(v, 1, 2)|values(v)|year(d)|
user()|uuid_to_bin(uuid())|icu_version()|rand(3)|elt(v, s, s)|make_set(1, s, s)|sysdate(3)|now(6)|nvl(v, 1)|chr(65)|'it''s \\\\ \`f\`('`
  .split('|')
  .map((expression) => `select ${expression.trim()} as x from t`);

const QUERIES = [
  "select * from json_table('[1]', '$[*]' columns (n for ordinality, a int path '$' default '1' on empty, nested path '$.b' columns (c int path '$'))) as jt",
  "select t.id from t join json_table(t.j, '$' columns (a int path '$')) as jt",
  'select v, count(*) from t group by v with rollup',
  'select s from t use index (primary) where id > 1 order by v limit 2, 3',
  'select id from t union all (select id from t limit 1)',
  'select id from t intersect select id from t except select id from t',
  'with recursive c (n) as (select 1 union all select n + 1 from c where n < 3), e (m) as (select n from c) select m from e',
  'select sum(v) over w as x from t window w as (partition by id order by v)',
  'select id from t where (id, v) in (select id, max(v) from t group by id having count(*) > 1)',
  'select x.a, y.b from (select 1 as a) as x, lateral (select x.a + 1 as b) as y',
  'select * from (values (1, 2)) as x',
];

for (const [name, start] of SERVERS) {
  let world: World;
  test.before(`${name} is started`, async () => {
    world = await openWorld(start, TABLES + (name === 'MariaDB' ? 'create sequence sq;' : ''));
    await world.admin.query('set global log_bin_trust_function_creators = 1');
    await world.admin.query(
      'create function noted(a int) returns int modifies sql data begin update t set v = v + 1; return a; end',
    );
  });
  test.after.always(`${name} is stopped`, async () => {
    await world?.[Symbol.asyncDispose]();
  });

  /** Why reading the views may change rows. */
  const found = async (views: readonly string[]): Promise<readonly string[]> => {
    const names = views.map((table) => ({ database: 'shop', table }));
    const faults: string[] = [];
    const facts = createViewFacts(world.login, silent);
    for (const view of names) {
      let answer = facts.find([view]);
      while (answer === 'unknown') {
        await facts.learn(names);
        answer = facts.find([view]);
      }
      if (answer !== 'none') faults.push(`${view.table}: ${answer.why}`);
    }
    await facts.close();
    return faults;
  };

  test.serial(`${name}: the server's own functions are taken for what they are`, async (t) => {
    const made = new Map<string, string>();
    for (const query of [...EXPRESSIONS, ...QUERIES]) {
      const view = `own${made.size}`;
      const isMade = await world.admin.query(`create view ${view} as ${query}`).then(
        () => true,
        (error: mysql.QueryError) =>
          ![1064, 1305, 1054, 1142].includes(error.errno ?? 0) && t.log(query, error.message),
      );
      if (isMade === true) made.set(view, query);
    }
    t.true(made.size > 80, `${made.size} views were made`);
    t.deepEqual(await found([...made.keys()]), []);
  });

  test.serial(`${name}: a stored function is found wherever a view calls it`, async (t) => {
    const calls = [
      'select noted(v) as x from t',
      'select `noted`(v) as x from t',
      'select shop.noted(v) as x from t',
      'select abs(greatest(1, noted(v))) as x from t',
      'select id from t where noted(v) = 1',
      'select id from t join (select noted(v) as y from t) as d',
      'select t.id from t join t as u on u.id = noted(t.id)',
      'select id from t group by noted(v)',
      'select count(*) as n from t having noted(count(*)) > 1',
      'select id from t order by noted(v)',
      'select sum(noted(v)) over (partition by noted(id)) as x from t',
      'select case when v then noted(v) end as x from t',
      'with c as (select noted(v) as y from t) select 1 from c',
      'select 1 as a union select noted(v) from t',
      "select id from t where match (s) against ('x') > noted(v)",
      'select id from t where v in (1, noted(2))',
      'select interval(noted(v), 1) as x from t',
      'select d + interval noted(v) day as x from t',
      'select group_concat(s order by noted(v)) as x from t',
      'select cast(noted(v) as char) as x from t',
    ];
    for (const [index, query] of calls.entries()) await world.admin.query(`create view calls${index} as ${query}`);
    const views = calls.map((_, index) => `calls${index}`);
    t.deepEqual(
      await found(views),
      views.map((view) => `${view}: which calls noted()`),
    );
  });
}
