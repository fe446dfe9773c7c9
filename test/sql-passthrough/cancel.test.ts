import test, { type ExecutionContext } from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import { startListening } from './support/listening.ts';
import { RawClient, rowsOf } from './support/raw-client.ts';
import { query } from './support/messages.ts';

let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
});
test.after.always(() => server[Symbol.asyncDispose]());

/** Sends a cancel request and waits until it is answered, which is by closing the connection. */
async function cancel(port: number, key: Buffer): Promise<void> {
  using client = new RawClient({ port });
  const request = { kind: 'cancel-request', processId: key.readInt32BE(0), secret: key.subarray(4) } as const;
  await client.send(encodeStartupPacket(request));
  await client.closed();
}

/** Waits until the server has begun the statement, or else the request would find nothing to cancel. */
async function isRunning(observer: RawClient, processId: number): Promise<void> {
  for (let left = 500; left > 0; left -= 1) {
    const [row] = rowsOf(await observer.query(`select wait_event from pg_stat_activity where pid = ${processId}`));
    if (row?.[0] === 'PgSleep') return;
  }
  throw new Error('the statement did not begin');
}

async function isCancelled(t: ExecutionContext, port: number, client: RawClient): Promise<void> {
  using observer = await new RawClient({ port }).logIn('postgres');
  const from = client.frames.length;
  await client.send([query('select pg_sleep(30)')]);
  await isRunning(observer, client.processId);
  await cancel(port, client.keyData);
  await client.ready(1, from);
  t.like(client.errors.at(-1), { code: '57014', severity: 'ERROR' });
  t.deepEqual(rowsOf(await client.query('select 1')), [['1']]);
}

test('a cancel request ends the statement that runs, and the session goes on', async (t) => {
  await using old = await startPostgres({ major: 14 });
  await using sidecar = await startListening({ to: old.port });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  t.is(client.keyData.length, 8);
  await isCancelled(t, sidecar.port, client);
});

test('a cancel request of protocol 3.2 carries its long key through', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres', {}, 196_610);
  t.is(client.keyData.length, 4 + 32);
  await isCancelled(t, sidecar.port, client);
});

test('a cancel request with a key that is nobody’s does nothing', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  using observer = await new RawClient({ port: sidecar.port }).logIn('postgres');
  const from = client.frames.length;
  await client.send([query("select 'undisturbed' from pg_sleep(0.3)")]);
  await isRunning(observer, client.processId);
  const wrong = Buffer.from(client.keyData);
  wrong.writeInt32BE(~wrong.readInt32BE(4), 4);
  await cancel(sidecar.port, wrong);
  await cancel(sidecar.port, Buffer.alloc(8, 1));
  await client.ready(1, from);
  t.deepEqual(rowsOf(client.frames.slice(from)), [['undisturbed']]);
});

test('a cancel request gets through when no session is free', async (t) => {
  await using sidecar = await startListening({ to: server.port, sessionsMax: 2 });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  await isCancelled(t, sidecar.port, client);
});

test('a cancel request that finds no server is closed without an answer', async (t) => {
  await using sidecar = await startListening({ to: 1 });
  await t.notThrowsAsync(cancel(sidecar.port, Buffer.alloc(8, 1)));
});
