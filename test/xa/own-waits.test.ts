import test from 'ava';
import type pg from 'pg';
import { startMesh, type Mesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';
import { preparedNames } from './prove.ts';

const SCHEMA = 'CREATE TABLE acc (id int PRIMARY KEY, v int); INSERT INTO acc VALUES (0, 1), (1, 100), (2, 200);';
const PREPARES = 'DO $$ BEGIN UPDATE acc SET v = 7 WHERE id = 1; END $$';

function open(database: Readonly<Record<string, unknown>>, lockTimeoutMs = 200): Promise<Mesh> {
  return startMesh({
    major: 18,
    schema: SCHEMA,
    tables: ['acc'],
    lockTimeoutMs,
    database,
    settings: { max_prepared_transactions: '10' },
  });
}

async function outcome(client: pg.Client, text: string, values?: readonly unknown[]): Promise<string> {
  const query = values === undefined ? { text } : { text, values: [...values], queryMode: 'extended' };
  return client.query(query).then(
    () => 'done',
    (error: pg.DatabaseError) => error.code ?? error.message,
  );
}

test.serial('a second try outside a block does not wait without end for what its own gid has prepared', async (t) => {
  await using mesh = await open({ escalate: 'xa' }, 2_000);
  const [own, other] = [await mesh.begin(), await mesh.begin()];
  const client = await mesh.client();
  await client.query(commented(PREPARES, own));
  await client.query(commented('UPDATE acc SET v = 8 WHERE id = 0', other));
  // The first try meets the row of the other, and the second, once that has ended, the row of its own.
  const reading = outcome(client, commented('SELECT * FROM acc WHERE id < 2 ORDER BY id FOR UPDATE', own));
  await mesh.line.heard(`GET /v1/transactions/${other}`);
  await mesh.end(other, 'commit');
  t.is(await reading, '55P03');
  await mesh.end(own, 'rollback');
  t.deepEqual((await mesh.dump())['acc'], ['(0,8)', '(1,100)', '(2,200)']);
});

/** What passes, and waits: in which mode, and what is sent, the last of which waits. */
const PASSING: readonly (readonly [title: string, database: object, texts: readonly string[]])[] = [
  ['a locking read in mode xa', { mode: 'xa' }, ['BEGIN', 'SELECT * FROM acc WHERE id = 1 FOR UPDATE']],
  ['a locking read in mode xa, without a block', { mode: 'xa' }, ['SELECT * FROM acc WHERE id = 1 FOR UPDATE']],
  ['several in one text', { mode: 'xa' }, ['SELECT 1; SELECT * FROM acc WHERE id = 1 FOR UPDATE']],
  [
    'one with a change in one text',
    { mode: 'xa' },
    ['UPDATE acc SET v = 3 WHERE id = 2; SELECT * FROM acc FOR UPDATE'],
  ],
  ['a cursor', { mode: 'xa' }, ['BEGIN', 'DECLARE x CURSOR FOR SELECT * FROM acc FOR UPDATE', 'FETCH ALL FROM x']],
  ['LOCK in undo mode', { escalate: 'xa' }, ['BEGIN', 'LOCK TABLE acc IN SHARE MODE']],
  [
    'LOCK in a snapshot',
    { escalate: 'xa' },
    ['BEGIN ISOLATION LEVEL REPEATABLE READ', '/* x */ LOCK acc IN SHARE MODE'],
  ],
];

test.serial('what passes does not wait without end for what its own gid has prepared', async (t) => {
  for (const mode of ['xa', 'undo']) {
    const cases = PASSING.filter(([, database]) => ('mode' in database ? 'xa' : 'undo') === mode);
    await using mesh = await open({ ...cases[0]?.[1] });
    for (const [title, , texts] of cases) {
      for (const values of texts.some((text) => text.includes(';')) ? [undefined] : [undefined, []]) {
        const gid = await mesh.begin();
        const client = await mesh.client();
        await client.query(commented(PREPARES, gid));
        const [first = '', ...others] = texts;
        const outcomes = [await outcome(client, commented(first, gid), values)];
        for (const text of others) outcomes.push(await outcome(client, text, values));
        t.is(outcomes.at(-1), '55P03', title);
        t.deepEqual(new Set(outcomes.slice(0, -1)), new Set(others.length === 0 ? [] : ['done']), title);
        await outcome(client, 'ROLLBACK');
        const { rows } = await client.query<{ lock_timeout: string }>('SHOW lock_timeout');
        t.is(rows[0]?.lock_timeout, '0', 'it is the setting of that local transaction alone');
        t.is((await preparedNames(mesh)).length, 1, title);
        await mesh.end(gid, 'rollback');
        await client.end();
      }
    }
    t.deepEqual((await mesh.dump())['acc'], ['(0,1)', '(1,100)', '(2,200)']);
  }
});

test.serial('a client that has said how long it waits is taken at its word', async (t) => {
  await using mesh = await open({ mode: 'xa' });
  const gid = await mesh.begin();
  const client = await mesh.client();
  await client.query("SET lock_timeout = '50ms'");
  await client.query(commented(PREPARES, gid));
  await client.query(commented('BEGIN', gid));
  const { rows } = await client.query<{ v: number }>('SELECT v FROM acc WHERE id = 2 FOR UPDATE');
  t.is(rows[0]?.v, 200);
  t.deepEqual((await client.query('SHOW lock_timeout')).rows, [{ lock_timeout: '50ms' }]);
  t.is(await outcome(client, 'SELECT v FROM acc WHERE id = 1 FOR UPDATE'), '55P03');
  await client.query('ROLLBACK');
  await mesh.end(gid, 'rollback');
});
