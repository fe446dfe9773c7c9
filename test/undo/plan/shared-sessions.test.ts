import test, { type ExecutionContext } from 'ava';
import { startMesh, type Mesh } from '../../sql-e2e/mesh.ts';
import { commented } from '../../sql-e2e/prove.ts';
import { openWire, say, type WireClient } from '../../sql-e2e/wire-client.ts';

const SCHEMA = `CREATE TABLE item (id int PRIMARY KEY, qty int); INSERT INTO item VALUES (1, 1); CREATE TABLE log (n int PRIMARY KEY);
CREATE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'; CREATE VIEW v AS SELECT f();`;
const WRITING =
  "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO log VALUES (1) RETURNING n'";
const UPDATE = 'UPDATE item SET qty = qty + 1';

/** A statement inside a global transaction of its own, which is rolled back. */
async function inside(mesh: Mesh, wire: WireClient, sql: string): Promise<string> {
  const gid = await mesh.begin();
  const lines = await wire.ask(say.query(commented(sql, gid)));
  await mesh.end(gid, 'rollback');
  return lines.join(' / ');
}

/** Which questions about the catalogue the server has prepared in this session. */
async function asked(wire: WireClient): Promise<string> {
  const lines = await wire.ask(
    say.query("SELECT name FROM pg_prepared_statements WHERE name IN ('atomesh_facts', 'atomesh_names') ORDER BY 1"),
  );
  return lines.flatMap((line) => /atomesh_(?:facts|names)/.exec(line) ?? []).join(' ');
}

for (const major of [14, 18] as const) {
  test(`the second session of a sidecar asks nothing about a table but what its name means, on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startMesh({ major, schema: SCHEMA, tables: ['item'] });
    const before = await mesh.dump();
    for (const questions of ['atomesh_facts', 'atomesh_names', 'atomesh_names']) {
      await using wire = await openWire(mesh.through);
      t.regex(await inside(mesh, wire, UPDATE), /done UPDATE 1/);
      t.is(await asked(wire), questions);
    }
    t.deepEqual(await mesh.dump(), before);
  });

  test(`what one session defines, all others know from its COMMIT on, on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startMesh({ major, schema: SCHEMA, tables: ['log'] });
    await using one = await openWire(mesh.through);
    await using other = await openWire(mesh.through);
    const bothRun = async (expected: RegExp): Promise<void> => {
      for (const wire of [one, other]) {
        t.regex(await inside(mesh, wire, 'SELECT * FROM v'), expected);
        t.regex(await inside(mesh, wire, 'SELECT f()'), expected);
      }
    };
    await bothRun(/row \["1"\]/);
    await using definer = await openWire(mesh.through);
    await definer.ask(say.query('BEGIN'), say.query(WRITING));
    await bothRun(/row \["1"\]/);
    await definer.ask(say.query('COMMIT'));
    await bothRun(/error ERROR 0A000 atomesh: a call of the function f/);
    await definer.ask(...say.run('ALTER FUNCTION f() STABLE'), say.sync);
    await definer.ask(say.query("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'"));
    await bothRun(/row \["1"\]/);
    t.deepEqual(await mesh.dump(), { log: [] });
  });
}

test('of a change that a direct connection makes, the first session that meets it tells all', async (t) => {
  await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['item'] });
  await using first = await openWire(mesh.through);
  await using second = await openWire(mesh.through);
  for (const wire of [first, second]) t.regex(await inside(mesh, wire, UPDATE), /done UPDATE 1/);
  await mesh.owner.query('ALTER TABLE item ADD more int DEFAULT 1');
  const before = await mesh.dump();
  t.regex(await inside(mesh, first, UPDATE), /error ERROR \w+ atomesh: /);
  for (const wire of [second, first]) t.regex(await inside(mesh, wire, 'UPDATE item SET more = 2'), /done UPDATE 1/);
  for (const wire of [second, first]) t.regex(await inside(mesh, wire, UPDATE), /done UPDATE 1/);
  t.deepEqual(await mesh.dump(), before);
});

test('a role without rights is refused by the server, whoever has asked for the facts', async (t) => {
  await using mesh = await startMesh({ major: 18, schema: `${SCHEMA} CREATE ROLE guest;`, tables: ['item'] });
  const before = await mesh.dump();
  await using owner = await openWire(mesh.through);
  t.regex(await inside(mesh, owner, UPDATE), /done UPDATE 1/);
  await using guest = await openWire(mesh.through);
  await guest.ask(say.query('SET ROLE guest'));
  t.regex(await inside(mesh, guest, UPDATE), /error ERROR 42501 permission denied for table item/);
  t.regex(await inside(mesh, owner, UPDATE), /done UPDATE 1/);
  t.deepEqual(await mesh.dump(), before);
});

test('a client that puts statements of its own in the place of the questions misleads nobody else', async (t) => {
  await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['item', 'log'] });
  const before = await mesh.dump();
  await using forger = await openWire(mesh.through);
  t.regex(await inside(mesh, forger, UPDATE), /done UPDATE 1/);
  const prepare = async (name: string, answer: unknown): Promise<unknown> =>
    forger.ask(
      say.query(`DEALLOCATE atomesh_${name}`),
      say.query(
        `PREPARE atomesh_${name} (text, text, text) AS SELECT '${JSON.stringify(answer)}'::text || left($1 || $2 || $3, 0)`,
      ),
    );
  const safe = { asked: [null, 'f'], unsafe: null, version: '1:1' };
  const reading = { database: 'shop', path: ['pg_catalog', 'public'], isCommon: true, prepared: null };
  await prepare('facts', { ...reading, relations: [{ asked: [null, 'log'], facts: null }], functions: [safe] });
  await mesh.owner.query(WRITING);
  // The question is prepared anew, and tells it and the others what is true.
  await askedAs(t, mesh, forger);
  await using honest = await openWire(mesh.through);
  await askedAs(t, mesh, honest);
  await using late = await openWire(mesh.through);
  await late.ask(say.query('SELECT 1'));
  await askedAs(t, mesh, late);
  t.deepEqual(await mesh.dump(), before);
});

async function askedAs(t: ExecutionContext, mesh: Mesh, wire: WireClient): Promise<void> {
  t.regex(await inside(mesh, wire, 'SELECT f()'), /error ERROR 0A000 atomesh: a call of the function f/);
  t.regex(await inside(mesh, wire, 'INSERT INTO log VALUES (5)'), /done INSERT 0 1/);
}
