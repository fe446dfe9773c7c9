import test from 'ava';
import { SCRIPTS, setGid, UPDATE } from './pipelines.ts';
import { commented, proveScript, reset, sharedShopMeshes } from './prove.ts';
import { NOTHING_LEFT } from './mesh.ts';
import { openWire, say } from './wire-client.ts';

const meshOf = sharedShopMeshes(test.after.always);

for (const major of [18, 14] as const) {
  test.serial(
    `pipelines in any order are answered, kept and undone as without a sidecar on PostgreSQL ${major}`,
    async (t) => {
      const mesh = await meshOf(major);
      for (const [name, script] of Object.entries(SCRIPTS)) await proveScript(t, mesh, name, script);
    },
  );
}

test.serial('the unnamed statement outlives the global transaction in which it was run', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  await wire.ask(say.parse('BEGIN', 'b'), say.parse("SELECT set_config('atomesh.gid', $1, true)", 'g'), say.sync);
  await wire.ask(say.parse('COMMIT', 'c'), say.parse(UPDATE), say.sync);
  const gid = await mesh.begin();
  const inside = await wire.ask(
    say.bind([], 'b'),
    say.execute(),
    say.bind([gid], 'g'),
    say.execute(),
    say.bind([1]),
    say.execute(),
    say.sync,
    say.bind([], 'c'),
    say.execute(),
    say.sync,
  );
  t.deepEqual(
    inside.filter((line) => line.startsWith('done')),
    ['done BEGIN', 'done SELECT 1', 'done UPDATE 1', 'done COMMIT'],
  );
  t.is(await mesh.leftovers(), '1 records, 1 locks');
  const outside = await wire.ask(say.bind([2]), say.execute(), say.sync);
  t.deepEqual(outside, ['bind-complete', 'done UPDATE 1', 'ready I']);
  t.is(await mesh.leftovers(), '1 records, 1 locks', 'the later run belongs to no gid');
  await mesh.end(gid, 'rollback');
  const { rows } = await mesh.owner.query('SELECT id, qty FROM item WHERE id < 3 ORDER BY id');
  t.deepEqual(rows, [
    { id: 1, qty: 1 },
    { id: 2, qty: 3 },
  ]);
});

test.serial('a pipeline without a block whose gid is rolled back before its Sync ends with the error', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const before = await mesh.dump();
  const gid = await mesh.begin();
  wire.send(...say.run(commented(UPDATE, gid), [1]), say.flush);
  await wire.answers.has('done UPDATE 1');
  await mesh.end(gid, 'rollback');
  const lines = await wire.ask(...say.run(UPDATE, [2]), say.sync);
  t.true(lines.at(-2)?.startsWith('error ERROR 40000'), lines.join(' / '));
  t.is(lines.at(-1), 'ready I');
  t.deepEqual(await mesh.dump(), before);
  t.deepEqual((await wire.ask(...say.run(UPDATE, [2]), say.sync)).slice(-2), ['done UPDATE 1', 'ready I']);
  await reset(mesh);
});

test.serial('behind a COMMIT in the same pipeline the gid of the block is gone', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const gid = await mesh.begin();
  const lines = await wire.ask(
    ...say.run(commented('BEGIN', gid)),
    ...say.run(UPDATE, [1]),
    ...say.run('COMMIT'),
    ...say.run(UPDATE, [2]),
    say.sync,
  );
  t.deepEqual(lines.slice(-4), ['bind-complete', 'no-data', 'done UPDATE 1', 'ready I']);
  t.is(await mesh.leftovers(), '1 records, 1 locks');
  await mesh.end(gid, 'rollback');
  const { rows } = await mesh.owner.query('SELECT id, qty FROM item WHERE id < 3 ORDER BY id');
  t.deepEqual(rows, [
    { id: 1, qty: 1 },
    { id: 2, qty: 3 },
  ]);
});

test.serial('a gid that is named behind changes of the same pipeline undoes them and is refused', async (t) => {
  const mesh = await meshOf(18);
  const before = await mesh.dump();
  for (const name of ['comment', 'set_config', 'prepared'] as const) {
    await using wire = await openWire(mesh.through);
    const gid = await mesh.begin();
    await wire.ask(say.parse(commented(UPDATE, gid), 'marked'), say.sync);
    const naming = {
      comment: say.run(commented(UPDATE, gid), [2]),
      set_config: [...setGid(gid), ...say.run(UPDATE, [2])],
      prepared: [say.bind([2], 'marked'), say.execute()],
    }[name];
    const lines = await wire.ask(...say.run(UPDATE, [1]), ...naming, ...say.run(UPDATE, [3]), say.sync);
    t.true(lines.at(-2)?.startsWith('error ERROR 25000'), `${name}: ${lines.join(' / ')}`);
    t.is(lines.at(-1), 'ready I');
    t.deepEqual(await mesh.dump(), before, name);
    await mesh.end(gid, 'rollback');
  }
});

test.serial('a refusal in a pipeline undoes what ran before it', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const before = await mesh.dump();
  const gid = await mesh.begin();
  const lines = await wire.ask(
    ...say.run(UPDATE, [1]),
    ...say.run(commented('TRUNCATE lonely', gid)),
    ...say.run(UPDATE, [2]),
    say.sync,
    say.query('SELECT 1'),
  );
  t.true(
    lines.some((line) => line.startsWith('error ERROR 0A000')),
    lines.join(' / '),
  );
  t.deepEqual(
    lines.slice(-4),
    ['ready I', 'fields ?column?:23:4:-1:0', 'row ["1"]', 'done SELECT 1'].concat('ready I').slice(-4),
  );
  t.deepEqual(await mesh.dump(), before);
  await mesh.end(gid, 'rollback');
});

test.serial('a portal that was bound before the gid was named does not run inside it', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const before = await mesh.dump();
  const gid = await mesh.begin();
  await wire.ask(say.parse(UPDATE, 'u'), say.parse("SELECT set_config('atomesh.gid', $1, true)", 'g'), say.sync);
  for (const block of [[], say.run('BEGIN')]) {
    const lines = await wire.ask(
      ...block,
      say.bind([1], 'u', 'early'),
      say.bind([gid], 'g'),
      say.execute(),
      say.execute(0, 'early'),
      say.sync,
    );
    t.true(lines.at(-2)?.startsWith('error ERROR 0A000'), lines.join(' / '));
    await wire.ask(say.query('ROLLBACK'));
  }
  t.deepEqual(await mesh.dump(), before);
  t.is(await mesh.leftovers(), NOTHING_LEFT);
  await mesh.end(gid, 'rollback');
  await reset(mesh);
});
