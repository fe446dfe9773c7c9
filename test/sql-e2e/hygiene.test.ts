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

/** How a request of an application uses the pooled connection, with a gid and without. */
const REQUESTS: Readonly<Record<string, (client: pg.PoolClient, gid: string | undefined) => Promise<void>>> = {
  async 'a comment'(client, gid) {
    await client.query(gid === undefined ? ADD : commented(ADD, gid));
  },
  async 'a comment on a statement with parameters'(client, gid) {
    const text = 'UPDATE item SET qty = qty + $1 WHERE id = $2';
    await client.query(gid === undefined ? text : commented(text, gid), [1, 1]);
  },
  async 'a comment on BEGIN'(client, gid) {
    await client.query(gid === undefined ? 'BEGIN' : commented('BEGIN', gid));
    await client.query({ name: 'add', text: 'UPDATE item SET qty = qty + $1 WHERE id = 1', values: [1] });
    await client.query('COMMIT');
  },
  async 'set_config in a block'(client, gid) {
    await client.query('BEGIN');
    if (gid !== undefined) await client.query("SELECT set_config('atomesh.gid', $1, true)", [gid]);
    await client.query({ name: 'add', text: 'UPDATE item SET qty = qty + $1 WHERE id = 1', values: [1] });
    await client.query('COMMIT');
  },
  async 'a session variable'(client, gid) {
    if (gid !== undefined) await client.query(`SET atomesh.gid = '${gid}'`);
    await client.query(ADD);
    if (gid !== undefined) await client.query('RESET atomesh.gid');
  },
  async 'a session variable that DISCARD ALL takes away'(client, gid) {
    if (gid !== undefined) await client.query(`SET atomesh.gid = '${gid}'`);
    await client.query(ADD);
    await client.query('DISCARD ALL');
  },
  async 'a block that fails'(client, gid) {
    await client.query(gid === undefined ? 'BEGIN' : commented('BEGIN', gid));
    await client.query('SELECT 1 / 0').catch(() => undefined);
    await client.query('ROLLBACK');
    await client.query(gid === undefined ? ADD : commented(ADD, gid));
  },
};

for (const [name, request] of Object.entries(REQUESTS)) {
  test.serial(`requests with and without a gid take turns on one connection: ${name}`, async (t) => {
    const pool = new pg.Pool({ ...mesh.through, max: 1 });
    const gids = [];
    for (let turn = 0; turn < 12; turn += 1) {
      const gid = turn % 3 === 0 ? undefined : await mesh.begin();
      const client = await pool.connect();
      await request(client, gid);
      client.release();
      if (gid !== undefined) gids.push(gid);
      const { rows } = await mesh.owner.query<{ count: number }>('SELECT count(*)::int FROM atomesh.undo_record');
      t.is(rows[0]?.count, gid === undefined ? 0 : 1, `turn ${turn}`);
      if (gid !== undefined) await mesh.end(gid, turn % 3 === 1 ? 'rollback' : 'commit');
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    }
    const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id = 1');
    t.deepEqual(rows, [{ qty: 1 + 8 }], 'four without a gid, four that committed');
    await pool.end();
  });
}

test.serial('what follows a local transaction of a gid is not captured, however that ended', async (t) => {
  const client = await mesh.client();
  const gid = await mesh.begin();
  for (const end of ['COMMIT', 'ROLLBACK', 'END', 'ABORT', 'COMMIT AND NO CHAIN']) {
    await client.query(commented('BEGIN', gid));
    await client.query('UPDATE "Order Line" SET note = \'n\'');
    await client.query(end);
    const { rows: first } = await mesh.owner.query('SELECT count(*)::int AS count FROM atomesh.undo_record');
    await client.query('BEGIN');
    await client.query(ADD);
    await client.query('COMMIT');
    await client.query(ADD);
    await client.query({ text: ADD, queryMode: 'extended' } as pg.QueryConfig);
    const { rows: second } = await mesh.owner.query('SELECT count(*)::int AS count FROM atomesh.undo_record');
    t.deepEqual(second, first, end);
  }
  await mesh.end(gid, 'rollback');
  const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id = 1');
  t.deepEqual(rows, [{ qty: 1 + 15 }]);
  await client.end();
});

test.serial(
  'the comment of a statement that was prepared for an earlier gid protects or refuses, and never runs bare',
  async (t) => {
    const client = await mesh.client();
    const [earlier, later] = [await mesh.begin(), await mesh.begin()];
    const marked = { name: 'marked', text: commented(ADD, earlier), values: [] };
    await client.query(marked);
    await mesh.end(earlier, 'commit');
    t.is(await mesh.leftovers(), NOTHING_LEFT);
    // The session says something newer.
    await client.query(commented('BEGIN', later));
    await client.query(marked);
    await client.query('COMMIT');
    const { rows: records } = await mesh.owner.query('SELECT gid FROM atomesh.undo_record');
    t.deepEqual(records, [{ gid: later }]);
    await mesh.end(later, 'rollback');
    // It says nothing.
    const error = await client.query(marked).catch((each: pg.DatabaseError) => each);
    t.is((error as pg.DatabaseError).code, '40000');
    t.is((await client.query(ADD)).rowCount, 1);
    const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id = 1');
    t.deepEqual(rows, [{ qty: 3 }]);
    await client.end();
  },
);

test.serial('a session variable outlives local transactions, and does not hold up the end of its gid', async (t) => {
  const client = await mesh.client();
  for (const outcome of ['commit', 'rollback'] as const) {
    const gid = await mesh.begin();
    await client.query(`SET atomesh.gid = '${gid}'`);
    await client.query(ADD);
    await client.query('BEGIN');
    await client.query(ADD);
    await client.query('COMMIT');
    await mesh.end(gid, outcome);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
    const late = await client.query(ADD).catch((error: pg.DatabaseError) => error);
    t.is((late as pg.DatabaseError).code, '40000', 'the variable is still there, and its gid is over');
    t.is((await client.query('SELECT 1')).rowCount, 1);
  }
  await client.query('RESET atomesh.gid');
  t.is((await client.query(ADD)).rowCount, 1);
  const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id = 1');
  t.deepEqual(rows, [{ qty: 4 }]);
  await client.end();
});

test.serial('a session variable that was set in a rolled back block is as it was before', async (t) => {
  const client = await mesh.client();
  const [one, two] = [await mesh.begin(), await mesh.begin()];
  const captured = async (): Promise<unknown> => {
    const { rows } = await mesh.owner.query('SELECT gid FROM atomesh.undo_record ORDER BY position');
    return rows.map((row: { gid: string }) => (row.gid === one ? 'one' : 'two'));
  };
  await client.query('BEGIN');
  await client.query(`SET atomesh.gid = '${one}'`);
  await client.query('ROLLBACK');
  await client.query(ADD);
  t.deepEqual(await captured(), []);
  await client.query('BEGIN');
  await client.query(`SET atomesh.gid = '${one}'`);
  await client.query('COMMIT');
  await client.query(ADD);
  t.deepEqual(await captured(), ['one']);
  await client.query('BEGIN');
  await client.query(`SELECT set_config('atomesh.gid', '${two}', false)`);
  await client.query('SELECT 1 / 0').catch(() => undefined);
  await client.query('COMMIT');
  await client.query(ADD);
  t.deepEqual(await captured(), ['one', 'one']);
  const { rows } = await client.query("SELECT current_setting('atomesh.gid') AS gid");
  t.deepEqual(rows, [{ gid: one }], 'as the server sees it');
  await client.end();
  await mesh.end(one, 'rollback');
  await mesh.end(two, 'rollback');
  t.is(await mesh.leftovers(), NOTHING_LEFT);
});

test.serial(
  'two sessions of one gid share its branch, and the second waits for the first only at its first change',
  async (t) => {
    const before = await mesh.dump();
    const gid = await mesh.begin();
    const [one, two] = [await mesh.client(), await mesh.client()];
    await one.query(commented('UPDATE lonely SET v = 2', gid));
    for (const client of [one, two]) await client.query(commented('BEGIN', gid));
    await one.query(ADD);
    await two.query('UPDATE item SET qty = qty + 1 WHERE id = 2');
    await two.query('UPDATE lonely SET v = v + 2');
    await two.query('COMMIT');
    await one.query('UPDATE lonely SET v = v * 2');
    await one.query('COMMIT');
    t.deepEqual((await mesh.dump())['lonely'], ['(lonely,8)']);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.dump(), before);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
    await Promise.all([one.end(), two.end()]);
  },
);

test.serial(
  'without a gid nothing is planned, and a pipeline of prepared statements goes through as it came',
  async (t) => {
    await using through = await openWire(mesh.through);
    await using direct = await openWire(mesh.direct);
    const messages = [
      say.parse('UPDATE item SET qty = qty + $1 WHERE id = 1 RETURNING qty', 'a'),
      say.bind([1], 'a', 'p'),
      say.describe('p'),
      say.execute(1, 'p'),
      say.bind([2], 'a'),
      say.execute(),
      say.close('p', 'portal'),
      say.sync,
      say.query('SELECT 1; TRUNCATE tree; SELECT 2'),
    ];
    t.deepEqual(await through.ask(...messages), await direct.ask(...messages));
  },
);
