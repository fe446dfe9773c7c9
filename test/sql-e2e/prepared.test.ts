import test, { type ExecutionContext } from 'ava';
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { NOTHING_LEFT, type Mesh } from './mesh.ts';
import { UPDATE } from './pipelines.ts';
import { commented, reset, sharedShopMeshes } from './prove.ts';
import { openWire, say, type WireClient } from './wire-client.ts';

const meshOf = sharedShopMeshes(test.after.always);

const CAPTURED = ['bind-complete', 'done UPDATE 1', 'ready T'];

/** Runs a statement of that name inside a gid: it must be captured, and undone. */
async function isCaptured(t: ExecutionContext, mesh: Mesh, wire: WireClient, name: string): Promise<void> {
  const before = await mesh.dump();
  const gid = await mesh.begin();
  await wire.ask(say.query(commented('BEGIN', gid)));
  const run = [say.bind([1], name), say.execute(), say.sync];
  t.deepEqual(await wire.ask(...run), CAPTURED);
  t.deepEqual(await wire.ask(...run), CAPTURED);
  await wire.ask(say.query('COMMIT'));
  t.is(await mesh.leftovers(), '2 records, 1 locks');
  await mesh.end(gid, 'rollback');
  t.is(await mesh.leftovers(), NOTHING_LEFT);
  t.deepEqual(await mesh.dump(), before);
}

/** So many prepared statements that the first ones are no longer remembered. */
function many(): readonly FrontendMessage[] {
  return [...Array.from({ length: 2_100 }, (_, count) => say.parse('SELECT 1', `many_${count}`)), say.sync];
}

for (const major of [18, 14] as const) {
  test.serial(`of two texts under one name the one that the server kept is run, on PostgreSQL ${major}`, async (t) => {
    const mesh = await meshOf(major);
    await using wire = await openWire(mesh.through);
    await wire.ask(say.parse(UPDATE, 'u'), say.sync);
    const second = await wire.ask(say.parse('SELECT $1', 'u'), say.sync);
    t.true(second[0]?.startsWith('error ERROR 42P05'), second.join(' / '));
    await isCaptured(t, mesh, wire, 'u');
    await wire.ask(say.query('DEALLOCATE u'), say.parse(UPDATE, 'u'), say.sync);
    await isCaptured(t, mesh, wire, 'u');
  });

  test.serial(`a statement that is not remembered is captured as if it were, on PostgreSQL ${major}`, async (t) => {
    const mesh = await meshOf(major);
    await using wire = await openWire(mesh.through);
    // Some other one is deallocated, and which one cannot be told.
    await wire.ask(say.parse(UPDATE, 'u'), say.parse('SELECT 1', 'other'), say.sync, say.query('DEALLOCATE other'));
    await isCaptured(t, mesh, wire, 'u');
    await wire.ask(...many());
    await isCaptured(t, mesh, wire, 'u');
    // The answer to what drops all of them comes when the next one has gone through.
    const discarded = [say.query('DISCARD ALL'), say.parse(UPDATE, 'u'), say.sync];
    t.true((await wire.ask(...discarded)).includes('parse-complete'));
    await isCaptured(t, mesh, wire, 'u');
    await wire.ask(say.close('u'), say.sync, say.query(`PREPARE "größe" (int) AS ${UPDATE}`));
    await wire.ask(say.query('DEALLOCATE "größe"'), say.parse(UPDATE, 'größe'), say.sync, ...many());
    await isCaptured(t, mesh, wire, 'größe');
  });
}

test.serial(
  'a statement that is not remembered is captured in the middle of a pipeline, and without a block',
  async (t) => {
    const mesh = await meshOf(18);
    await using wire = await openWire(mesh.through);
    const before = await mesh.dump();
    await wire.ask(say.parse(UPDATE, 'u'), say.parse('BEGIN', 'b'), say.parse('COMMIT', 'c'), ...many());
    const gid = await mesh.begin();
    const lines = await wire.ask(
      ...say.run(commented('SELECT 1', gid)),
      say.bind([], 'b'),
      say.execute(),
      ...say.run(commented('SELECT 1', gid)),
      say.bind([1], 'u'),
      say.execute(),
      say.bind([2], 'u'),
      say.execute(),
      say.bind([], 'c'),
      say.execute(),
      say.sync,
    );
    t.deepEqual(
      lines.filter((line) => line.startsWith('done') || line.startsWith('error')),
      ['done SELECT 1', 'done BEGIN', 'done SELECT 1', 'done UPDATE 1', 'done UPDATE 1', 'done COMMIT'],
    );
    t.is(lines.at(-1), 'ready I');
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.dump(), before);
    await reset(mesh);
  },
);

test.serial('a statement that names a gid does so when it is no longer remembered', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const before = await mesh.dump();
  const gid = await mesh.begin();
  await wire.ask(
    say.parse(commented(UPDATE, gid), 'commented'),
    say.parse("SELECT set_config('atomesh.gid', $1, true)", 'set'),
    say.parse('SELECT set_config($1, $2, true)', 'hidden'),
    say.sync,
  );
  await wire.ask(...many());
  t.deepEqual(await wire.ask(say.bind([1], 'commented'), say.execute(), say.sync), [
    'bind-complete',
    'done UPDATE 1',
    'ready I',
  ]);
  await wire.ask(say.query('BEGIN'), say.bind([gid], 'set'), say.execute(), say.sync);
  t.deepEqual(await wire.ask(say.query(UPDATE.replace('$1', '2'))), ['done UPDATE 1', 'ready T']);
  await wire.ask(say.query('COMMIT'));
  t.is(await mesh.leftovers(), '2 records, 2 locks');
  const hidden = await wire.ask(say.bind(['atomesh.gid', gid], 'hidden'), say.execute(), say.sync);
  t.true(hidden[0]?.startsWith('error ERROR 0A000'), hidden.join(' / '));
  await mesh.end(gid, 'rollback');
  t.deepEqual(await mesh.dump(), before);
  // Where names have been lost, what is not remembered runs as ever when it turns out to name no gid.
  await wire.ask(say.parse('SELECT $1', 'plain'), say.parse('SELECT 1', 'other'), say.sync);
  await wire.ask(say.query('DEALLOCATE other'));
  const plain = await wire.ask(say.bind(['as ever'], 'plain'), say.execute(), say.sync);
  t.deepEqual(plain, ['bind-complete', 'row ["as ever"]', 'done SELECT 1', 'ready I']);
});

test.serial('a statement that the server does not have gets the error of the server', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const gid = await mesh.begin();
  await wire.ask(say.parse(UPDATE, 'u'), say.sync, say.query('DEALLOCATE u'));
  for (const name of ['u', 'never', 'x'.repeat(100)]) {
    await wire.ask(say.query(commented('BEGIN', gid)));
    const lines = await wire.ask(say.bind([1], name), say.execute(), say.sync);
    t.true(lines[0]?.startsWith('error ERROR 26000'), lines.join(' / '));
    t.is(lines.at(-1), 'ready E');
    const failed = await wire.ask(say.bind([1], name), say.execute(), say.sync);
    t.true(failed.at(-2)?.startsWith('error ERROR'), failed.join(' / '));
    await wire.ask(say.query('ROLLBACK'));
  }
  await mesh.end(gid, 'rollback');
});

test.serial('a statement whose Parse the server skipped behind an error is not run as if it were there', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const gid = await mesh.begin();
  await wire.ask(say.query(commented('BEGIN', gid)));
  await wire.ask(say.parse('SELECT nonsense', 'n'), say.parse(UPDATE, 'u'), say.sync);
  await wire.ask(say.query('ROLLBACK'), say.query(commented('BEGIN', gid)));
  const answers = await wire.ask(say.bind([1], 'u'), say.execute(), say.sync);
  t.true(answers[0]?.startsWith('error ERROR 26000'), answers.join(' / '));
  await wire.ask(say.query('ROLLBACK'));
  t.is(await mesh.leftovers(), NOTHING_LEFT);
});

test.serial(
  'a text that the server refused under a name which was forgotten is not taken for what it has',
  async (t) => {
    const mesh = await meshOf(18);
    await using wire = await openWire(mesh.through);
    await wire.ask(say.parse(UPDATE, 'u'), say.parse('SELECT 1', 'other'), say.sync, say.query('DEALLOCATE other'));
    const second = await wire.ask(say.parse('SELECT $1', 'u'), say.sync);
    t.true(second[0]?.startsWith('error ERROR 42P05'), second.join(' / '));
    await isCaptured(t, mesh, wire, 'u');
    // A Close that the server skips behind an error.
    await wire.ask(say.parse('SELEKT', 'x'), say.close('u'), say.sync);
    await wire.ask(say.parse('SELECT $1', 'u'), say.sync);
    await isCaptured(t, mesh, wire, 'u');
    // SQL has prepared it, unseen.
    await wire.ask(say.query(`PREPARE v (int) AS ${UPDATE}`), say.parse('SELECT $1', 'v'), say.sync);
    await isCaptured(t, mesh, wire, 'v');
  },
);
