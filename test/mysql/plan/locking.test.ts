import test from 'ava';
import type { TableFacts } from '../../../proxy/mysql/catalog.ts';
import { parse } from '../../../proxy/mysql/parse.ts';
import { plan, type Planned } from '../../../proxy/mysql/plan.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';
import { readFound, type Found } from '../../../proxy/mysql/undo/capture.ts';
import { heldAmong, locksOf, type LockingRead } from '../../../proxy/mysql/undo/locking-read.ts';
import { number, string, tableOf } from './tables.ts';

const TABLES: Readonly<Record<string, TableFacts>> = {
  t: tableOf('t', { columns: [number('id'), number('n'), string('name')] }),
  u: tableOf('u', { columns: [number('id'), number('t')] }),
  keyless: tableOf('keyless', { uniques: [] }),
  isam: tableOf('isam', { engine: 'MyISAM' }),
  v: tableOf('v', { kind: 'view' }),
  watched: tableOf('watched', { triggers: [{ name: 'w', event: 'UPDATE' }] }),
};

function planned(sql: string): Planned {
  const parsed = parse(sql, { charset: 'utf8', noBackslashEscapes: false, ansiQuotes: false });
  const [statement] = parsed.kind === 'parsed' ? parsed.statements : [];
  if (statement === undefined) throw new Error(`not one statement: ${sql}`);
  return plan(statement, { database: 'shop', facts: (_, table) => TABLES[table] ?? 'none', parameters: [] });
}

function lockingRead(sql: string): LockingRead {
  const found = planned(sql);
  if (found.kind !== 'locking-read') throw new Error(`${found.kind}: ${sql}`);
  return found;
}

/** What the plan reads ahead, without its columns: with blanks for any space. */
function ahead(sql: string): string {
  const { sql: text } = lockingRead(sql).before([]);
  return text
    .replaceAll(/\s+/g, ' ')
    .replace(/^SELECT .*? FROM (?=[a-z`])/, '')
    .trim();
}

test.before(() => loadGrammar());

/** The part behind FROM of the reading ahead. */
const AHEAD: readonly (readonly [sql: string, ahead: string])[] = [
  ['select * from t for update', 't for update'],
  ['SELECT n FROM t WHERE id = 1 or n = 2 FOR UPDATE', 't WHERE (id = 1 or n = 2 ) FOR UPDATE'],
  ['select * from t lock in share mode', 't lock in share mode'],
  ['select * from t where id = ? for share', 't WHERE (id = ? ) for share'],
  ['select * from t order by n desc limit 3 for update', 't order by n desc LIMIT 3 for update'],
  ['select * from t order by n limit 5, 10 for update', 't order by n LIMIT 15 for update'],
  ['select * from t order by n limit 10 offset 5 for update', 't order by n LIMIT 15 for update'],
  ['select * from t order by rand() limit 1 for update nowait', 't order by rand() LIMIT 1 for update nowait'],
  ['select n as x from t order by x for update', 't for update'],
  ['select t.n as n from t order by n limit 1 for update', 't order by n LIMIT 1 for update'],
  ['select a.id from t as a join u on u.t = a.id order by id for update', 't as a join u on u.t = a.id for update'],
  [
    'select a.id from t a left join u on u.t = a.id order by a.id limit 1 for update',
    't a left join u on u.t = a.id order by a.id LIMIT 1 for update',
  ],
  ['select count(*), sum(n) from t where n = 1 limit 1 for update', 't WHERE (n = 1 ) for update'],
  ['select (select max(n) from u) as m, id from t limit 1 for update', 't LIMIT 1 for update'],
  [
    'select * from t where id in (select t from u) for update skip locked',
    't WHERE (id in (select t from u) ) for update skip locked',
  ],
  ['select * from t, u for update of u', 't, u for update of u'],
  ['select * from t for update wait 5', 't for update wait 5'],
  [
    'select sql_no_cache * from t use index (primary) where id = 1 for update',
    't use index (primary) WHERE (id = 1 ) for update',
  ],
];

for (const [sql, expected] of AHEAD) {
  test(`${JSON.stringify(sql)} locks its rows ahead by its own clauses`, (t) => {
    t.is(ahead(sql), expected);
  });
}

/** What becomes of other locking readings: the kind, or why they are refused, which always escalates. */
const OTHERS: readonly (readonly [sql: string, expected: string | RegExp])[] = [
  ['select 1 for update', 'pass'],
  ['select 1 from dual for update', 'pass'],
  ['select * from keyless for update', 'pass'],
  ['select * from isam lock in share mode', 'pass'],
  ['select * from nowhere for update', 'pass'],
  ['select * from keyless k join t on t.id = k.id for update of k', 'pass'],
  ['select * from v for update', /a view/],
  ['select * from t union select * from u for update', /has UNION/],
  ['(select * from t for update)', /not one plain SELECT/],
  ['with c as (select 1) select * from t for update', /not one plain SELECT/],
  ['select distinct n from t for update', /has DISTINCT/],
  ['select n from t group by n for update', /has GROUP/],
  ['select n from t having n > 1 for update', /has HAVING/],
  ['select max(n) from t for update', /MAX\(\).*ORDER BY … LIMIT 1/],
  ['select n, row_number() over (order by n) from t for update', /window function/],
  ['select sql_calc_found_rows * from t limit 1 for update', /SQL_CALC_FOUND_ROWS/],
  ['select n into @n from t for update', /has INTO/],
  ['select * from t where id in (select t from u for update)', /place that is not known/],
  ['select * from (select * from t) d for update', /reads more than tables/],
  ['select * from t where id = 1 for update into @a', /place that is not known/],
  ['select * from t order by 1 for update', /could not be analysed/],
  ['select n + 1 as name from t order by name limit 1 for update', /ORDER BY or a LIMIT/],
  ['select a.id from t a join u on u.t = a.id order by id limit 1 for update', /ORDER BY or a LIMIT/],
  ['select * from t limit ?, 5 for update', /ORDER BY or a LIMIT/],
  ['select * from t, u for update of t skip locked for share of u', /waits for some of its tables/],
  ['select * from t join other.t on true for update', /two tables that are called t/],
  ['select harm(n) from t for update', /harm\(\)/],
  ['select * from t where id = (@x := 1) for update', /variable/],
];

for (const [sql, expected] of OTHERS) {
  test(`${JSON.stringify(sql)} is planned as ${String(expected)}`, (t) => {
    const found = planned(sql);
    if (typeof expected === 'string') t.true(found.kind === expected, found.kind);
    else if (found.kind === 'refuse') {
      t.regex(found.refusal.message, expected);
      t.true(found.escalates);
    } else t.fail(found.kind);
  });
}

test('a table is asked about before a reading that locks its rows is planned', (t) => {
  const parsed = parse('select * from a join b.c on a.x = c.y for update of c', {
    charset: 'utf8',
    noBackslashEscapes: false,
    ansiQuotes: false,
  });
  const [statement] = parsed.kind === 'parsed' ? parsed.statements : [];
  t.deepEqual(statement && plan(statement, { database: 'shop', facts: () => undefined, parameters: [] }), {
    kind: 'facts-needed',
    tables: [{ database: 'b', table: 'c' }],
  });
});

test('NOWAIT does not wait, and SKIP LOCKED leaves rows out', (t) => {
  const waits = (sql: string): readonly boolean[] => {
    const read = lockingRead(sql);
    return [read.waits, read.skips];
  };
  t.deepEqual(waits('select * from t for update'), [true, false]);
  t.deepEqual(waits('select * from t for update wait 3'), [true, false]);
  t.deepEqual(waits('select * from t for update wait 0'), [false, false]);
  t.deepEqual(waits('select * from t for share nowait'), [false, false]);
  t.deepEqual(waits('select * from t lock in share mode skip locked'), [true, true]);
});

test('a table that has a trigger is read with locks all the same, by its key alone', (t) => {
  const [table] = lockingRead('select * from watched for update').tables;
  t.deepEqual(
    table?.columns.map(({ name }) => name),
    ['id'],
  );
  t.is(table?.locks.length, 1);
});

/** Rows of `t` with these keys, as the reading ahead would find them. */
function foundOf(read: LockingRead, keys: readonly number[]): Found {
  const found = readFound(
    read.tables,
    keys.map((key) => [String(key), String(key)]),
    10,
  );
  if (found.kind !== 'found') throw new Error(found.refusal.message);
  return found.found;
}

test('the reading itself is the client’s text about the rows that were found, and no others', (t) => {
  const read = lockingRead('select *, n as m from t as a where n > 1 or n is null limit 2 for update');
  t.is(
    read.read(foundOf(read, [1, 2])).sql,
    'select *, n as m from t as a where (n > 1 or n is null\n) AND (`a`.`id` IN (1, 2)) limit 2 for update',
  );
  t.is(
    lockingRead('select * from t for update').read([[]]).sql,
    'select * from t WHERE (CONCAT(`t`.`id`) IS NULL) for update',
  );
});

test('the rows that another global transaction holds are known by their locks, and can be left out', (t) => {
  const read = lockingRead('select * from t where n = 1 or n = 2 limit 2 for update skip locked');
  const found = foundOf(read, [1, 2, 2]);
  const locks = locksOf(read.tables, found);
  t.deepEqual(locks, [
    { relation: '`shop`.`t`', key: '1' },
    { relation: '`shop`.`t`', key: '2' },
  ]);
  const held = heldAmong(read.tables, found, locks.slice(1));
  t.deepEqual(held, foundOf(read, [2]));
  t.regex(
    read.before(held).sql,
    /WHERE \(n = 1 or n = 2\n\) AND \(`t`\.`id` IN \(2\)\) IS NOT TRUE\nLIMIT 2\nfor update skip locked$/,
  );
});
