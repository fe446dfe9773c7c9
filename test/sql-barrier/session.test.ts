/** A session inside an operation: its answers are the server's, and the row of the barrier is in its local transaction. */
import test from 'ava';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { emptied } from '../sql/emptied.ts';
import { openWire, say } from '../sql-e2e/wire-client.ts';
import { SCRIPTS, type Script } from './scripts.ts';
import { codeOf, run, startWorld, type World } from './world.ts';

const RESET = `DROP TABLE IF EXISTS made, copied, piped; ${emptied(['note', 'account'], ['note_id_seq'])} INSERT INTO account VALUES ('a', 100)`;
const DUMP =
  'SELECT (SELECT array_agg(n.*::text ORDER BY n.id) FROM note n) AS notes, (SELECT array_agg(a.*::text) FROM account a) AS accounts';

const worlds = new Map<PostgresMajor, World>();
test.before(async () => {
  for (const major of [18, 14] as const) worlds.set(major, await startWorld(major));
});
test.after.always(async () => {
  await Promise.all([...worlds.values()].map((world) => world[Symbol.asyncDispose]()));
});

function worldOf(major: PostgresMajor): World {
  const world = worlds.get(major);
  if (world === undefined) throw new Error('it was started');
  return world;
}

let count = 0;
const newMark = (): string => `g${(count += 1)}/01/try`;
const commented = (text: string, mark: string): string => `${text} /*atomesh_gid='${mark}'*/`;

for (const major of [18, 14] as const) {
  test.serial(
    `sessions are served as without a sidecar, and leave the row that they should, on PostgreSQL ${major}`,
    async (t) => {
      const world = worldOf(major);
      const over = async (port: number, script: Script, mark: string) => {
        await world.owner.query(RESET);
        await using wire = await openWire({ ...world.through, port });
        const lines = await script(wire, (text) => commented(text, mark));
        const { rows } = await world.owner.query(DUMP);
        return { lines, rows };
      };
      for (const [title, [rows, script]] of SCRIPTS) {
        const mark = newMark();
        const expected = await over(world.server.port, script, 'g/01/try');
        t.deepEqual(await over(world.shop.port, script, mark), expected, title);
        t.is((await world.rows(mark.split('/')[0] ?? '')).length, rows, title);
      }
      const { rowCount } = await world.owner.query(
        'SELECT FROM atomesh.undo_record UNION ALL SELECT FROM atomesh.row_lock',
      );
      t.is(rowCount, 0);
    },
  );
}

test.serial('a second local transaction that changes rows is refused, one that reads is not', async (t) => {
  const world = worldOf(18);
  const mark = newMark();
  for (const protocol of ['simple', 'extended'] as const) {
    const client = await world.client();
    const insert = run(client, protocol, commented("INSERT INTO note (said) VALUES ('once')", mark));
    t.is(await codeOf(insert), protocol === 'simple' ? undefined : '25000');
    t.is(await codeOf(run(client, protocol, commented('SELECT 1', mark))), undefined);
    await run(client, protocol, commented('BEGIN', mark));
    t.is(await codeOf(run(client, protocol, 'DELETE FROM note')), '25000');
    await run(client, protocol, 'ROLLBACK');
    await client.end();
  }
  t.deepEqual(await world.rows(mark.split('/')[0] ?? ''), ['tcc 01 try try']);
});

test.serial('a local transaction that had changed rows before its mark was known is refused', async (t) => {
  const world = worldOf(18);
  for (const protocol of ['simple', 'extended'] as const) {
    const client = await world.client();
    const mark = newMark();
    await run(client, protocol, 'BEGIN');
    await run(client, protocol, "INSERT INTO note (said) VALUES ('early')");
    await run(client, protocol, `SELECT set_config('atomesh.gid', '${mark}', true)`);
    t.is(await codeOf(run(client, protocol, 'DELETE FROM note')), '25000');
    await run(client, protocol, 'ROLLBACK');
    await run(client, protocol, 'BEGIN');
    await run(client, protocol, 'SELECT 1');
    await run(client, protocol, `SELECT set_config('atomesh.gid', '${mark}', true)`);
    await run(client, protocol, 'SAVEPOINT a');
    await run(client, protocol, 'DELETE FROM note');
    await run(client, protocol, 'ROLLBACK TO a');
    t.is(await codeOf(run(client, protocol, 'DELETE FROM note')), undefined);
    await run(client, protocol, 'COMMIT');
    t.is((await world.rows(mark.split('/')[0] ?? '')).length, 1);
    await client.end();
  }
});

test.serial('an operation is not named for the session, which a pool would carry into the next request', async (t) => {
  const world = worldOf(18);
  for (const protocol of ['simple', 'extended'] as const) {
    const client = await world.client();
    const mark = newMark();
    for (const text of [`SET atomesh.gid = '${mark}'`, `SELECT set_config('atomesh.gid', '${mark}', false)`]) {
      t.is(await codeOf(run(client, protocol, text)), '25000');
      await run(client, protocol, commented('BEGIN', mark));
      t.is(await codeOf(run(client, protocol, text)), '25000');
      await run(client, protocol, 'ROLLBACK');
      t.is(await codeOf(run(client, protocol, "INSERT INTO note (said) VALUES ('mine')")), undefined);
    }
    t.deepEqual(await world.rows(mark.split('/')[0] ?? ''), []);
    await client.end();
  }
});

test.serial('comments that name different global transactions are refused', async (t) => {
  const client = await worldOf(18).client();
  for (const protocol of ['simple', 'extended'] as const) {
    const text = `/*atomesh_gid='one'*/ INSERT INTO note (said) VALUES ('x') /*atomesh_gid='other'*/`;
    t.is(await codeOf(run(client, protocol, text)), '25000');
    t.is(await codeOf(run(client, protocol, 'SELECT 1')), undefined);
  }
  await client.end();
});

test.serial('an operation and a gid, or two operations, do not meet in one local transaction', async (t) => {
  const world = worldOf(18);
  const client = await world.client();
  const mark = newMark();
  await client.query(commented('BEGIN', mark));
  await client.query("INSERT INTO note (said) VALUES ('x')");
  t.is(await codeOf(client.query(commented('DELETE FROM note', mark.split('/')[0] ?? ''))), '25000');
  await client.query('ROLLBACK');
  await client.end();
});

test.serial('a database without the barrier lets an operation read, and refuses its changes', async (t) => {
  const world = worldOf(18);
  const client = await world.client('other');
  for (const protocol of ['simple', 'extended'] as const) {
    for (const text of ["INSERT INTO note (said) VALUES ('x')", "SELECT grow('a')", 'CREATE TABLE made (id int)']) {
      t.is(await codeOf(run(client, protocol, commented(text, newMark()))), '25000', text);
    }
    t.is(await codeOf(run(client, protocol, commented('SELECT 1', newMark()))), undefined);
  }
  await client.end();
});

test.serial('what could end its local transaction by itself fails, and nothing of it stays', async (t) => {
  const world = worldOf(18);
  await world.owner.query(RESET);
  for (const major of [18, 14] as const) {
    const client = await worldOf(major).client();
    for (const protocol of ['simple', 'extended'] as const) {
      const mark = newMark();
      const called = codeOf(run(client, protocol, commented('CALL twice()', mark)));
      t.is(await called, '2D000', `${major} ${protocol}`);
      for (const text of ['VACUUM note', 'CREATE INDEX CONCURRENTLY ON note (said)']) {
        const error = await t.throwsAsync(run(client, protocol, commented(text, mark)));
        t.like(error, { code: '25001' });
        t.regex((error as { hint?: string }).hint ?? '', /outside/);
      }
      t.is(await codeOf(run(client, protocol, commented("PREPARE TRANSACTION 'x'", mark))), '0A000');
      t.deepEqual(await worldOf(major).rows(mark.split('/')[0] ?? ''), []);
    }
    await client.end();
  }
  t.is((await world.owner.query('SELECT FROM note')).rowCount, 0);
});

test.serial(
  'texts in which local transactions begin and end in the middle are refused before anything runs',
  async (t) => {
    const world = worldOf(18);
    const client = await world.client();
    await world.owner.query(RESET);
    const note = "INSERT INTO note (said) VALUES ('x')";
    for (const text of [
      `${note}; COMMIT`,
      `BEGIN; ${note}; COMMIT; ${note}`,
      `${note}; BEGIN; ${note}`,
      `BEGIN; SAVEPOINT a; ${note}; ROLLBACK TO a; ${note}; COMMIT`,
      `SET LOCAL atomesh.gid = 'other'; ${note}`,
    ]) {
      t.is(await codeOf(client.query(commented(text, newMark()))), '0A000', text);
    }
    t.is((await world.owner.query('SELECT FROM note')).rowCount, 0);
    await client.end();
  },
);

test.serial('the server counts the position of an error from the beginning of the whole text', async (t) => {
  const world = worldOf(18);
  const client = await world.client();
  const text = commented('BEGIN /* ü */; INSERT INTO note (said) VALUES (nonsense)', newMark());
  const error = await t.throwsAsync(client.query(text));
  t.is((error as { position?: string }).position, String(text.indexOf('nonsense') + 1));
  await client.end();
});

test.serial('a constraint that speaks at the end fails the change, and its row goes with it', async (t) => {
  const world = worldOf(18);
  await world.owner.query('CREATE TABLE late (id int, CONSTRAINT u UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)');
  await world.owner.query('INSERT INTO late VALUES (1)');
  const client = await world.client();
  for (const protocol of ['simple', 'extended'] as const) {
    const mark = newMark();
    t.is(await codeOf(run(client, protocol, commented('INSERT INTO late VALUES (1)', mark))), '23505', protocol);
    t.deepEqual(await world.rows(mark.split('/')[0] ?? ''), []);
    t.is(await codeOf(run(client, protocol, commented('INSERT INTO late VALUES (2)', mark))), undefined);
    await world.owner.query('DELETE FROM late WHERE id = 2');
  }
  await client.end();
});

test.serial('what a trigger says at the end of the local transaction is heard', async (t) => {
  for (const protocol of ['simple', 'extended'] as const) {
    await using wire = await openWire(worldOf(18).through);
    const text = commented('INSERT INTO loud VALUES (1)', newMark());
    const lines = await wire.ask(...(protocol === 'simple' ? [say.query(text)] : [...say.run(text), say.sync]));
    t.true(lines.includes('notice NOTICE 00000 loud and late'), protocol);
    t.deepEqual(lines.at(-1), 'ready I');
  }
});

test.serial('an error in a pipeline is told once, and the pipeline goes on behind its Sync', async (t) => {
  const world = worldOf(18);
  const mark = newMark();
  await using wire = await openWire(world.through);
  const insert = commented("INSERT INTO note (said) VALUES ('x')", mark);
  await wire.ask(...say.run(insert), say.sync);
  const lines = await wire.ask(...say.run(insert), ...say.run('SELECT 1'), say.sync, ...say.run('SELECT 2'), say.sync);
  t.deepEqual(
    lines.map((line) => line.split(' ').slice(0, 3).join(' ')),
    [
      'parse-complete',
      'bind-complete',
      'no-data',
      'error ERROR 25000',
      'ready I',
      'parse-complete',
      'bind-complete',
      'fields ?column?:23:4:-1:0',
      'row ["2"]',
      'done SELECT 1',
      'ready I',
    ],
  );
});
