import test from 'ava';
import { loadParser } from '../../../proxy/postgres/parse.ts';
import { preparedStatement } from '../../../proxy/postgres/undo/text/prepared.ts';
import { commented, proveScript, startShopMesh, type Script } from '../../sql-e2e/prove.ts';
import { openWire, say } from '../../sql-e2e/wire-client.ts';

/** What is prepared, and what is executed then. */
const EXECUTIONS: readonly { readonly prepare: string; readonly execute: readonly string[] }[] = [
  {
    prepare: 'PREPARE p (int, text) AS UPDATE item SET qty = qty + $1 WHERE code = $2',
    execute: ["EXECUTE p (1 + 2, 'c' || 1)", "execute P(-4, 'c2' /* ) */)", "EXECUTE p (0, 'none')"],
  },
  {
    prepare: 'PREPARE p AS UPDATE item SET qty = $2, code = $1 WHERE id = $3 RETURNING *, qty * 2 AS twice',
    execute: ["EXECUTE p ('größe -- x', 7, 1)", "EXECUTE p ('it''s', '8', 2 -- two\n)"],
  },
  { prepare: 'PREPARE p AS DELETE FROM item', execute: ['EXECUTE p', 'EXECUTE p;'] },
  {
    prepare:
      'PREPARE p (bigint, unknown) AS INSERT INTO item (id, code) VALUES ($1, $2), ($1 + 1, $2 || $1) ON CONFLICT (id) DO NOTHING RETURNING id',
    execute: ["EXECUTE p (100::smallint, 'x')", "EXECUTE p (200.4, 'z')", "EXECUTE p (1, 'y')"],
  },
  {
    prepare:
      'PREPARE "a ""q""" (int, int) AS WITH d AS (DELETE FROM item WHERE id = $2 RETURNING id) SELECT count(*) FROM d',
    execute: ['EXECUTE "a ""q""" (random()::int * 0, 2)', 'EXECUTE "a ""q""" (NULL, NULL)'],
  },
  { prepare: 'PREPARE p (int) AS SELECT id, code FROM item WHERE id = $1', execute: ['EXECUTE p (1)'] },
  { prepare: 'PREPARE p (int) AS TABLE item', execute: ['EXECUTE p (1)'] },
];

/** What the server refuses, each with what it says. */
const FAULTS: readonly string[] = [
  "EXECUTE p ('one', 'c1')",
  'EXECUTE p (true, 5)',
  'EXECUTE p (1, missing)',
  'EXECUTE p ((SELECT 1), 2)',
  'EXECUTE p (1, 0)',
  'EXECUTE missing (1)',
];

for (const major of [18, 14] as const) {
  test.serial(`what SQL has prepared is captured when SQL executes it, on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startShopMesh(major);
    for (const { prepare, execute } of EXECUTIONS) {
      let lines: readonly string[] = [];
      const inside: Script = async (wire, gid) => [
        ...(await wire.ask(say.query(commented('BEGIN', gid)))),
        ...(await wire.ask(say.query(prepare))),
        ...(await wire.ask(...execute.map((sql) => say.query(sql)))),
        ...(await wire.ask(say.query('COMMIT'))),
      ];
      await proveScript(t, mesh, `inside: ${prepare}`, inside);
      const outside: Script = async (wire, gid) =>
        (lines = [
          ...(await wire.ask(say.query(prepare))),
          ...(await wire.ask(...execute.map((sql) => say.query(commented(sql, gid))))),
        ]);
      await proveScript(t, mesh, `outside: ${prepare}`, outside);
      t.deepEqual(
        lines.filter((line) => line.startsWith('error')),
        [],
        prepare,
      );
      t.true(
        lines.some((line) => /^done .* [1-9]/.test(line)),
        prepare,
      );
    }
  });
}

test.serial('errors of an EXECUTE are those of the server, and change nothing', async (t) => {
  await using mesh = await startShopMesh(18);
  for (const fault of FAULTS) {
    await proveScript(t, mesh, fault, async (wire, gid) => [
      ...(await wire.ask(say.query('PREPARE p (int, int) AS UPDATE item SET qty = $1 / $2'))),
      ...(await wire.ask(say.query(commented('BEGIN', gid)), say.query('EXECUTE p (1, 1)'))),
      ...(await wire.ask(say.query('SAVEPOINT s'), say.query(fault), say.query('ROLLBACK TO s'))),
      ...(await wire.ask(say.query('EXECUTE p (8, 2)'), say.query('COMMIT'))),
    ]);
  }
});

test.serial('a name stands for what it stands for when it is executed', async (t) => {
  await using mesh = await startShopMesh(18);
  await proveScript(t, mesh, 'prepared again', async (wire, gid) => [
    ...(await wire.ask(say.query('PREPARE p AS SELECT 1'), say.query(commented('BEGIN', gid)), say.query('EXECUTE p'))),
    ...(await wire.ask(say.query('DEALLOCATE p'), say.query('PREPARE p AS UPDATE item SET qty = 9'))),
    ...(await wire.ask(say.query('EXECUTE p'), say.query('DEALLOCATE ALL'), say.query('COMMIT'))),
    // Several in one text, and a statement of a driver.
    ...(await wire.ask(say.query("SELECT 'x'; PREPARE q AS DELETE FROM item WHERE id = 2; PREPARE p AS SELECT 2"))),
    ...(await wire.ask(say.parse('UPDATE item SET qty = $1 WHERE id = 1', 'driver'), say.sync)),
    ...(await wire.ask(say.query(commented('BEGIN', gid)), say.query('EXECUTE p'), say.query('EXECUTE q'))),
    ...(await wire.ask(say.query('EXECUTE driver (77)'), say.query('SELECT 1; EXECUTE driver (78); EXECUTE p'))),
    ...(await wire.ask(say.bind([], 'q'), say.execute(), say.sync, say.query('COMMIT'))),
  ]);
});

test.serial('an EXECUTE that is not certain to be captured does not run', async (t) => {
  await using mesh = await startShopMesh(18);
  const before = await mesh.dump();
  await mesh.owner.query(
    'CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS $$UPDATE item SET qty = 0 RETURNING 1$$',
  );
  await using wire = await openWire(mesh.through);
  await wire.ask(
    say.query("PREPARE odd AS UPDATE item SET code = 'a\\b'"),
    say.query('PREPARE p (int) AS SELECT $1; PREPARE u AS UPDATE item SET qty = 1'),
    say.query('PREPARE calling AS SELECT writes()'),
    say.query("PREPARE naming AS SELECT set_config('application_name', 'x', false)"),
    say.parse('TRUNCATE item', 'driver'),
    say.sync,
  );
  const gid = await mesh.begin();
  for (const sql of [
    'EXECUTE odd',
    'EXECUTE p (writes())',
    'EXPLAIN EXECUTE p (writes())',
    'EXPLAIN ANALYZE EXECUTE u',
    'CREATE TABLE made AS EXECUTE u',
    'EXECUTE calling',
    'EXECUTE driver',
    'DEALLOCATE p; PREPARE p (int) AS DELETE FROM item; EXECUTE p (1)',
    "PREPARE g AS SELECT set_config('atomesh.gid', 'x', true)",
  ]) {
    const [line] = await wire.ask(say.query(commented(sql, gid)));
    t.regex(line ?? '', /^error ERROR (0A000|26000) atomesh: /, sql);
  }
  // By the time that a driver executes what it has bound, the name may stand for something else.
  for (const sql of ['EXECUTE u', 'EXECUTE p (1)', 'EXECUTE missing']) {
    const lines = await wire.ask(...say.run(commented(sql, gid)), say.sync);
    t.true(
      lines.some((line) => line.startsWith('error ERROR 0A000 atomesh: EXECUTE through the extended protocol')),
      lines.join(' / '),
    );
  }
  t.deepEqual(await mesh.dump(), before);
  await mesh.end(gid, 'rollback');
});

test('the statement behind a name is found where the text leaves no doubt', async (t) => {
  await loadParser();
  const inner = (statement: string, name = 'p'): string | undefined => {
    const found = preparedStatement(name, { statement, fromSql: true });
    return found?.source.slice(found.start, found.end);
  };
  t.is(inner('  PREPARE p (int, "as") AS  SELECT 1 AS x  ; '), 'SELECT 1 AS x');
  t.is(inner('SELECT 1; PREPARE P AS DELETE FROM "größe"; PREPARE q AS SELECT 2'), 'DELETE FROM "größe"');
  t.is(inner('PREPARE "P" AS SELECT 1'), undefined);
  t.is(inner('PREPARE p AS SELECT 1; DEALLOCATE p; PREPARE p AS SELECT 2'), undefined);
  t.is(inner("PREPARE p AS SELECT 'a\\'"), undefined);
  t.is(preparedStatement('p', { statement: 'SELECT 1; SELECT 2', fromSql: false }), undefined);
});
