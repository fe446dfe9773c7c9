import { connect } from 'node:net';
import test from 'ava';
import pg from 'pg';
import { NOTHING_LEFT, type Mesh } from './mesh.ts';
import { commented, reset, startShopMesh } from './prove.ts';
import { openWire, say } from './wire-client.ts';

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

/** What gives a local transaction a number and changes no rows. It may be what comes first behind the name of the gid. */
const NUMBERED = [
  "SELECT nextval('counter')",
  'SELECT qty FROM item WHERE id = 1 FOR UPDATE',
  'CREATE TEMP TABLE scratch (id int) ON COMMIT DROP',
  'LOCK TABLE item',
  'EXPLAIN ANALYZE SELECT qty FROM item FOR UPDATE',
];

/** Ways to name a gid behind a plain BEGIN: ahead of the statement, or in a comment on it. */
const BEHIND_BEGIN: Readonly<Record<string, (gid: string, sql: string) => readonly string[]>> = {
  'by SET LOCAL': (gid, sql) => [`SET LOCAL atomesh.gid = '${gid}'`, sql],
  'by set_config': (gid, sql) => [`SELECT set_config('atomesh.gid', '${gid}', true)`, sql],
  'in a comment': (gid, sql) => [commented(sql, gid)],
};

for (const [title, named] of Object.entries(BEHIND_BEGIN)) {
  test.serial(`what takes a number behind the name of the gid is no earlier change: ${title}`, async (t) => {
    await mesh.owner.query('CREATE SEQUENCE IF NOT EXISTS counter');
    const before = await mesh.dump();
    for (const protocol of ['simple', 'extended'] as const) {
      for (const sql of NUMBERED) {
        const what = `${protocol}: ${sql}`;
        const gid = await mesh.begin();
        await using wire = await openWire(mesh.through);
        const run = (text: string): Promise<readonly string[]> =>
          protocol === 'simple' ? wire.ask(say.query(text)) : wire.ask(...say.run(text), say.sync);
        const lines: string[] = [];
        for (const text of ['BEGIN', ...named(gid, sql), ADD, 'COMMIT']) lines.push(...(await run(text)));
        t.deepEqual(
          lines.filter((line) => line.startsWith('error')),
          [],
          what,
        );
        t.true(lines.includes('done UPDATE 1') && lines.includes('done COMMIT'), what);
        await mesh.end(gid, 'rollback');
        t.deepEqual(await mesh.dump(), before, what);
      }
    }
  });
}

test.serial('a change ahead of the name of the gid is noticed, whatever comes between', async (t) => {
  const before = await mesh.dump();
  for (const between of ['SELECT 1', 'SELECT qty FROM item WHERE id = 1 FOR UPDATE']) {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query('BEGIN');
    await client.query(ADD);
    await client.query(`SET LOCAL atomesh.gid = '${gid}'`);
    await client.query(between);
    t.is((await t.throwsAsync<pg.DatabaseError>(client.query(ADD)))?.code, '25000', between);
    await client.query('ROLLBACK');
    await client.end();
    await mesh.end(gid, 'rollback');
  }
  t.deepEqual(await mesh.dump(), before);
});

test.serial('the isolation may be set behind the name of the gid', async (t) => {
  const gid = await mesh.begin();
  const client = await mesh.client();
  await client.query('BEGIN');
  await client.query(`SET LOCAL atomesh.gid = '${gid}'`);
  await client.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
  const { rows } = await client.query('SHOW transaction_isolation');
  t.deepEqual(rows, [{ transaction_isolation: 'serializable' }]);
  await client.query('COMMIT');
  await client.end();
  await mesh.end(gid, 'commit');
});

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
