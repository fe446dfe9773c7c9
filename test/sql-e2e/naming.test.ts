import { connect } from 'node:net';
import test from 'ava';
import pg from 'pg';
import { NOTHING_LEFT, type Mesh } from './mesh.ts';
import { reset, startShopMesh } from './prove.ts';

let mesh: Mesh;
test.before(async () => {
  mesh = await startShopMesh(18);
});
test.after.always(() => mesh[Symbol.asyncDispose]());
test.afterEach.always(() => reset(mesh));

const ADD = 'UPDATE item SET qty = qty + 1 WHERE id = 1';

/** Ways to name a gid that the server understands, so that the sidecar must. */
const SETTINGS: Readonly<Record<string, (gid: string) => string>> = {
  'in capitals': (gid) => `SET LOCAL ATOMESH.GID = '${gid}'`,
  'in quotes': (gid) => `SET LOCAL "atomesh"."gid" TO '${gid}'`,
  'with spaces': (gid) => `SET LOCAL atomesh . gid = '${gid}'`,
  'by SET_CONFIG in capitals': (gid) => `SELECT SET_CONFIG('Atomesh.Gid', '${gid}', true)`,
};

for (const [title, setting] of Object.entries(SETTINGS)) {
  test.serial(`the setting is recognised ${title}`, async (t) => {
    const before = await mesh.dump();
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query('BEGIN');
    await client.query(setting(gid));
    await client.query(ADD);
    await client.query('COMMIT');
    await client.end();
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.dump(), before);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  });
}

test.serial('a setting whose name only a parameter shows is refused, and nothing runs under it', async (t) => {
  const before = await mesh.dump();
  const gid = await mesh.begin();
  const client = await mesh.client();
  await client.query('BEGIN');
  const error = await t.throwsAsync(client.query('SELECT set_config($1, $2, true)', ['atomesh.gid', gid]));
  t.is((error as pg.DatabaseError).code, '0A000');
  await t.throwsAsync(client.query(ADD));
  await client.query('ROLLBACK');
  await client.query('SELECT set_config($1, $2, true)', ['application_name', 'other']);
  await client.end();
  t.deepEqual(await mesh.dump(), before);
  await mesh.end(gid, 'rollback');
});

test.serial('a gid among the start-up parameters is refused at the door', async (t) => {
  const client = new pg.Client({ ...mesh.through, options: '-c atomesh.gid=x' });
  const error = await t.throwsAsync(client.connect());
  t.is((error as pg.DatabaseError).code, '0A000');
});

test.serial('rolling back to a savepoint brings back the gid that was named before it', async (t) => {
  const before = await mesh.dump();
  const gid = await mesh.begin();
  const client = await mesh.client();
  await client.query('BEGIN');
  await client.query(`SET LOCAL atomesh.gid = '${gid}'`);
  await client.query('SAVEPOINT a');
  await client.query(`SET LOCAL atomesh.gid = ''`);
  await client.query('ROLLBACK TO SAVEPOINT a');
  await client.query(ADD);
  await client.query('COMMIT');
  await client.end();
  await mesh.end(gid, 'rollback');
  t.deepEqual(await mesh.dump(), before);
});

test.serial('a statement inside a global transaction can be cancelled', async (t) => {
  const gid = await mesh.begin();
  const client = await mesh.client();
  const other = await mesh.client();
  await client.query('BEGIN');
  await client.query(`SET LOCAL atomesh.gid = '${gid}'`);
  const started = performance.now();
  const sleeping = client.query('SELECT pg_sleep(20)');
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const cancel = (): void => {
    const socket = connect(mesh.through.port ?? 0, '127.0.0.1');
    const request = Buffer.alloc(16);
    for (const [index, word] of [16, 80_877_102, processID, secretKey].entries()) request.writeInt32BE(word, index * 4);
    socket.on('error', () => undefined).end(request);
  };
  const again = setInterval(cancel, 100);
  const error = await t.throwsAsync(sleeping);
  clearInterval(again);
  t.is((error as pg.DatabaseError).code, '57014');
  t.true(performance.now() - started < 10_000);
  await client.query('ROLLBACK');
  await Promise.all([client.end(), other.end()]);
  await mesh.end(gid, 'rollback');
});
