/** Writers outside any global transaction wait for row locks under `writersOutside: wait`: against a real database, by both protocols. */
import test from 'ava';
import type pg from 'pg';
import { until } from '../../examples/support/until.ts';
import type { LockPage } from '../../src/contract/locks.ts';
import { NOTHING_LEFT, startMesh, type Mesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';

const MAJORS = [14, 18] as const;
const SCHEMA = `CREATE TABLE item (id int PRIMARY KEY, qty int, note text UNIQUE);
  CREATE TABLE source (id int, qty int);
  CREATE TABLE part (id int, k int, v int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
  CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
  INSERT INTO item SELECT i, i * 10, 'n' || i FROM generate_series(1, 6) i;
  INSERT INTO source VALUES (1, 7), (2, 8); INSERT INTO part VALUES (1, 1, 1);`;
const meshes = new Map<number, Mesh>();

test.before(async () => {
  const started = MAJORS.map(async (major) => {
    const tables = ['item', 'part'];
    const database = { writersOutside: 'wait' };
    meshes.set(major, await startMesh({ major, schema: SCHEMA, tables, lockTimeoutMs: 15_000, database }));
  });
  await Promise.all(started);
});
test.after.always(async () => {
  for (const mesh of meshes.values()) await mesh[Symbol.asyncDispose]();
});

function meshOf(major: number): Mesh {
  const mesh = meshes.get(major);
  if (mesh === undefined) throw new Error(`no mesh of ${major}`);
  return mesh;
}

type Ask = (client: pg.Client, text: string) => Promise<pg.QueryResult>;

/** The types of the driver do not know of it. */
function extended(client: pg.Client, text: string): Promise<pg.QueryResult> {
  const query = { text, queryMode: 'extended' };
  return client.query(query);
}

const WAYS: Readonly<Record<string, Ask>> = {
  simple: (client, text) => client.query(text),
  extended,
  prepared: (client, text) => client.query({ name: Buffer.from(text).toString('base64').slice(0, 60), text }),
  'in a block': async (client, text) => {
    await client.query('BEGIN');
    const result = await extended(client, text);
    await client.query('COMMIT');
    return result;
  },
};

/** Each touches row 1 of item, of which it finds 11 or 10. */
const WRITERS: readonly { readonly text: string; readonly since?: number }[] = [
  { text: 'UPDATE item SET qty = qty + 1 WHERE id = 1' },
  {
    text: 'UPDATE item AS i SET qty = i.qty + s.qty FROM source s WHERE s.id = i.id AND s.id = 1 RETURNING i.qty AS n, s.*',
  },
  { text: 'DELETE FROM item WHERE id = 1 RETURNING *' },
  { text: 'DELETE FROM item USING source AS s WHERE s.id = item.id AND s.qty = 7' },
  {
    text: "INSERT INTO item VALUES (1, 5, 'new') ON CONFLICT (id) DO UPDATE SET qty = item.qty + excluded.qty RETURNING qty",
  },
  {
    text: "INSERT INTO item AS i VALUES (1, 5, 'new') ON CONFLICT (id) DO UPDATE SET qty = 1 WHERE i.qty > 10 -- many\n",
  },
  { text: 'WITH gone AS (DELETE FROM item WHERE id = 1 RETURNING qty) SELECT qty + 1 AS more FROM gone' },
  { text: 'SELECT qty FROM item WHERE id = 1 FOR UPDATE' },
  { text: 'SELECT i.qty FROM item i JOIN source USING (id) WHERE id = 1 ORDER BY 1 LIMIT 3 FOR SHARE OF i' },
  {
    text: `MERGE INTO item AS i USING source AS s ON i.id = s.id WHEN MATCHED AND CASE WHEN s.id = 1 THEN true END THEN UPDATE SET qty = i.qty + 1
      WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.qty, 'm')`,
    since: 15,
  },
  { text: 'MERGE INTO item i USING (VALUES (1)) AS s (id) ON i.id = s.id WHEN MATCHED THEN DELETE', since: 15 },
];

function answer({ rows, rowCount, command, fields }: pg.QueryResult): unknown {
  return { rows, rowCount, command, fields: fields.map(({ name, dataTypeID }) => [name, dataTypeID]) };
}

/** Resolves once a statement waits for the gid. */
async function isWaitedFor(mesh: Mesh, gid: string): Promise<void> {
  await until('somebody waits', async () => {
    const response = await fetch(`http://127.0.0.1:${mesh.admin}/locks?gid=${gid}`);
    const { locks } = (await response.json()) as LockPage;
    return locks.some(({ waiting }) => waiting.length > 0) ? true : undefined;
  });
}

async function restore(mesh: Mesh): Promise<void> {
  for (const client of [mesh.owner, mesh.twin]) {
    await client.query(
      "DELETE FROM item; DELETE FROM part; INSERT INTO item SELECT i, i * 10, 'n' || i FROM generate_series(1, 6) i; INSERT INTO part VALUES (1, 1, 1)",
    );
  }
}

for (const major of MAJORS) {
  for (const [way, ask] of Object.entries(WAYS)) {
    for (const outcome of ['commit', 'rollback'] as const) {
      test.serial(
        `a writer outside waits for ${outcome}, and gets what it would get behind it, ${way}, PostgreSQL ${major}`,
        async (t) => {
          const mesh = meshOf(major);
          const [holding, writing] = [await mesh.client(), await mesh.client()];
          for (const { text, since = 14 } of WRITERS) {
            if (major < since) continue;
            await restore(mesh);
            const holder = await mesh.begin();
            await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
            const written = ask(writing, text);
            await isWaitedFor(mesh, holder);
            await mesh.end(holder, outcome);
            if (outcome === 'commit') await mesh.twin.query('UPDATE item SET qty = 11 WHERE id = 1');
            t.deepEqual(answer(await written), answer(await ask(mesh.twin, text)), text);
            t.deepEqual(await mesh.dump(), await mesh.dump(mesh.twin), text);
            t.is(await mesh.leftovers(), NOTHING_LEFT);
          }
        },
      );
    }
  }
}

interface Failure {
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  readonly position: string | undefined;
}

async function failureOf(promise: Promise<unknown>): Promise<Failure | undefined> {
  return promise.then(
    () => undefined,
    ({ code, message, hint, position }: pg.DatabaseError) => ({ code, message, hint, position }),
  );
}

for (const major of MAJORS) {
  test.serial(
    `a writer outside that waits holds no row of the table, and its block goes on behind the rollback, PostgreSQL ${major}`,
    async (t) => {
      const mesh = meshOf(major);
      await restore(mesh);
      const [holding, writing] = [await mesh.client(), await mesh.client()];
      const holder = await mesh.begin();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
      await writing.query("BEGIN; UPDATE item SET note = 'mine' WHERE id = 2");
      const written = writing.query('UPDATE item SET qty = qty + 1 WHERE id IN (1, 3) RETURNING id, qty');
      await isWaitedFor(mesh, holder);
      const { rows } = await mesh.owner.query('SELECT id FROM item ORDER BY id FOR UPDATE SKIP LOCKED');
      t.deepEqual(
        rows.map(({ id }) => id),
        [1, 3, 4, 5, 6],
        'what its own block had before, and nothing else',
      );
      const from = Date.now();
      await mesh.end(holder, 'rollback');
      t.true(Date.now() - from < 7_000, 'the rollback waits for nobody');
      t.deepEqual(
        (await written).rows.toSorted((a, b) => a.id - b.id),
        [
          { id: 1, qty: 11 },
          { id: 3, qty: 31 },
        ],
      );
      await writing.query('COMMIT');
      t.deepEqual((await mesh.owner.query('SELECT qty, note FROM item WHERE id < 3 ORDER BY id')).rows, [
        { qty: 11, note: 'n1' },
        { qty: 20, note: 'mine' },
      ]);
    },
  );

  test.serial(
    `those outside do not wait for NOWAIT, pass over with SKIP LOCKED, and want nothing of rows that nobody holds, PostgreSQL ${major}`,
    async (t) => {
      const mesh = meshOf(major);
      await restore(mesh);
      const [holding, client] = [await mesh.client(), await mesh.client()];
      const holder = await mesh.begin();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
      const failure = await failureOf(client.query('SELECT * FROM item WHERE id = 1 FOR UPDATE NOWAIT'));
      t.is(failure?.code, '55P03');
      t.true(failure?.message.includes(holder));
      const queue = await client.query('SELECT id FROM item ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED');
      t.deepEqual(queue.rows, [{ id: 2 }, { id: 3 }]);
      const others = await client.query(
        'UPDATE item SET qty = item.qty + 1 FROM (SELECT id + 1 AS id FROM source) s WHERE item.id = s.id AND item.id > 1',
      );
      t.is(others.rowCount, 2, 'rows that are not joined are not asked about');
      await client.query('DELETE FROM part');
      t.deepEqual(
        (await client.query('SELECT qty FROM item WHERE id = 1')).rows,
        [{ qty: 11 }],
        'a plain read waits for nobody',
      );
      await mesh.end(holder, 'rollback');
    },
  );

  test.serial(
    `a holder that is known to be committed gives way at once to a writer outside, PostgreSQL ${major}`,
    async (t) => {
      const mesh = meshOf(major);
      await restore(mesh);
      const [holding, writing] = [await mesh.client(), await mesh.client()];
      const holder = await mesh.begin();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
      // As long as somebody has the lock of its branch, the second phase cannot begin.
      await mesh.owner.query('BEGIN');
      await mesh.owner.query('SELECT FROM atomesh.branch_state WHERE gid = $1 FOR UPDATE', [holder]);
      await mesh.coordinator.submit(holder);
      t.is((await writing.query('UPDATE item SET qty = qty + 1 WHERE id = 1')).rowCount, 1);
      t.is((await extended(writing, 'UPDATE item SET qty = qty + 1 WHERE id = 1')).rowCount, 1);
      t.deepEqual((await mesh.owner.query('SELECT count(*)::int AS locks FROM atomesh.row_lock')).rows, [{ locks: 1 }]);
      await mesh.owner.query('COMMIT');
      await mesh.over(holder);
      t.deepEqual((await mesh.owner.query('SELECT qty FROM item WHERE id = 1')).rows, [{ qty: 13 }]);
    },
  );

  test.serial(
    `what cannot be given the condition passes as it came, and is not held up, PostgreSQL ${major}`,
    async (t) => {
      const mesh = meshOf(major);
      await restore(mesh);
      const [holding, client] = [await mesh.client(), await mesh.client()];
      const holder = await mesh.begin();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
      await client.query("INSERT INTO item VALUES (9, 9, 'n9') ON CONFLICT DO NOTHING");
      await client.query('DO $$ BEGIN UPDATE item SET note = note WHERE id = 1; END $$');
      await client.query('UPDATE item SET note = note WHERE id = 1; SELECT 1');
      await client.query('BEGIN; DECLARE c CURSOR FOR SELECT * FROM item WHERE id = 1 FOR UPDATE; FETCH c');
      t.is((await client.query('UPDATE item SET note = note WHERE CURRENT OF c')).rowCount, 1);
      await client.query('ROLLBACK; DELETE FROM item WHERE id = 9');
      await mesh.end(holder, 'rollback');
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    },
  );

  test.serial(`a writer outside hears the errors that it hears without a sidecar, PostgreSQL ${major}`, async (t) => {
    const mesh = meshOf(major);
    await restore(mesh);
    const client = await mesh.client();
    const texts = [
      "UPDATE item SET note = 'n2' WHERE id = 1",
      'UPDATE item SET qty = 1 / 0 WHERE id = 1',
      'UPDATE item SET nowhere = 1 WHERE id = 1',
      "/* ü𝄞 */ UPDATE item SET note = '𝄞' WHERE id = 1 RETURNING nowhere",
      'UPDATE nowhere SET qty = 1',
      'DELETE FROM item WHERE no_such_function(id)',
      'UPDATE item SET qty = $1 WHERE id = 1',
      'UPDATE item SET qty = 1 WHERE',
      'SELECT qty, count(*) FROM item GROUP BY qty FOR UPDATE',
    ];
    for (const ask of [WAYS['simple'], WAYS['extended']]) {
      if (ask === undefined) return t.fail();
      for (const text of texts) {
        const through = await failureOf(ask(client, text));
        t.deepEqual(through, await failureOf(ask(mesh.twin, text)), text);
        t.truthy(through, text);
      }
      await client.query('BEGIN');
      t.is((await failureOf(ask(client, texts[1] ?? '')))?.code, '22012');
      t.is((await failureOf(ask(client, 'UPDATE item SET qty = 1 WHERE id = 1')))?.code, '25P02');
      t.is((await client.query('COMMIT')).command, 'ROLLBACK');
    }
  });

  test.serial(
    `a table that changes under a session is no error to a writer outside, PostgreSQL ${major}`,
    async (t) => {
      const mesh = meshOf(major);
      const client = await mesh.client();
      for (const ask of Object.values(WAYS)) {
        await mesh.owner.query('CREATE TABLE moving (id int PRIMARY KEY, v int); INSERT INTO moving VALUES (1, 1)');
        t.is((await ask(client, 'UPDATE moving SET v = v + 1')).rowCount, 1);
        await mesh.owner.query('ALTER TABLE moving RENAME id TO number');
        t.is((await ask(client, 'UPDATE moving SET v = v + 1')).rowCount, 1, 'its key is called otherwise');
        await mesh.owner.query('ALTER TABLE moving DROP number');
        t.is((await ask(client, 'UPDATE moving SET v = v + 1')).rowCount, 1, 'it has none');
        t.deepEqual((await mesh.owner.query('SELECT v FROM moving')).rows, [{ v: 4 }]);
        await mesh.owner.query('DROP TABLE moving');
      }
    },
  );
}

test.serial(
  'a writer outside that waits too long fails with 55P03, which names the holder, and a block of its own with it',
  async (t) => {
    const database = { writersOutside: 'wait' };
    await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['item'], lockTimeoutMs: 200, database });
    const [holding, client] = [await mesh.client(), await mesh.client()];
    const holder = await mesh.begin();
    await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
    for (const ask of [WAYS['simple'], WAYS['extended']]) {
      if (ask === undefined) return t.fail();
      const alone = await failureOf(ask(client, 'UPDATE item SET qty = 5 WHERE id = 1'));
      t.is(alone?.code, '55P03');
      t.true(alone?.message.includes(holder));
      await client.query('BEGIN');
      await ask(client, 'UPDATE item SET qty = 5 WHERE id = 2');
      t.is((await failureOf(ask(client, 'DELETE FROM item WHERE id = 1')))?.code, '55P03');
      t.is((await failureOf(ask(client, 'SELECT 1')))?.code, '25P02');
      t.is((await client.query('COMMIT')).command, 'ROLLBACK');
    }
    await mesh.end(holder, 'rollback');
    t.deepEqual((await mesh.owner.query('SELECT qty FROM item WHERE id < 3 ORDER BY id')).rows, [
      { qty: 10 },
      { qty: 20 },
    ]);
  },
);

test.serial('without the option a writer outside goes ahead, and the rollback finds its branch dirty', async (t) => {
  await using mesh = await startMesh({ major: 18, schema: SCHEMA, tables: ['item'] });
  const [holding, client] = [await mesh.client(), await mesh.client()];
  const holder = await mesh.begin();
  await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
  t.is((await client.query('UPDATE item SET qty = 5 WHERE id = 1')).rowCount, 1);
  await mesh.coordinator.abort(holder, {});
  await until('the branch is dirty', async () => {
    const [branch] = (await mesh.coordinator.read(holder))?.branches ?? [];
    return branch?.status === 'dirty' ? true : undefined;
  });
  t.deepEqual((await mesh.owner.query('SELECT qty FROM item WHERE id = 1')).rows, [{ qty: 5 }]);
});
