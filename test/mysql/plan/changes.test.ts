import test from 'ava';
import type { TableFacts } from '../../../proxy/mysql/catalog.ts';
import { parse } from '../../../proxy/mysql/parse.ts';
import { plan, type Planned } from '../../../proxy/mysql/plan.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';
import type { Capture } from '../../../proxy/mysql/undo/capture.ts';
import { foreignKey, number, string, tableOf, unique } from './tables.ts';

const columns = [number('id', true), number('n'), string('name')];
const watched = (event: 'INSERT' | 'UPDATE' | 'DELETE'): TableFacts =>
  tableOf(`on_${event}`, { columns, triggers: [{ name: `on ${event}`, event }] });

const TABLES: Readonly<Record<string, TableFacts>> = {
  t: tableOf('t', { columns }),
  coded: tableOf('coded', { columns: [string('code'), number('n')], uniques: [unique('PRIMARY', 'code')] }),
  moment: tableOf('moment', { columns: [number('at'), number('n')], uniques: [unique('PRIMARY', 'at')] }),
  on_INSERT: watched('INSERT'),
  on_UPDATE: watched('UPDATE'),
  on_DELETE: watched('DELETE'),
  child: tableOf('child', { columns, parents: [foreignKey('t', [{ own: 'n', other: 'id' }])] }),
  unlike: tableOf('unlike', {
    columns: [number('id'), string('code', 'utf8mb4_bin')],
    parents: [foreignKey('coded', [{ own: 'code', other: 'code' }])],
  }),
  orphan: tableOf('orphan', { columns, parents: [foreignKey('nowhere', [{ own: 'n', other: 'id' }])] }),
};

function planned(sql: string, without?: string): Planned {
  const parsed = parse(sql, { charset: 'utf8', noBackslashEscapes: false, ansiQuotes: false });
  const [statement] = parsed.kind === 'parsed' ? parsed.statements : [];
  if (statement === undefined) throw new Error(`not one statement: ${sql}`);
  const facts = (_: string, table: string): TableFacts | 'none' | undefined =>
    table === without ? undefined : (TABLES[table] ?? 'none');
  return plan(statement, { database: 'shop', facts, parameters: [] });
}

function capture(sql: string): Capture {
  const found = planned(sql);
  if (found.kind !== 'capture') throw new Error(found.kind === 'refuse' ? found.refusal.message : found.kind);
  return found;
}

/** What an insertion is read again by. */
function readAgain(sql: string): string | undefined {
  const { after } = capture(sql);
  const outcome = { affectedRows: 1, insertId: '77', countsFound: true, hasPhantoms: false };
  return after?.([[]], outcome)?.sql.match(/WHERE (.*) FOR UPDATE$/)?.[1];
}

test.before(() => loadGrammar());

const KEYS: readonly (readonly [sql: string, condition: string])[] = [
  ['insert into t (id) values (5)', '`atomesh_row`.`id` IN (5)'],
  ['insert into t (id) values (5e0), (-6e0)', '`atomesh_row`.`id` IN (5e0, -6e0)'],
  ["insert into t (id) values ('5')", "`atomesh_row`.`id` IN ('5')"],
  ['insert into t (id) values (0e0)', '`atomesh_row`.`id` IN (77)'],
  ['insert into t (id) values (default)', '`atomesh_row`.`id` IN (77)'],
  ["insert into coded values (_binary'a', 1)", "`atomesh_row`.`code` IN (_binary'a')"],
  ["insert into coded values (_utf8mb4'a', 1)", "`atomesh_row`.`code` IN (_utf8mb4'a')"],
  [
    "insert into moment values (timestamp'2024-01-01 00:00:00', 1)",
    "`atomesh_row`.`at` IN (timestamp'2024-01-01 00:00:00')",
  ],
  ["insert into moment values (time'10:00:00', 1)", "`atomesh_row`.`at` IN (time'10:00:00')"],
  ['insert into t (n) values (1) returning id', '`atomesh_row`.`id` IN (LAST_INSERT_ID())'],
  ['insert into t (id) values (5) returning id, n + 1 as m', '`atomesh_row`.`id` IN (5)'],
];

for (const [sql, condition] of KEYS) {
  test(`the row of ${JSON.stringify(sql)} is found by ${condition}`, (t) => {
    t.is(readAgain(sql), condition);
  });
}

test('a key that only the server knows is none', (t) => {
  for (const sql of [
    'insert into coded values (uuid(), 1)',
    'insert into moment values (now(), 1)',
    'insert into moment values (timestamp(n), 1)',
  ]) {
    t.is(planned(sql).kind, 'refuse', sql);
  }
});

/** Which statements a trigger keeps from being captured: what they do, and what undoing them does. */
const FIRING: readonly (readonly [sql: (table: string) => string, events: readonly string[]])[] = [
  [(table) => `insert into ${table} (id, n) values (1, 1)`, ['INSERT', 'DELETE']],
  [(table) => `insert ignore into ${table} (id, n) values (1, 1)`, ['INSERT', 'DELETE']],
  [(table) => `update ${table} set n = 1`, ['UPDATE']],
  [(table) => `delete from ${table}`, ['INSERT', 'DELETE']],
  [
    (table) => `insert into ${table} (id, n) values (1, 1) on duplicate key update n = 2`,
    ['INSERT', 'UPDATE', 'DELETE'],
  ],
  [(table) => `replace into ${table} (id, n) values (1, 1)`, ['INSERT', 'UPDATE', 'DELETE']],
];

test('a trigger that a statement fires, or that taking it back would fire, refuses it', (t) => {
  for (const [statement, events] of FIRING) {
    const refused = ['INSERT', 'UPDATE', 'DELETE'].filter((event) => {
      const found = planned(statement(`on_${event}`));
      return found.kind === 'refuse' && found.refusal.message.includes(`triggers (on ${event})`);
    });
    t.deepEqual(refused, events, statement('t'));
  }
});

test('INSERT … SELECT of given keys is left to a local transaction that is prepared, and says what that needs', (t) => {
  const found = planned('insert into t (id, n) select id + 10, n from t');
  t.like(found, { kind: 'refuse', escalates: true });
  t.regex(
    found.kind === 'refuse' ? found.refusal.hint : '',
    /VALUES, or let it be prepared: escalate: xa .* gid named at BEGIN/,
  );
});

test('MariaDB’s RETURNING answers with rows; what would have to be counted by an OK is refused', (t) => {
  t.true(capture('insert into t (n) values (1) returning id').answersRows);
  t.false(capture('insert into t (n) values (1)').answersRows);
  const { answersRows, change } = capture('delete from t where n > 1 order by id limit 1 returning id, name');
  t.true(answersRows);
  t.is(
    change([[{ image: '1,1,N', locks: ['1'], parents: [] }]]).sql,
    'delete from t where (n > 1\n) AND (`t`.`id` IN (1)) order by id limit 1 returning id, name',
  );
  t.is(
    capture('delete from t returning *').change([[{ image: '1,1,N', locks: ['1'], parents: [] }]]).sql,
    'delete from t WHERE (`t`.`id` IN (1)) returning *',
  );
  for (const sql of [
    'replace into t (id) values (1) returning id',
    'insert ignore into t (id) values (1) returning id',
    'insert into t (id) values (1) on duplicate key update n = 1 returning id',
  ]) {
    const found = planned(sql);
    t.regex(found.kind === 'refuse' ? found.refusal.message : found.kind, /with RETURNING/, sql);
  }
});

test('what rows refer to is asked for where a statement may change it, with the facts of that table', (t) => {
  const parents = (sql: string): readonly string[] =>
    capture(sql).tables.flatMap((table) => table.parents.map(({ relation, sql: key }) => `${relation} ${key('r')}`));
  const expected = ["`shop`.`t` IF(r.`n` IS NULL, '', CAST(CONVERT(CONCAT(r.`n`) USING ascii) AS BINARY))"];
  t.deepEqual(parents('insert into child (id) values (1)'), expected);
  t.deepEqual(parents('update child set N = 2'), expected);
  t.deepEqual(parents('delete from child'), expected);
  t.deepEqual(parents("update child set name = ''"), []);
  t.deepEqual(parents('insert into orphan (id) values (1)'), []);
  t.deepEqual(planned('insert into child (id) values (1)', 't'), {
    kind: 'facts-needed',
    tables: [{ database: 'shop', table: 't' }],
  });
  const found = planned('delete from unlike');
  t.regex(
    found.kind === 'refuse' ? found.refusal.message : found.kind,
    /foreign key to coded leads to columns of another type/,
  );
});

test('constants as they are written for parameters do not keep a statement from being understood', (t) => {
  for (const value of [
    "_binary'a'",
    "_utf8mb4'a'",
    "DATE'2024-01-01'",
    "TIME'-10:00:00'",
    "TIMESTAMP'2024-01-01 00:00:00'",
    '-5e0',
    ' -5',
    'CAST(5 AS UNSIGNED)',
    '1.5e0',
    'NULL',
  ]) {
    for (const sql of [
      `update t set n = ${value} where name = ${value} and n in (${value}, ${value}) or n between ${value} and ${value}`,
      `update t set n = n -${value.startsWith('-') ? ` ${value}` : value}, name = concat(${value}, ${value}) where n >${value}`,
      `delete from t where coalesce(n, ${value}) <=> ${value} limit 1`,
      `insert into t (id, n, name) values (1, ${value}, concat(${value}, 'x'))`,
      `insert into t (id, n) values (1, 2) on duplicate key update n = ${value}`,
    ]) {
      const found = planned(sql);
      t.is(found.kind, 'capture', `${sql}: ${found.kind === 'refuse' ? found.refusal.message : ''}`);
    }
  }
});
