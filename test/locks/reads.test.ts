/** SELECT … FOR UPDATE and FOR SHARE inside a gid read what is decided: against a real database, by both protocols. */
import test from 'ava';
import type pg from 'pg';
import { until } from '../../examples/support/until.ts';
import type { LockPage } from '../../src/contract/locks.ts';
import { NOTHING_LEFT, startMesh, type Mesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';

const MAJORS = [14, 18] as const;
const meshes = new Map<number, Mesh>();

test.before(async () => {
  for (const major of MAJORS) {
    const mesh = await startMesh({
      major,
      schema: `CREATE TABLE item (id int PRIMARY KEY, qty int, note text);
        CREATE TABLE pair (a int, b text, v int, PRIMARY KEY (a, b));
        CREATE TABLE part (id int, k int, v int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
        CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
        CREATE TABLE keyless (v int); CREATE VIEW seen AS SELECT * FROM item;
        INSERT INTO item SELECT i, i * 10, 'n' || i FROM generate_series(1, 4) i;
        INSERT INTO pair VALUES (1, 'x', 1), (2, 'y', 2); INSERT INTO part VALUES (1, 1, 1); INSERT INTO keyless VALUES (1);`,
      tables: ['item', 'pair', 'part'],
      lockTimeoutMs: 15_000,
    });
    meshes.set(major, mesh);
  }
});
test.after.always(async () => {
  for (const mesh of meshes.values()) await mesh[Symbol.asyncDispose]();
});

function meshOf(major: number): Mesh {
  const mesh = meshes.get(major);
  if (mesh === undefined) throw new Error(`no mesh of ${major}`);
  return mesh;
}

/** Without ORDER BY the rows come as they lie. */
function sorted({ rows }: pg.QueryResult): readonly string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted();
}

type Ask = (client: pg.Client, text: string, id: number) => Promise<pg.QueryResult>;

const WAYS: Readonly<Record<string, Ask>> = {
  simple: (client, text, id) => client.query(text.replace('$1', String(id))),
  extended: (client, text, id) => client.query({ text, values: [id] }),
};

/** Resolves once a statement waits for the gid. */
async function isWaitedFor(mesh: Mesh, gid: string): Promise<void> {
  await until('somebody waits', async () => {
    const response = await fetch(`http://127.0.0.1:${mesh.admin}/locks?gid=${gid}`);
    const { locks } = (await response.json()) as LockPage;
    return locks.some(({ waiting }) => waiting.length > 0) ? true : undefined;
  });
}

for (const major of MAJORS) {
  for (const [way, ask] of Object.entries(WAYS)) {
    for (const outcome of ['commit', 'rollback'] as const) {
      test.serial(
        `a locking read waits for ${outcome} and gives what was decided, ${way}, PostgreSQL ${major}`,
        async (t) => {
          const mesh = meshOf(major);
          for (const strength of ['UPDATE', 'NO KEY UPDATE', 'SHARE']) {
            const [holder, reader] = [await mesh.begin(), await mesh.begin()];
            const [one, two] = [await mesh.client(), await mesh.client()];
            await one.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
            await two.query(commented('BEGIN', reader));
            const plain = await ask(two, 'SELECT qty FROM item WHERE id = $1', 1);
            t.deepEqual(plain.rows, [{ qty: 11 }]);
            const locking = ask(two, `SELECT qty AS n FROM item AS i WHERE id = $1 FOR ${strength}`, 1);
            await isWaitedFor(mesh, holder);
            await mesh.end(holder, outcome);
            const { rows, command, rowCount } = await locking;
            t.deepEqual([rows, command, rowCount], [[{ n: outcome === 'commit' ? 11 : 10 }], 'SELECT', 1]);
            await two.query('COMMIT');
            await mesh.end(reader, 'commit');
            t.deepEqual((await mesh.coordinator.read(reader))?.branches, [], 'a read enlists nothing');
            await mesh.owner.query('UPDATE item SET qty = 10 WHERE id = 1');
            t.is(await mesh.leftovers(), NOTHING_LEFT);
          }
        },
      );
    }
  }

  test.serial(
    `what is read for update and then changed is not lost: no update between, PostgreSQL ${major}`,
    async (t) => {
      const mesh = meshOf(major);
      const add = async (): Promise<void> => {
        const gid = await mesh.begin();
        const client = await mesh.client();
        await client.query(commented('BEGIN', gid));
        const { rows } = await client.query<{ qty: number }>('SELECT qty FROM item WHERE id = 2 FOR UPDATE');
        await client.query(`UPDATE item SET qty = ${(rows[0]?.qty ?? 0) + 1} WHERE id = 2`);
        await client.query('COMMIT');
        await mesh.end(gid, 'commit');
      };
      await Promise.all(Array.from({ length: 6 }, add));
      t.deepEqual((await mesh.owner.query('SELECT qty FROM item WHERE id = 2')).rows, [{ qty: 26 }]);
      await mesh.owner.query('UPDATE item SET qty = 20 WHERE id = 2');
    },
  );

  test.serial(
    `NOWAIT fails at once, SKIP LOCKED passes over, and rows that nobody holds are free, PostgreSQL ${major}`,
    async (t) => {
      const mesh = meshOf(major);
      const [holder, reader] = [await mesh.begin(), await mesh.begin()];
      const [one, two] = [await mesh.client(), await mesh.client()];
      await one.query(commented('UPDATE item SET qty = 11 WHERE id < 3', holder));
      const from = Date.now();
      const error = await t.throwsAsync(
        two.query(commented('SELECT * FROM item WHERE id = 1 FOR UPDATE NOWAIT', reader)),
      );
      t.is((error as pg.DatabaseError).code, '55P03');
      const next = await two.query(commented('SELECT id FROM item ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED', reader));
      t.deepEqual(next.rows, [{ id: 3 }]);
      t.is((await two.query(commented('SELECT * FROM item WHERE id > 2 FOR SHARE', reader))).rowCount, 2);
      t.is((await two.query(commented('SELECT * FROM item FOR KEY SHARE', reader))).rowCount, 4);
      t.true(Date.now() - from < 10_000);
      await mesh.end(holder, 'rollback');
      await mesh.end(reader, 'rollback');
    },
  );

  test.serial(
    `a locking read in any shape gives the rows that it gives without a sidecar, PostgreSQL ${major}`,
    async (t) => {
      const mesh = meshOf(major);
      const gid = await mesh.begin();
      const client = await mesh.client();
      for (const text of [
        'SELECT * FROM item FOR UPDATE',
        'SELECT * FROM item -- all of it\nFOR UPDATE',
        'SELECT *, 1 AS limit, qty AS "order" FROM ONLY item AS "where" WHERE id > 1 OR id = 1 -- or\nORDER BY "where".id DESC OFFSET 1 FETCH FIRST 2 ROWS ONLY FOR UPDATE OF "where"',
        'SELECT i.id, p.b FROM item i JOIN pair AS p ON p.a = i.id WHERE i.id IN (SELECT a FROM pair WHERE v > 0) ORDER BY 1 FOR UPDATE OF p FOR SHARE OF i',
        'SELECT i.id, p.b FROM item i LEFT JOIN pair p ON p.a = i.id ORDER BY 1 FOR UPDATE OF i',
        'WITH pair AS (SELECT 1 AS a) SELECT item.* FROM item, pair WHERE item.id = pair.a FOR UPDATE OF item',
        'SELECT * FROM (SELECT * FROM item WHERE id = 1) AS s WHERE qty > 0 FOR UPDATE',
        'SELECT id FROM seen ORDER BY id FOR UPDATE',
        'SELECT * FROM part WHERE k = 1 FOR UPDATE',
        'SELECT v FROM keyless FOR UPDATE',
        'SELECT j.id FROM (item i JOIN pair p ON i.id = p.a) AS j ORDER BY 1 FOR UPDATE',
        'SELECT public.item.id FROM public.item WHERE id IS DISTINCT FROM 2 ORDER BY id LIMIT 2 FOR NO KEY UPDATE',
        'SELECT id FROM item WHERE false FOR UPDATE',
      ]) {
        const direct = await mesh.twin.query({ text, rowMode: 'array' });
        const through = await client.query({ text: commented(text, gid), rowMode: 'array' });
        t.deepEqual(
          [sorted(through), through.fields.map(({ name }) => name), through.command],
          [sorted(direct), direct.fields.map(({ name }) => name), direct.command],
          text,
        );
      }
      await client.query(commented('BEGIN', gid));
      await client.query('PREPARE p (int, int) AS SELECT qty FROM item WHERE id = $1 FOR UPDATE');
      t.deepEqual((await client.query('EXECUTE p (3, 0)')).rows, [{ qty: 30 }]);
      await client.query('COMMIT');
      await mesh.end(gid, 'commit');
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    },
  );
}
