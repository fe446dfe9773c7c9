import test from 'ava';
import pg from 'pg';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { NOTHING_LEFT, type Mesh } from './mesh.ts';
import { commented, reset, startShopMesh } from './prove.ts';
import { openWire, say, type WireClient } from './wire-client.ts';

let mesh: Mesh;
let before: Awaited<ReturnType<Mesh['dump']>>;
test.before(async () => {
  mesh = await startShopMesh(18);
  before = await mesh.dump();
});
test.after.always(() => mesh[Symbol.asyncDispose]());
test.afterEach.always(() => reset(mesh));

type Way = (wire: WireClient, text: string) => Promise<string[]>;

const WAYS: Readonly<Record<string, Way>> = {
  simple: (wire, text) => wire.ask(say.query(text)),
  extended: (wire, text) => wire.ask(...say.run(text), say.sync),
};

/** Waits until the coordinator has rolled the whole back. */
async function rolledBack(gid: Gid): Promise<void> {
  const { status } = await mesh.over(gid);
  if (status !== 'failed') throw new Error(`global transaction ${gid} is ${status}`);
}

/** A local transaction that has changed a row and waits for its deadline: the shortest of some that this machine can keep. */
async function openAtDeadline(wire: WireClient, run: Way): Promise<{ readonly gid: Gid; readonly last: string }> {
  for (let timeoutMs = 300; ; timeoutMs *= 3) {
    const gid = await mesh.begin(timeoutMs);
    await run(wire, commented('BEGIN', gid));
    const last = (await run(wire, 'DELETE FROM lonely')).at(-1) ?? '';
    if (last === 'ready T' || timeoutMs > 5_000) return { gid, last };
    await run(wire, 'ROLLBACK');
  }
}

/** The SQLSTATE that a query ends with. */
async function codeOf(query: Promise<unknown>): Promise<string> {
  return query.then(
    () => 'none',
    (error: pg.DatabaseError) => error.code ?? error.message,
  );
}

/** The server's process that runs a statement with such a text, once it waits for a lock. */
async function waitingProcess(text: string): Promise<number> {
  return until('a statement waits for a lock', async () => {
    // Asked outside any transaction: inside one the server repeats its first answer.
    const { rows } = await mesh.twin.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1",
      [`%${text}%`],
    );
    return rows[0]?.pid;
  });
}

for (const [way, run] of Object.entries(WAYS)) {
  test.serial(
    `a local transaction open at the deadline is rolled back under its client, by the ${way} protocol`,
    async (t) => {
      await using wire = await openWire(mesh.through);
      const { gid, last } = await openAtDeadline(wire, run);
      t.is(last, 'ready T');
      await rolledBack(gid);
      for (const text of ['UPDATE tree SET parent = NULL', 'SELECT 1', 'SAVEPOINT a', commented('SELECT 2', gid)]) {
        const lines = await run(wire, text);
        t.true(lines.at(-2)?.startsWith('error ERROR 40000'), `${text}: ${lines.join(' / ')}`);
        t.is(lines.at(-1), 'ready E');
      }
      t.deepEqual((await run(wire, 'ROLLBACK')).slice(-2), ['done ROLLBACK', 'ready I']);
      t.deepEqual((await run(wire, 'SELECT count(*) FROM lonely')).slice(-3), [
        'row ["1"]',
        'done SELECT 1',
        'ready I',
      ]);
      t.deepEqual(await mesh.dump(), before);
      const next = await mesh.begin();
      t.is((await run(wire, commented('DELETE FROM lonely', next))).at(-2), 'done DELETE 1');
      await mesh.end(next, 'rollback');
      t.deepEqual(await mesh.dump(), before);
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    },
  );

  test.serial(`a COMMIT that comes after the rollback says so, by the ${way} protocol`, async (t) => {
    await using wire = await openWire(mesh.through);
    const gid = await mesh.begin();
    await run(wire, commented('BEGIN', gid));
    await run(wire, 'DELETE FROM lonely');
    await mesh.end(gid, 'rollback');
    const late = await run(wire, 'COMMIT');
    t.true(late.at(-2)?.startsWith('error ERROR 40000'), late.join(' / '));
    t.is(late.at(-1), 'ready I', 'the block is over, as after any COMMIT that fails');
    t.deepEqual(await mesh.dump(), before);
    // One that has been told of it already gets the tag of a failed block.
    const again = await mesh.begin();
    await run(wire, commented('BEGIN', again));
    await run(wire, 'DELETE FROM lonely');
    await mesh.end(again, 'rollback');
    await run(wire, 'SELECT 1');
    t.deepEqual((await run(wire, 'COMMIT')).slice(-2), ['done ROLLBACK', 'ready I']);
    t.is((await run(wire, 'SELECT 1')).at(-1), 'ready I');
    t.deepEqual(await mesh.dump(), before);
  });
}

test.serial('statements that were prepared while the session was doomed are not taken for prepared', async (t) => {
  await using wire = await openWire(mesh.through);
  const gid = await mesh.begin();
  await wire.ask(say.query(commented('BEGIN', gid)), say.query('DELETE FROM lonely'));
  await mesh.end(gid, 'rollback');
  await wire.ask(say.parse('SELECT 7', 'late'), say.bind([], 'late'), say.execute(), say.sync);
  await wire.ask(say.query('ROLLBACK'));
  const lines = await wire.ask(say.bind([], 'late'), say.execute(), say.sync);
  t.true(lines[0]?.startsWith('error ERROR 26000'), lines.join(' / '));
  t.deepEqual(await wire.ask(...say.run('SELECT 7'), say.sync).then((all) => all.at(-2)), 'done SELECT 1');
});

for (const block of ['BEGIN', undefined]) {
  test.serial(
    `a statement in flight when the whole is rolled back is undone, ${block === undefined ? 'alone' : 'in a block'}`,
    async (t) => {
      const client = await mesh.client();
      const gid = await mesh.begin();
      await mesh.owner.query('BEGIN; UPDATE item SET qty = 50 WHERE id = 1');
      await client.query(commented(block ?? 'UPDATE lonely SET v = 8', gid));
      const flying = codeOf(client.query(commented('UPDATE item SET qty = qty + 1 WHERE id = 1', gid)));
      await waitingProcess('atomesh_c');
      await mesh.coordinator.abort(gid, {});
      await mesh.owner.query('COMMIT');
      // It may be through before it is cancelled.
      t.true(['none', '40000'].includes(await flying));
      await rolledBack(gid);
      const next = await codeOf(client.query('SELECT 1'));
      t.is(next, block === undefined ? 'none' : '40000');
      if (block !== undefined) await client.query('ROLLBACK');
      const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id = 1');
      t.deepEqual(rows, [{ qty: 50 }]);
      await mesh.owner.query('UPDATE item SET qty = 1 WHERE id = 1');
      t.deepEqual(await mesh.dump(), before);
      t.is(await mesh.leftovers(), NOTHING_LEFT);
      await client.end();
    },
  );

  test.serial(
    `a connection that the server ends inside a gid tells its client why, ${block === undefined ? 'alone' : 'in a block'}`,
    async (t) => {
      await using wire = await openWire(mesh.through);
      const gid = await mesh.begin();
      await mesh.owner.query('BEGIN; UPDATE item SET qty = 50 WHERE id = 1');
      await wire.ask(say.query(commented(block ?? 'UPDATE lonely SET v = 8', gid)));
      wire.send(say.query(commented('UPDATE item SET qty = qty + 1 WHERE id = 1', gid)));
      const pid = await waitingProcess('atomesh_c');
      await mesh.owner.query(`SELECT pg_terminate_backend(${pid}); ROLLBACK`);
      const lines = await wire.answers.ready(1);
      t.true(lines.at(-1)?.startsWith('error FATAL 57P01'), lines.join(' / '));
      t.true(wire.answers.isClosed);
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.dump(), before);
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    },
  );
}

test.serial('a connection that the server ends between two statements of a gid tells its client why', async (t) => {
  await using wire = await openWire(mesh.through);
  const gid = await mesh.begin();
  await wire.ask(say.query(commented('BEGIN', gid)), say.query('DELETE FROM lonely'));
  const [, row] = await wire.ask(say.query('SELECT pg_backend_pid()'));
  await mesh.owner.query('SELECT pg_terminate_backend($1)', [/\d+/.exec(row ?? '')?.[0]]);
  const lines = await wire.answers.ready(1);
  t.true(lines.at(-1)?.startsWith('error FATAL 57P01'), lines.join(' / '));
  await mesh.end(gid, 'commit');
  t.deepEqual(await mesh.dump(), before);
});

test.serial(
  'without the coordinator nothing joins: 08006, nothing changed, and on again when it is back',
  async (t) => {
    const client = await mesh.client();
    const gid = await mesh.begin();
    const enlisted = await mesh.begin();
    const codeOf = (text: string): Promise<string> =>
      client.query(text).then(
        () => 'none',
        (error: pg.DatabaseError) => error.code ?? error.message,
      );
    const open = await mesh.client();
    await open.query(commented('BEGIN', enlisted));
    await open.query('UPDATE item SET qty = 70 WHERE id = 1');
    await mesh.line.cut();
    t.is(await codeOf(commented('DELETE FROM lonely', gid)), '08006');
    t.is(await codeOf(commented('BEGIN', gid)), 'none');
    t.is(await codeOf('SELECT * FROM lonely'), 'none');
    t.is(await codeOf('DELETE FROM lonely'), '08006');
    t.is(await codeOf('SELECT 1'), '25P02');
    t.is(await codeOf('ROLLBACK'), 'none');
    t.deepEqual(await mesh.dump(), before);
    t.is(await codeOf('SELECT 1'), 'none');
    // What is enlisted needs it no more.
    await open.query('UPDATE item SET qty = 71 WHERE id = 1');
    await open.query('COMMIT');
    await mesh.line.mend();
    t.is(await codeOf(commented('DELETE FROM lonely', gid)), 'none');
    await mesh.end(gid, 'rollback');
    await mesh.end(enlisted, 'rollback');
    t.deepEqual(await mesh.dump(), before);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
    await Promise.all([client.end(), open.end()]);
  },
);

test.serial('a client that vanishes leaves nothing of its open local transaction', async (t) => {
  const gid = await mesh.begin();
  const client = new pg.Client(mesh.through);
  client.on('error', () => undefined);
  await client.connect();
  await client.query(commented('UPDATE lonely SET v = 6', gid));
  await client.query(commented('BEGIN', gid));
  await client.query('DELETE FROM tree WHERE id = 4');
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  await mesh.end(gid, 'commit');
  t.deepEqual(await mesh.dump(), { ...before, lonely: ['(lonely,6)'] });
  t.is(await mesh.leftovers(), NOTHING_LEFT);
});

test.serial('the second phase outlives the loss of its connection', async (t) => {
  const client = await mesh.client();
  const gid = await mesh.begin();
  await client.query(commented('UPDATE lonely SET v = 5', gid));
  // The restoring connection waits here, in the middle of its local transaction.
  await mesh.owner.query('BEGIN; SELECT FROM lonely FOR UPDATE');
  await mesh.coordinator.abort(gid, {});
  const pid = await waitingProcess('lonely');
  await mesh.owner.query(`SELECT pg_terminate_backend(${pid}); ROLLBACK`);
  await rolledBack(gid);
  t.deepEqual(await mesh.dump(), before);
  t.is(await mesh.leftovers(), NOTHING_LEFT);
  await client.end();
});

test.serial('a database that dies between the phases is restored when it is back', async (t) => {
  const other = await startShopMesh(18);
  try {
    const client = await other.client();
    const gid = await other.begin();
    await client.query(commented('DELETE FROM lonely', gid));
    await client.query(commented('BEGIN', gid));
    await client.query('DELETE FROM tree WHERE id = 4');
    await other.server.kill();
    await other.coordinator.abort(gid, {});
    await other.server.start();
    t.is((await other.over(gid)).status, 'failed');
    const { rows } = await (
      await other.reopened()
    ).query(
      'SELECT (SELECT count(*) FROM lonely) + (SELECT count(*) FROM tree) AS rows, (SELECT count(*) FROM atomesh.row_lock) AS locks',
    );
    t.deepEqual(rows, [{ rows: '5', locks: '0' }]);
  } finally {
    await other[Symbol.asyncDispose]();
  }
});
