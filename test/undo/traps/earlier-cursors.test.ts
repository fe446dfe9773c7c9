import test from 'ava';
import { NOTHING_LEFT, startMesh, type Mesh } from '../../sql-e2e/mesh.ts';
import { openWire, say, type WireClient } from '../../sql-e2e/wire-client.ts';
import { startTriggerMesh } from '../../triggers/mesh.ts';

const SCHEMA = `
  CREATE TABLE item (id int PRIMARY KEY, qty int); INSERT INTO item VALUES (1, 10), (2, 20), (3, 30);
  CREATE TABLE log (id int PRIMARY KEY, what text); INSERT INTO log VALUES (1, 'first');
  CREATE FUNCTION notes(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN UPDATE log SET what = what || $1; RETURN $1; END';
  CREATE PROCEDURE opens(INOUT c refcursor) LANGUAGE plpgsql AS 'BEGIN OPEN c FOR SELECT notes(id) FROM item; END';`;

const NAME = "SELECT set_config('atomesh.gid', 'GID', true)";
const CHANGE = 'UPDATE item SET qty = qty + 1 WHERE id = 1';
const WRITING = 'DECLARE c CURSOR FOR SELECT notes(id) FROM item';
const READING = 'DECLARE c CURSOR FOR SELECT id FROM item ORDER BY id';

type Way = 'simple' | 'extended';

async function tell(wire: WireClient, way: Way, texts: readonly string[], gid: string): Promise<string> {
  const lines: string[] = [];
  for (const text of texts.map((each) => each.replace('GID', gid)))
    lines.push(
      ...(await (way === 'simple' || text.includes(';')
        ? wire.ask(say.query(text))
        : wire.ask(...say.run(text), say.sync))),
    );
  return lines.filter((line) => /^(?:row|done|error|ready)/.test(line)).join('\n');
}

/** What was opened before the name and writes when it is fetched from. */
const WRITES: readonly (readonly string[])[] = [
  [WRITING, NAME, 'FETCH c'],
  [WRITING, NAME, CHANGE, 'FETCH 2 FROM c'],
  [WRITING, NAME, CHANGE, 'MOVE c'],
  [`${WRITING} WHERE id > 1; ${READING.replace('c ', 'd ')}`, NAME, CHANGE, 'FETCH d', 'FETCH c'],
  ["CALL opens('c')", NAME, CHANGE, 'FETCH ALL FROM c'],
  // Called as ours are, and not ours.
  [WRITING.replace('c ', 'atomesh_c '), NAME, 'FETCH atomesh_c'],
];

/** What may be fetched from all the same, or is closed in time. */
const READS: readonly (readonly string[])[] = [
  [READING, NAME, 'FETCH c', CHANGE, 'FETCH 5 FROM c', 'COMMIT'],
  [`${READING} FOR UPDATE`, NAME, 'FETCH c', CHANGE, 'FETCH 5 FROM c', 'COMMIT'],
  [WRITING.replace('CURSOR', 'CURSOR WITH HOLD'), NAME, CHANGE, 'CLOSE c', 'COMMIT'],
  [READING.replace('CURSOR', 'CURSOR WITH HOLD'), NAME, CHANGE, 'COMMIT', 'FETCH c', 'CLOSE c'],
  [NAME, READING, 'FETCH c', CHANGE, 'FETCH c', 'COMMIT'],
  [NAME, CHANGE, 'FETCH missing'],
];

async function refused(mesh: Mesh, way: Way, texts: readonly string[]): Promise<string> {
  const gid = await mesh.begin();
  await using wire = await openWire(mesh.through);
  const said = await tell(wire, way, ['BEGIN', ...texts, 'COMMIT'], gid);
  await mesh.end(gid, 'rollback');
  return said;
}

for (const [major, way] of [
  [14, 'simple'],
  [18, 'extended'],
] as const) {
  test(`a cursor from before the name is what its query is, by the ${way} protocol on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startMesh({ major, schema: SCHEMA, tables: ['item', 'log'] });
    const before = await mesh.dump();
    for (const texts of WRITES) {
      const title = texts.join('; ');
      t.regex(await refused(mesh, way, texts), /error ERROR 0A000 atomesh: a call of the function notes/, title);
      t.deepEqual(await mesh.dump(), before, title);
    }
    const held = [WRITING.replace('CURSOR', 'CURSOR WITH HOLD'), NAME];
    for (const texts of [held, [...held, CHANGE]]) {
      t.regex(await refused(mesh, way, texts), /error ERROR 0A000 atomesh: the cursor "c" WITH HOLD/, texts.join('; '));
      t.deepEqual(await mesh.dump(), before);
    }
    for (const texts of READS) {
      const title = texts.join('; ');
      const gid = await mesh.begin();
      await using direct = await openWire(mesh.direct);
      const expected = await tell(direct, way, ['BEGIN', ...texts], 'none');
      await using wire = await openWire(mesh.through);
      t.is((await tell(wire, way, ['BEGIN', ...texts], gid)).replaceAll(gid, 'none'), expected, title);
      await wire.ask(say.query('ROLLBACK'));
      t.deepEqual(await mesh.dump(), await mesh.dump(mesh.twin), title);
      await direct.ask(say.query('ROLLBACK'));
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.dump(), before, title);
      t.is(await mesh.leftovers(), NOTHING_LEFT, title);
      await mesh.twin.query('UPDATE item SET qty = id * 10');
    }
  });
}

test('the portal of a driver from before the name is what its query is, fetched from by SQL too', async (t) => {
  await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['item', 'log'] });
  const before = await mesh.dump();
  for (const sql of ['SELECT notes(id) FROM item', 'UPDATE item SET qty = 0 RETURNING id']) {
    const gid = await mesh.begin();
    await using wire = await openWire(mesh.through);
    await wire.ask(say.query('BEGIN'));
    await wire.ask(say.parse(sql), say.bind([], '', 'mine'), say.sync);
    const said = await tell(wire, 'simple', [NAME, CHANGE, 'FETCH ALL FROM mine', 'COMMIT'], gid);
    t.regex(said, /error ERROR 0A000/, sql);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.dump(), before, sql);
  }
});

test('where local transactions may be prepared, what is fetched from such a cursor is prepared with the rest', async (t) => {
  await using mesh = await startMesh({
    major: 18,
    schema: SCHEMA,
    tables: ['item', 'log'],
    database: { escalate: 'xa' },
  });
  const before = await mesh.dump();
  for (const outcome of ['rollback', 'commit'] as const) {
    const gid = await mesh.begin();
    await using wire = await openWire(mesh.through);
    const said = await tell(wire, 'extended', ['BEGIN', WRITING, NAME, CHANGE, 'FETCH ALL FROM c', 'COMMIT'], gid);
    t.notRegex(said, /error/);
    t.deepEqual(await mesh.dump(), before, 'it is prepared');
    await mesh.end(gid, outcome);
    if (outcome === 'rollback') t.deepEqual(await mesh.dump(), before);
    else t.deepEqual((await mesh.dump())['log'], ['(1,first123)']);
  }
});

test('what is fetched from such a cursor is recorded where triggers write the images', async (t) => {
  await using mesh = await startTriggerMesh(18);
  const before = await mesh.dump();
  for (const way of ['simple', 'extended'] as const) {
    const gid = await mesh.begin();
    await using wire = await openWire(mesh.through);
    const texts = ['BEGIN', 'DECLARE c CURSOR FOR SELECT take(id) FROM seat', NAME, 'FETCH 2 FROM c', 'COMMIT'];
    t.regex(await tell(wire, way, texts, gid), /done FETCH 2\nready T\ndone COMMIT/);
    t.notDeepEqual(await mesh.dump(), before);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.dump(), before);
  }
});

test('so is one that a pipeline without BEGIN has opened before it is named, which servers take from 17 on', async (t) => {
  await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['item', 'log'] });
  const before = await mesh.dump();
  const gid = await mesh.begin();
  await using wire = await openWire(mesh.through);
  const texts = ['SELECT 1', WRITING, NAME.replace('GID', gid), 'FETCH c'];
  const said = await wire.ask(...texts.flatMap((text) => say.run(text)), say.sync);
  t.regex(said.join('\n'), /error ERROR 0A000 atomesh: a call of the function notes/);
  await mesh.end(gid, 'rollback');
  t.deepEqual(await mesh.dump(), before);
});
