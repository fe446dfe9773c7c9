import test from 'ava';
import { loadParser } from '../../proxy/postgres/parse.ts';
import { createPlanner } from '../../proxy/postgres/plan.ts';
import { arrange, type Arrangement } from '../../proxy/sql/arrange.ts';
import type { PlannedStatement } from '../../proxy/sql/planner.ts';
import type { BlockStatus } from '../../proxy/sql/session.ts';

const SETTINGS = new Map([
  ['server_version', '18.0'],
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
]);

test.before(async () => {
  await loadParser();
});

function plansOf(text: string, carriesBarrier: boolean = true): readonly PlannedStatement[] {
  const planner = createPlanner({ mode: 'none', maxRows: 10, carriesBarrier });
  const planned = planner.plan(text, SETTINGS, 0, 'operation');
  if (planned.kind !== 'plans') throw new Error(`${text} needs facts`);
  return planned.plans;
}

const table: readonly (readonly [text: string, block: BlockStatus, kind: Arrangement['kind']])[] = [
  ['', 'idle', 'as-is'],
  ['BEGIN', 'idle', 'as-is'],
  ['BEGIN; SHOW x; COMMIT', 'idle', 'as-is'],
  ['DELETE FROM a', 'idle', 'ahead'],
  ['DELETE FROM a; DELETE FROM b', 'idle', 'ahead'],
  ['DELETE FROM a; COMMIT', 'open', 'ahead'],
  ['DELETE FROM a; ROLLBACK AND CHAIN', 'open', 'ahead'],
  ['DELETE FROM a; COMMIT', 'idle', 'refuse'],
  ['BEGIN; DELETE FROM a', 'idle', 'behind'],
  ['START TRANSACTION; SHOW x; DELETE FROM a; END', 'idle', 'behind'],
  ['SET TRANSACTION READ WRITE; DELETE FROM a', 'open', 'behind'],
  ['SET TRANSACTION READ WRITE; DELETE FROM a', 'idle', 'ahead'],
  ['BEGIN; DELETE FROM a', 'open', 'refuse'],
  ['DELETE FROM a; BEGIN', 'idle', 'refuse'],
  ['BEGIN; DELETE FROM a; COMMIT; DELETE FROM a', 'idle', 'refuse'],
  ['SAVEPOINT s; DELETE FROM a', 'open', 'refuse'],
  ['SET atomesh.gid = $$x$$; DELETE FROM a', 'open', 'refuse'],
  ['PREPARE TRANSACTION $$x$$', 'open', 'refuse'],
  ['DELETE FROM a', 'failed', 'as-is'],
];

for (const [text, block, kind] of table) {
  test(`inside an operation "${text}" in a session that is ${block}: ${kind}`, (t) => {
    t.is(arrange(plansOf(text), block).kind, kind);
  });
}

test('the row goes in at the byte of the first change', (t) => {
  const text = 'BEGIN /* ü */ ; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; DELETE FROM a; COMMIT';
  t.deepEqual(arrange(plansOf(text), 'idle'), { kind: 'behind', at: Buffer.from(text).indexOf('DELETE') });
});

test('whatever is not provably read-only may change rows, whatever its images would be', (t) => {
  const changes: readonly (readonly [text: string, isPlain: boolean])[] = [
    ['INSERT INTO a SELECT 1', true],
    ['UPDATE a SET x = 1 FROM b', true],
    ['MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE', true],
    ['WITH x AS (DELETE FROM a RETURNING 1) SELECT 1 FROM x', true],
    ['SELECT 1 INTO t', true],
    ['TRUNCATE a', true],
    ['COPY a FROM STDIN', true],
    ['EXPLAIN ANALYZE DELETE FROM a', true],
    ['EXECUTE p', true],
    ['CREATE TABLE t AS SELECT 1', true],
    ['ALTER TABLE a ADD COLUMN y int', false],
    ['NOTIFY c', true],
    ["SELECT setval('s', 1)", true],
    ["SELECT x FROM (SELECT pg_catalog.pg_notify('c', 'x')) y", true],
    ['CALL p()', false],
    ['DO $$ BEGIN END $$', false],
    ['VACUUM', false],
    ['CREATE INDEX CONCURRENTLY ON a (x)', false],
  ];
  for (const [text, isPlain] of changes) t.deepEqual(plansOf(text)[0]?.plan, { kind: 'change', isPlain }, text);
  for (const text of [
    'SHOW x',
    'LISTEN c',
    'LOCK a',
    'PREPARE p AS DELETE FROM a',
    'EXPLAIN DELETE FROM a',
    'SET x = 1',
  ]) {
    t.deepEqual(plansOf(text)[0]?.plan, { kind: 'pass' }, text);
  }
});

test('what would change how the session is read stays refused', (t) => {
  for (const text of [
    'SET client_encoding = latin1',
    'SET standard_conforming_strings = off',
    "SELECT set_config('atomesh.' || 'gid', 'x', true)",
    "WITH x AS (DELETE FROM a RETURNING 1) SELECT set_config('atomesh.gid', 'x', true) FROM x",
    "COMMIT PREPARED 'x'",
  ]) {
    t.is(plansOf(text)[0]?.plan.kind, 'refuse', text);
  }
});

test('without the barrier a database refuses changes inside an operation', (t) => {
  const [first] = plansOf('DELETE FROM a', false);
  t.is(first?.plan.kind === 'refuse' && first.plan.refusal.code, '25000');
  t.is(plansOf('SHOW x', false)[0]?.plan.kind, 'pass');
});
