/** The list of row locks: on the admin listener and on the command line, against a real database. */
import test, { type ExecutionContext } from 'ava';
import { until } from '../../examples/support/until.ts';
import type { LockPage } from '../../src/contract/locks.ts';
import { run, type Ended } from '../cli/support.ts';
import { startMesh, type Mesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';

let mesh: Mesh;
test.before(async () => {
  mesh = await startMesh({
    major: 18,
    schema: `CREATE TABLE item (id int PRIMARY KEY, code text UNIQUE, qty int);
      CREATE TABLE part (id int PRIMARY KEY, item int REFERENCES item);
      CREATE TABLE "odd Name" (a text, b text, c bytea, PRIMARY KEY (a, b, c));
      INSERT INTO item SELECT i, 'c' || i, 1 FROM generate_series(1, 9) i;
      INSERT INTO part SELECT i, 1 + i / 3 FROM generate_series(1, 5) i;`,
    tables: ['item'],
    lockTimeoutMs: 20_000,
  });
});
test.after.always(() => mesh[Symbol.asyncDispose]());

async function get(query: string): Promise<{ readonly status: number; readonly body: LockPage }> {
  const response = await fetch(`http://127.0.0.1:${mesh.admin}/locks${query}`);
  return { status: response.status, body: (await response.json()) as LockPage };
}

function locks(t: ExecutionContext, ...words: readonly string[]): Promise<Ended> {
  return run(t, ['locks', '--url', `http://127.0.0.1:${mesh.admin}`, ...words]);
}

test.serial(
  'a lock has its table, the columns and values of its key, its holder, since when, and who waits',
  async (t) => {
    const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
    const [one, two] = [await mesh.client(), await mesh.client()];
    const from = Date.now();
    await one.query(commented(`UPDATE item SET code = 'new' WHERE id = 3`, holder));
    await one.query(commented(`INSERT INTO "odd Name" VALUES ('1:a', 'ü', '\\xff')`, holder));
    const waiting = two.query(commented('DELETE FROM item WHERE id = 3', waiter));
    const page = await until('somebody waits', async () => {
      const { body } = await get('?database=shop');
      return body.locks.some((lock) => lock.waiting.length > 0) ? body : undefined;
    });
    t.deepEqual(
      page.locks.map(({ table, columns, values }) => `${table} ${columns.join()} ${values.join()}`).toSorted(),
      ['public."odd Name" a,b,c 1:a,ü,ff', 'public.item code c3', 'public.item code new', 'public.item id 3'],
    );
    for (const lock of page.locks) {
      t.like(lock, { database: 'shop', gid: holder, resource: 'orders/shop' });
      t.true((lock.since ?? 0) >= from - 1000 && (lock.since ?? 0) <= Date.now() + 1000);
      t.deepEqual(
        lock.waiting.map(({ gid }) => gid),
        lock.columns[0] === 'id' ? [waiter] : [],
      );
    }
    const { out } = await locks(t, '--gid', holder);
    t.regex(out, new RegExp(`shop +public.item \\(id\\) = \\("3"\\) +${holder} +\\S+ +${waiter} \\(`));
    await mesh.end(holder, 'commit');
    await waiting;
    await mesh.end(waiter, 'rollback');
    t.deepEqual((await get('')).body, { locks: [] });
    t.is((await locks(t)).out, 'no row locks\n');
  },
);

test.serial('claims are listed as shared, each holder once, page by page, with who waits for them', async (t) => {
  const [one, two, waiter] = [await mesh.begin(), await mesh.begin(), await mesh.begin()];
  const [client, other] = [await mesh.client(), await mesh.client()];
  await client.query(commented('DELETE FROM part WHERE id = 1', one));
  await client.query(commented('UPDATE item SET qty = 3 WHERE id = 1', one));
  await client.query(commented('DELETE FROM part WHERE id = 3', two));
  await client.query(commented('DELETE FROM part WHERE id = 4', two));
  await client.query(commented('UPDATE part SET item = NULL WHERE id = 5', one));
  const waiting = other.query(commented('DELETE FROM item WHERE id = 2', waiter));
  await until('somebody waits', async () => {
    const { body } = await get('');
    return body.locks.some((lock) => lock.waiting.length > 0) ? body : undefined;
  });
  const found: string[] = [];
  let after = '';
  do {
    const { body } = await get(`?limit=1${after === '' ? '' : `&after=${after}`}`);
    for (const { table, values, gid, shared } of body.locks) {
      const holder = gid === one ? 'one' : 'two';
      found.push(`${table} ${values.join()} ${holder}${shared ? ' shared' : ''}`);
    }
    after = body.next ?? '';
  } while (after !== '');
  t.deepEqual(found.toSorted(), [
    // Who has the lock needs no claim.
    'public.item 1 one',
    'public.item 2 one shared',
    'public.item 2 two shared',
    'public.part 1 one',
    'public.part 3 two',
    'public.part 4 two',
    'public.part 5 one',
  ]);
  const { out } = await locks(t, '--gid', two);
  t.regex(out, new RegExp(`public.item \\(id\\) = \\("2"\\) +${two} \\(shared\\) +\\S+ +${waiter} \\(`));
  await mesh.end(one, 'commit');
  await mesh.end(two, 'commit');
  await waiting;
  await mesh.end(waiter, 'rollback');
  t.deepEqual((await get('')).body, { locks: [] });
});

test.serial('the list goes page by page, each lock once, and ends', async (t) => {
  const gid = await mesh.begin();
  const client = await mesh.client();
  await client.query(commented('UPDATE item SET qty = 2', gid));
  const found: string[] = [];
  let after = '';
  do {
    const { status, body } = await get(`?limit=2&gid=${gid}${after === '' ? '' : `&after=${after}`}`);
    t.is(status, 200);
    t.true(body.locks.length <= 2);
    found.push(...body.locks.map(({ values }) => values.join()));
    after = body.next ?? '';
  } while (after !== '');
  t.deepEqual(found.toSorted(), ['1', '2', '3', '4', '5', '6', '7', '8', '9']);
  t.regex((await locks(t, '--limit', '2')).out, /\nmore: atomesh locks --after \S+\n$/);
  await mesh.end(gid, 'rollback');
});

test.serial('a query that is none is refused and says what there is', async (t) => {
  for (const query of ['?limit=0', '?limit=1001', '?limit=x', '?gid=%20', '?database=other', '?after=x', '?who=me']) {
    t.is((await get(query)).status, 400, query);
  }
  t.is((await locks(t, '--limit', '0')).code, 1);
  t.is((await locks(t, '--gid', 'a b')).code, 64);
  t.is((await run(t, ['locks', '--url', 'http://127.0.0.1:1'])).code, 1);
});
