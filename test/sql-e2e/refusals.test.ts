import test from 'ava';
import { NOTHING_LEFT } from './mesh.ts';
import { commented, sharedShopMeshes } from './prove.ts';
import { openWire, say, type WireClient } from './wire-client.ts';

const meshOf = sharedShopMeshes(test.after.always);

type Way = (wire: WireClient, text: string) => Promise<string[]>;

const WAYS: Readonly<Record<string, Way>> = {
  simple: (wire, text) => wire.ask(say.query(text)),
  extended: (wire, text) => wire.ask(...say.run(text), say.sync),
};

/** One of each kind of statement that cannot be undone. */
const STATEMENTS: readonly (readonly [text: string, code: string])[] = [
  ['TRUNCATE lonely', '0A000'],
  ['CREATE TABLE more (id int)', '0A000'],
  ['DROP TABLE lonely', '0A000'],
  ['WITH d AS (UPDATE item_view SET code = code RETURNING id) SELECT * FROM d', '0A000'],
  ["UPDATE item_view SET code = 'x'", '0A000'],
  ['COPY lonely FROM STDIN', '0A000'],
  ['DO $$ BEGIN DELETE FROM lonely; END $$', '0A000'],
  ['EXPLAIN ANALYZE DELETE FROM lonely', '0A000'],
  ["PREPARE TRANSACTION 'x'", '0A000'],
  ['DELETE FROM atomesh.row_lock', '0A000'],
  ["SELECT set_config('atomesh.gid', code, true) FROM item", '0A000'],
  ['SET session_replication_role = replica', '0A000'],
  ['DELETE FROM missing', '42P01'],
  ['DELETE FROM', '42601'],
];

for (const [way, run] of Object.entries(WAYS)) {
  test.serial(`what cannot be undone is refused and changes nothing, by the ${way} protocol`, async (t) => {
    const mesh = await meshOf(18);
    await using wire = await openWire(mesh.through);
    const before = await mesh.dump();
    const gid = await mesh.begin();
    for (const [text, code] of STATEMENTS) {
      const alone = await run(wire, commented(text, gid));
      t.true(alone.at(-2)?.startsWith(`error ERROR ${code}`), `${text}: ${alone.join(' / ')}`);
      t.is(alone.at(-1), 'ready I', text);
      await wire.ask(say.query(commented('BEGIN', gid)), say.query('UPDATE lonely SET v = v + 1'));
      const inside = await run(wire, text);
      t.true(inside.at(-2)?.startsWith(`error ERROR ${code}`), `${text}: ${inside.join(' / ')}`);
      t.is(inside.at(-1), 'ready E', text);
      const next = await run(wire, 'SELECT 1');
      t.true(next.at(-2)?.startsWith('error ERROR 25P02'), `${text}: ${next.join(' / ')}`);
      t.is((await run(wire, 'ROLLBACK')).at(-2), 'done ROLLBACK', text);
      t.deepEqual(await mesh.dump(), before, text);
      t.is(await mesh.leftovers(), NOTHING_LEFT, text);
    }
    t.is((await run(wire, commented('DELETE FROM lonely', gid))).at(-2), 'done DELETE 1', 'the session goes on');
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.dump(), before);
  });

  test.serial(`a gid that cannot be joined is refused with its reason, by the ${way} protocol`, async (t) => {
    const mesh = await meshOf(18);
    await using wire = await openWire(mesh.through);
    const before = await mesh.dump();
    const [committed, rolledBack] = [await mesh.begin(), await mesh.begin()];
    await mesh.end(committed, 'commit');
    await mesh.end(rolledBack, 'rollback');
    for (const [gid, code] of [
      ['no gid, with blanks', '22023'],
      ['x'.repeat(129), '22023'],
      ['never-begun', '25000'],
      [committed, '40000'],
      [rolledBack, '40000'],
    ] as const) {
      const alone = await run(wire, commented('DELETE FROM lonely', gid));
      t.true(alone.at(-2)?.startsWith(`error ERROR ${code}`), `${gid}: ${alone.join(' / ')}`);
      t.is(alone.at(-1), 'ready I');
      t.deepEqual(await mesh.dump(), before, 'outside a block nothing has happened when the refusal is read');
      for (const naming of [`SELECT set_config('atomesh.gid', '${gid}', true)`, commented('SELECT 1', gid)]) {
        await run(wire, 'BEGIN');
        const named = await run(wire, naming);
        const lines = named.at(-1) === 'ready E' ? named : await run(wire, 'DELETE FROM lonely');
        t.true(lines.at(-2)?.startsWith(`error ERROR ${code}`), `${gid}: ${lines.join(' / ')}`);
        t.is(lines.at(-1), 'ready E');
        t.is((await run(wire, commented('ROLLBACK', gid))).at(-2), 'done ROLLBACK', 'its end is let through');
      }
      await run(wire, `SET atomesh.gid = 'never-begun'`);
      t.true((await run(wire, 'DELETE FROM lonely')).at(-2)?.startsWith('error ERROR 25000'));
      await run(wire, 'RESET atomesh.gid');
      t.deepEqual(await mesh.dump(), before, gid);
    }
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  });

  test.serial(
    `a local transaction belongs to one gid, and to that from its first change, by the ${way} protocol`,
    async (t) => {
      const mesh = await meshOf(18);
      await using wire = await openWire(mesh.through);
      const before = await mesh.dump();
      const [one, two] = [await mesh.begin(), await mesh.begin()];
      for (const other of [
        commented('UPDATE lonely SET v = 4', two),
        commented('SELECT 1', two),
        `SET LOCAL atomesh.gid = '${two}'`,
        `SET atomesh.gid = '${two}'`,
        'RESET atomesh.gid',
      ]) {
        await run(wire, commented('BEGIN', one));
        await run(wire, 'UPDATE lonely SET v = 3');
        const lines = await run(wire, other);
        t.true(lines.at(-2)?.startsWith('error ERROR 25000'), `${other}: ${lines.join(' / ')}`);
        t.is(lines.at(-1), 'ready E', other);
        await run(wire, 'ROLLBACK');
        t.deepEqual(await mesh.dump(), before, other);
      }
      for (const naming of [`SET LOCAL atomesh.gid = '${one}'`, commented('SELECT 1', one)]) {
        await run(wire, 'BEGIN');
        await run(wire, 'DELETE FROM tree WHERE id = 4');
        t.is((await run(wire, naming)).at(-1), 'ready T', 'reading is allowed');
        const late = await run(wire, 'DELETE FROM lonely');
        t.true(late.at(-2)?.startsWith('error ERROR 25000'), late.join(' / '));
        await run(wire, 'ROLLBACK');
      }
      // Until something has been changed, the session may think again.
      await run(wire, commented('BEGIN', one));
      await run(wire, 'SELECT 1');
      t.is((await run(wire, commented('DELETE FROM lonely', two))).at(-2), 'done DELETE 1');
      await run(wire, 'COMMIT');
      await mesh.end(one, 'commit');
      await mesh.end(two, 'rollback');
      t.deepEqual(await mesh.dump(), before);
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    },
  );
}

test.serial(
  'several statements in one query run inside a gid only if none of them controls the transaction or what names mean',
  async (t) => {
    const mesh = await meshOf(18);
    await using wire = await openWire(mesh.through);
    const before = await mesh.dump();
    const gid = await mesh.begin();
    await wire.ask(say.query(commented('BEGIN', gid)));
    t.deepEqual(
      (await wire.ask(say.query('SELECT 1; SELECT 2'))).filter((line) => line.startsWith('row')),
      ['row ["1"]', 'row ["2"]'],
    );
    for (const text of [
      'SET search_path = public; DELETE FROM lonely',
      'SELECT 1; COMMIT',
      'SAVEPOINT a; DELETE FROM lonely',
    ]) {
      const lines = await wire.ask(say.query(text));
      t.true(lines.at(-2)?.startsWith('error ERROR 0A000'), `${text}: ${lines.join(' / ')}`);
      await wire.ask(say.query('ROLLBACK'), say.query(commented('BEGIN', gid)));
    }
    await wire.ask(say.query('ROLLBACK'));
    const late = await wire.ask(say.query(`BEGIN; SET LOCAL atomesh.gid = '${gid}'; DELETE FROM lonely; COMMIT`));
    t.true(late.at(-2)?.startsWith('error ERROR 0A000'), late.join(' / '));
    t.is(late.at(-1), 'ready I');
    t.deepEqual(await mesh.dump(), before);
    await mesh.end(gid, 'rollback');
  },
);

test.serial(
  'what the protocol itself can change is refused too: function calls, and portals made by SQL',
  async (t) => {
    const mesh = await meshOf(18);
    await using wire = await openWire(mesh.through);
    const before = await mesh.dump();
    const gid = await mesh.begin();
    const functionCall = {
      kind: 'function-call',
      functionOid: 1299,
      formats: [],
      values: [],
      resultFormat: 0,
    } as const;
    for (const messages of [
      [functionCall],
      [say.query('DECLARE c CURSOR FOR SELECT 1'), say.execute(0, 'c'), say.sync],
    ]) {
      await wire.ask(say.query(commented('BEGIN', gid)), say.query('UPDATE lonely SET v = 2'));
      wire.send(...messages);
      await wire.answers.has('error ERROR 0A000');
      await wire.answers.has('ready E');
      wire.answers.take();
      t.is((await wire.ask(say.query('ROLLBACK'))).at(-2), 'done ROLLBACK');
    }
    t.deepEqual(await mesh.dump(), before);
    await mesh.end(gid, 'rollback');
  },
);

test.serial('a gid in the middle of a pipeline that has gone through ends the session', async (t) => {
  const mesh = await meshOf(18);
  const before = await mesh.dump();
  const gid = await mesh.begin();
  await using wire = await openWire(mesh.through);
  wire.send(...say.run('UPDATE lonely SET v = 7'), say.flush);
  await wire.answers.has('done UPDATE 1');
  wire.send(...say.run(commented('DELETE FROM tree', gid)), say.sync);
  await wire.answers.has('error FATAL 0A000');
  await wire.answers.ready(1);
  t.true(wire.answers.isClosed);
  await mesh.owner.query('BEGIN; LOCK TABLE lonely; COMMIT');
  t.deepEqual(await mesh.dump(), before, 'the server has undone what had gone through');
  await mesh.end(gid, 'rollback');
});
