/** Changes that are not captured and wait for rows of others: what their blocks hold meanwhile, portals, errors, and how long they wait. */
import test from 'ava';
import pg from 'pg';
import { commented } from '../sql-e2e/prove.ts';
import { openWire, say } from '../sql-e2e/wire-client.ts';
import { preparedNames } from '../xa/prove.ts';
import { isWaitedFor, MODES, openStage, restore, type Mode, type Stage } from './escalated-stage.ts';

let stage: Stage | undefined;
test.before(async () => {
  stage = await openStage(18, 15_000);
});
test.after.always(async () => {
  await stage?.[Symbol.asyncDispose]();
});

function shared(): Stage {
  if (stage === undefined) throw new Error('there is no stage');
  return stage;
}

/** A client whose connection may be cut at any time. */
async function connected(config: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(config);
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

interface Failure {
  readonly code: string | undefined;
  readonly message: string;
  readonly position: string | undefined;
}

async function failureOf(promise: Promise<unknown>): Promise<Failure | undefined> {
  return promise.then(
    () => undefined,
    ({ code, message, position }: pg.DatabaseError) => ({ code, message, position }),
  );
}

test.serial(
  'a change that waits holds no row of the table, and its block goes on behind the rollback of the holder',
  async (t) => {
    const { mesh, ways } = shared();
    for (const mode of MODES) {
      await restore(mesh);
      const [holder, own] = [await mesh.begin(), await mesh.begin()];
      const holding = await mesh.client();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
      await using wire = await openWire(ways[mode].through);
      await wire.ask(say.query(commented('BEGIN', own)));
      const written = wire.ask(say.query('UPDATE item SET qty = bump(qty) WHERE id IN (1, 3)'));
      await isWaitedFor(ways[mode].admin, holder);
      const { rows } = await mesh.owner.query('SELECT id FROM item ORDER BY id FOR UPDATE SKIP LOCKED');
      t.deepEqual(
        rows.map(({ id }) => id),
        [1, 2, 3, 4, 5, 6],
        mode,
      );
      const from = Date.now();
      await mesh.end(holder, 'rollback');
      t.true(Date.now() - from < 7_000, 'the rollback waits for nobody');
      t.deepEqual(await written, ['done UPDATE 2', 'ready T'], mode);
      t.deepEqual(await wire.ask(say.query('COMMIT')), ['done COMMIT', 'ready I'], mode);
      await mesh.end(own, 'commit');
      t.deepEqual(
        (await mesh.owner.query('SELECT qty FROM item WHERE id IN (1, 3) ORDER BY id')).rows,
        [{ qty: 11 }, { qty: 31 }],
        mode,
      );
    }
  },
);

/** Blocks whose last change meets the row: what a rollback may need of those before decides whether they wait for it to be done. */
const BLOCKS: readonly {
  readonly mode: Mode;
  readonly first: string;
  readonly last: string;
  readonly code?: string;
}[] = [
  { mode: 'xa', first: 'UPDATE item SET qty = 5 WHERE id = 2', last: 'UPDATE item SET qty = 5 WHERE id = 1' },
  { mode: 'xa', first: 'DELETE FROM item WHERE id = 2', last: 'DELETE FROM item WHERE id = 1' },
  { mode: 'xa', first: "INSERT INTO item VALUES (7, 7, 'n7')", last: 'DELETE FROM item WHERE id = 1', code: '40001' },
  {
    mode: 'xa',
    first: "UPDATE item SET note = 'm' WHERE id = 2",
    last: 'DELETE FROM item WHERE id = 1',
    code: '40001',
  },
  {
    mode: 'escalate',
    first: 'UPDATE item SET qty = bump(qty) WHERE id = 2',
    last: 'UPDATE item SET qty = bump(qty) WHERE id = 1',
    code: '40001',
  },
];

test.serial(
  'one whose block may stand in the way of a rollback hears of it at once, and others wait for its end',
  async (t) => {
    const { mesh, ways } = shared();
    for (const { mode, first, last, code } of BLOCKS) {
      await restore(mesh);
      const before = await mesh.dump();
      const [holder, own] = [await mesh.begin(), await mesh.begin()];
      const holding = await mesh.client();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
      await using wire = await openWire(ways[mode].through);
      await wire.ask(say.query(commented('BEGIN', own)), say.query(first));
      const written = wire.ask(say.query(last));
      await isWaitedFor(ways[mode].admin, holder);
      // As long as somebody has the lock of its branch, it is being rolled back, and not yet.
      await mesh.owner.query('BEGIN');
      await mesh.owner.query('SELECT FROM atomesh.branch_state WHERE gid = $1 FOR UPDATE', [holder]);
      await mesh.coordinator.abort(holder, {});
      if (code === undefined) await mesh.owner.query('COMMIT');
      const lines = await written;
      if (code !== undefined) await mesh.owner.query('COMMIT');
      if (code === undefined) t.is(lines.at(-1), 'ready T', first);
      else t.regex(lines[0] ?? '', new RegExp(`^error ERROR ${code} `), first);
      t.is((await wire.ask(say.query('COMMIT')))[0], code === undefined ? 'done COMMIT' : 'done ROLLBACK', first);
      t.is((await mesh.over(holder)).status, 'failed', first);
      await mesh.end(own, 'rollback');
      t.deepEqual(await mesh.dump(), before, first);
    }
  },
);

test.serial('a portal that waits gives its rows in portions, and runs once', async (t) => {
  const { mesh, ways } = shared();
  for (const mode of MODES) {
    for (const text of [
      'UPDATE item SET qty = bump(qty) WHERE id < 4 RETURNING id',
      'UPDATE item SET qty = bump(qty)',
    ]) {
      await restore(mesh);
      const own = await mesh.begin();
      const asked = async (config: pg.ClientConfig, gid: string): Promise<readonly string[]> => {
        await using wire = await openWire(config);
        await wire.ask(say.query(commented('BEGIN', gid)));
        const portions = [say.execute(2, 'p'), say.execute(2, 'p'), say.flush, say.sync];
        const lines = await wire.ask(say.parse(text), say.bind([], '', 'p'), say.describe('p'), ...portions);
        return [...lines, ...(await wire.ask(say.query('COMMIT')))];
      };
      t.deepEqual(await asked(ways[mode].through, own), await asked(mesh.direct, 'no-such-gid'), `${mode}: ${text}`);
      await mesh.end(own, 'commit');
      t.deepEqual(await mesh.dump(), await mesh.dump(mesh.twin), `${mode}: ${text}`);
    }
  }
});

const WRONG = [
  'UPDATE item SET qty = bump(qty) / 0 WHERE id = 2',
  "UPDATE item SET note = 'n3', qty = bump(1) WHERE id = 2",
  '/* ü𝄞 */ UPDATE item SET qty = bump(qty) WHERE id = 2 RETURNING nowhere',
  'UPDATE item SET qty = bump(qty) WHERE no_such_function(id)',
  'UPDATE item SET qty = bump($1) WHERE id = 1',
];

test.serial('errors are those that a client hears without a sidecar', async (t) => {
  const { mesh, ways } = shared();
  await restore(mesh);
  for (const mode of MODES) {
    const own = await mesh.begin();
    const client = await connected(ways[mode].through);
    for (const text of WRONG) {
      for (const queryMode of ['simple', 'extended']) {
        const query = { text: commented(text, own), queryMode };
        const through = await failureOf(client.query(query));
        t.deepEqual(through, await failureOf(mesh.twin.query({ ...query })), text);
        t.truthy(through, text);
      }
    }
    await client.end();
    await mesh.end(own, 'rollback');
  }
});

test.serial(
  'a table that changes under a session is no error, and one that rows can no longer be told apart in waits for nobody',
  async (t) => {
    const { mesh, ways } = shared();
    for (const mode of MODES) {
      const own = await mesh.begin();
      await mesh.owner.query('CREATE TABLE moving (id int PRIMARY KEY, v int); INSERT INTO moving VALUES (1, 1)');
      const client = new pg.Client(ways[mode].through);
      await client.connect();
      const moving = { name: 'moving', text: 'UPDATE moving SET v = bump(v)' };
      const inBlock = async (last: string): Promise<void> => {
        await client.query(commented('BEGIN', own));
        t.is((await client.query(moving)).rowCount, 1, last);
        t.is((await client.query(moving.text)).rowCount, 1, last);
        await client.query(last);
      };
      await inBlock('ROLLBACK');
      await mesh.owner.query('ALTER TABLE moving RENAME id TO number');
      await inBlock('ROLLBACK');
      await mesh.owner.query('ALTER TABLE moving DROP number');
      await inBlock('COMMIT');
      await client.end();
      await mesh.end(own, 'commit');
      t.deepEqual((await mesh.owner.query('SELECT v FROM moving')).rows, [{ v: 3 }], mode);
      await mesh.owner.query('DROP TABLE moving');
    }
  },
);

test.serial('a locking read of mode xa reads what has been decided', async (t) => {
  const { mesh, ways } = shared();
  const text = 'SELECT qty FROM item WHERE id = 1 FOR UPDATE';
  for (const messages of [
    (gid: string) => [say.query(commented(text, gid))],
    (gid: string) => [...say.run(commented(text, gid)), say.sync],
  ]) {
    await restore(mesh);
    const [holder, own] = [await mesh.begin(), await mesh.begin()];
    const holding = await mesh.client();
    await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
    await using wire = await openWire(ways.xa.through);
    const read = wire.ask(...messages(own));
    await isWaitedFor(ways.xa.admin, holder);
    await mesh.end(holder, 'rollback');
    t.true((await read).includes('row ["10"]'));
    await mesh.end(own, 'commit');
  }
});

/** Each of them changes, or would change, row 1 of `item` or `guarded`. */
const NOT_ASKED: readonly string[] = [
  'DO $$ BEGIN UPDATE item SET qty = 5 WHERE id = 1; END $$',
  'UPDATE seen SET qty = 5 WHERE id = 1',
  'UPDATE item SET qty = bump(5) WHERE CURRENT OF c',
  'WITH outer_one AS (WITH s AS (SELECT 1 AS id) UPDATE item SET qty = 5 FROM s WHERE s.id = item.id RETURNING 1) SELECT * FROM outer_one',
  'UPDATE guarded SET qty = 5',
  'TRUNCATE item',
  'EXPLAIN ANALYZE DELETE FROM item WHERE id = 1',
];

test.serial('a change that fails in code of its own has run once', async (t) => {
  const { mesh, ways } = shared();
  await restore(mesh);
  await mesh.owner.query(`CREATE SEQUENCE runs; CREATE FUNCTION fails(int) RETURNS int LANGUAGE plpgsql VOLATILE AS
    'BEGIN PERFORM nextval(''runs''); RAISE EXCEPTION USING ERRCODE = ''42P01'', MESSAGE = ''no such thing''; END'`);
  const own = await mesh.begin();
  const client = await connected(ways.escalate.through);
  for (const text of [
    'UPDATE item SET qty = fails(qty) WHERE id = 3',
    'UPDATE item SET qty = fails($1) WHERE id = 3',
  ]) {
    const before = (await mesh.owner.query<{ n: string }>(`SELECT nextval('runs') AS n`)).rows[0]?.n;
    const values = text.includes('$1') ? [1] : [];
    t.like(await failureOf(client.query(commented(text, own), values)), { code: '42P01', message: 'no such thing' });
    const after = (await mesh.owner.query<{ n: string }>(`SELECT nextval('runs') AS n`)).rows[0]?.n;
    t.is(Number(after), Number(before) + 2, text);
  }
  await client.end();
  await mesh.end(own, 'rollback');
  await mesh.owner.query('DROP FUNCTION fails; DROP SEQUENCE runs');
});

test.serial('what cannot be asked about runs as it came, at once', async (t) => {
  const { mesh, ways } = shared();
  await restore(mesh);
  const [holder, own] = [await mesh.begin(), await mesh.begin()];
  const holding = await mesh.client();
  await holding.query(commented('INSERT INTO guarded VALUES (1, 1)', holder));
  await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
  await mesh.owner.query('ALTER TABLE guarded ENABLE ROW LEVEL SECURITY');
  for (const mode of MODES) {
    const client = await connected(ways[mode].through);
    for (const text of NOT_ASKED) {
      await client.query(commented('BEGIN', own));
      // A table that a cursor is open on cannot be truncated.
      if (text.includes('CURRENT OF')) await client.query('DECLARE c CURSOR FOR SELECT * FROM item WHERE id = 1');
      if (text.includes('CURRENT OF')) await client.query('FETCH c');
      t.is(await failureOf(client.query(text)), undefined, `${mode}: ${text}`);
      await client.query('ROLLBACK');
    }
    await client.end();
  }
  await mesh.owner.query('ALTER TABLE guarded DISABLE ROW LEVEL SECURITY');
  for (const gid of [holder, own]) await mesh.end(gid, 'rollback');
});

test.serial(
  'one that waits too long fails with 55P03, which names the holder, and its local transaction with it',
  async (t) => {
    await using impatient = await openStage(18, 200);
    const { mesh, ways } = impatient;
    await restore(mesh);
    const [holder, own] = [await mesh.begin(), await mesh.begin()];
    const holding = await mesh.client();
    await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
    for (const mode of MODES) {
      await using wire = await openWire(ways[mode].through);
      const text = 'UPDATE item SET qty = bump(qty) WHERE id = 1';
      const said = [
        await wire.ask(say.query(commented(text, own))),
        await wire.ask(...say.run(commented(text, own)), say.sync),
      ];
      for (const lines of said) {
        const failure = lines.find((line) => line.startsWith('error'));
        t.regex(failure ?? '', /^error ERROR 55P03 atomesh: the row is held by global transaction/, mode);
        t.true(failure?.includes(holder), mode);
        t.is(lines.at(-1), 'ready I', mode);
      }
      await wire.ask(say.query(commented('BEGIN', own)));
      await wire.ask(say.query('UPDATE item SET qty = bump(qty) WHERE id = 2'));
      t.is((await wire.ask(say.query('DELETE FROM item WHERE id = 1 AND calm(id)'))).at(-1), 'ready E', mode);
      t.deepEqual(await wire.ask(say.query('COMMIT')), ['done ROLLBACK', 'ready I'], mode);
    }
    t.deepEqual(await preparedNames(mesh), []);
    for (const gid of [holder, own]) await mesh.end(gid, 'rollback');
    t.deepEqual((await mesh.owner.query('SELECT qty FROM item WHERE id < 3 ORDER BY id')).rows, [
      { qty: 10 },
      { qty: 20 },
    ]);
  },
);
