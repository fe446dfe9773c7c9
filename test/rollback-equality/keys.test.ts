import test from 'ava';
import fc from 'fast-check';
import pg from 'pg';
import { pairAlongKeys, type ChangedRow } from '../../proxy/postgres/undo/pairs.ts';
import { startMesh } from '../sql-e2e/mesh.ts';

const SEED = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));

/** Rows that other rows refer to by keys that the server checks at the end of each statement; in one table, and in two. */
const SCHEMA = `
CREATE TABLE parent (id int PRIMARY KEY, n int); INSERT INTO parent VALUES (3, 0), (2, 0), (1, 0);
CREATE TABLE child (id int PRIMARY KEY, up int REFERENCES parent); INSERT INTO child VALUES (1, 2), (2, 3);
CREATE TABLE owner (id int PRIMARY KEY, n int); INSERT INTO owner VALUES (3, 0), (2, 0), (1, 0);
CREATE TABLE thing (id int PRIMARY KEY, up int REFERENCES owner ON DELETE CASCADE); INSERT INTO thing VALUES (1, 2), (2, 3);
CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node ON DELETE RESTRICT); INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2);`;
const TABLES = ['parent', 'child', 'owner', 'thing', 'node'];

const CASES: Readonly<Record<string, string>> = {
  'keys that move up one place, each but the first into the place of another': 'UPDATE parent SET id = id + 1',
  'the same, where rows would go along with the row that they refer to': 'UPDATE owner SET id = id + 1, n = id',
  'a row that ON CONFLICT gives another key, and one inserted in its place':
    'INSERT INTO parent VALUES (2, 5), (2, 6) ON CONFLICT (id) DO UPDATE SET id = 6',
  'the same, where rows would go along':
    'INSERT INTO owner VALUES (2, 5), (2, 6) ON CONFLICT (id) DO UPDATE SET id = 6',
  'the same, where the rows that refer to it are in its own table':
    'INSERT INTO node VALUES (3, 1), (3, 2), (4, 3) ON CONFLICT (id) DO UPDATE SET id = 6',
};

for (const major of [18, 14] as const) {
  test.serial(`keys that other rows refer to are never missing on the way back on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startMesh({ major, schema: SCHEMA, tables: [] });
    const client = new pg.Client(mesh.through);
    await client.connect();
    await using _ = { [Symbol.asyncDispose]: () => client.end() };
    const read = async (): Promise<readonly unknown[]> => {
      const lists = TABLES.map((name) => `(SELECT array_agg(x::text ORDER BY x) FROM ${name} AS x) AS ${name}`);
      return (await mesh.owner.query<Record<string, unknown>>(`SELECT ${lists.join(', ')}`)).rows;
    };
    const before = await read();
    for (const [name, sql] of Object.entries(CASES)) {
      // Before 18 the server does not tell the row that ON CONFLICT met: such a change is refused there.
      if (major < 18 && sql.startsWith('INSERT')) continue;
      const gid = await mesh.begin();
      await client.query(`SET atomesh.gid = '${gid}'`);
      await client.query(sql);
      await client.query('RESET atomesh.gid');
      t.notDeepEqual(await read(), before, name);
      await mesh.coordinator.abort(gid, {});
      const view = await mesh.coordinator.read(gid, 20_000);
      t.is(view?.status, 'failed', `${name}: ${view?.branches[0]?.lastError}`);
      t.deepEqual(await read(), before, name);
    }
  });
}

test('images are paired so that no key is missing that is on both sides', (t) => {
  // Keys of before and of after by row, each at most once on its side; 0 where there is no image.
  const side = fc.uniqueArray(fc.integer({ min: 0, max: 12 }), { minLength: 8, maxLength: 8, comparator: notTwice });
  const property = fc.property(side, side, (befores, afters) => {
    const rows = befores.flatMap((key, place): readonly ChangedRow[] => {
      const [before, after] = [image(key), image(afters[place] ?? 0)];
      return before === undefined && after === undefined ? [] : [{ before, after }];
    });
    const matches = rows.flatMap((row, before) =>
      rows.flatMap((other, after) =>
        before !== after && row.before !== undefined && row.before === other.after ? [{ before, after }] : [],
      ),
    );
    const paired = pairAlongKeys(rows, matches);
    const images = (of: readonly ChangedRow[], name: 'before' | 'after'): readonly string[] =>
      of.flatMap((row) => row[name] ?? []).toSorted();
    for (const name of ['before', 'after'] as const) t.deepEqual(images(paired, name), images(rows, name));
    for (const { before, after } of paired) {
      if (before !== undefined && images(rows, 'after').includes(before)) t.is(after, before);
      t.false(before === undefined && after === undefined);
    }
    if (matches.length === 0) t.deepEqual(paired, rows);
  });
  t.log(`seed ${SEED}`);
  fc.assert(property, { seed: SEED, numRuns: 300 });
});

const notTwice = (one: number, other: number): boolean => one !== 0 && one === other;
const image = (key: number): string | undefined => (key === 0 ? undefined : String(key));

test('images that somebody has forged, with a key twice, are paired in the end', (t) => {
  const rows: readonly ChangedRow[] = ['1', '2', '3'].map((key) => ({ before: key, after: key }));
  const all = rows.flatMap((_, before) => rows.map((__, after) => ({ before, after })));
  t.true(pairAlongKeys(rows, all).length > 0);
});
