import test from 'ava';
import pg from 'pg';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import { startListening } from './support/listening.ts';
import { RawClient, rowsOf } from './support/raw-client.ts';

let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
});
test.after.always(() => server[Symbol.asyncDispose]());

/** How a login went: who one is, or the server's error to its last field. */
async function logIn(port: number, user: string, password: string, database = 'postgres'): Promise<object> {
  const client = new pg.Client({ host: '127.0.0.1', port, user, password, database });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query('select current_user as me');
    return { ...(rows[0] as object) };
  } catch (error) {
    return { ...(error as object), message: (error as Error).message };
  } finally {
    await client.end().catch(() => undefined);
  }
}

for (const major of [18, 14] as const) {
  test(`PostgreSQL ${major}: every kind of login goes as it goes without the sidecar, a failed one with the server's own error`, async (t) => {
    await using own = await startPostgres({ major });
    await using sidecar = await startListening({ to: own.port });
    await own.run(
      'postgres',
      `set password_encryption = 'scram-sha-256'; create role by_scram login password 'secret';
       create role by_plain login password 'secret'; create role never login; create role asleep nologin;
       set password_encryption = 'md5'; create role by_md5 login password 'secret'`,
    );
    await own.authenticate([
      'host all by_scram 127.0.0.1/32 scram-sha-256',
      'host all by_md5 127.0.0.1/32 md5',
      'host all by_plain 127.0.0.1/32 password',
      'host all never 127.0.0.1/32 reject',
    ]);
    for (const user of ['postgres', 'by_scram', 'by_md5', 'by_plain']) {
      t.deepEqual(await logIn(sidecar.port, user, 'secret'), { me: user });
    }
    for (const user of ['by_scram', 'by_md5', 'by_plain', 'never', 'asleep', 'unknown']) {
      const refused = await logIn(sidecar.port, user, 'wrong');
      t.like(refused, { severity: 'FATAL' });
      t.deepEqual(refused, await logIn(own.port, user, 'wrong'), user);
    }
    const lost = await logIn(sidecar.port, 'by_scram', 'secret', 'nowhere');
    t.like(lost, { code: '3D000' });
    t.deepEqual(lost, await logIn(own.port, 'by_scram', 'secret', 'nowhere'));
  });
}

test('the process id of the key data is that of the server process, one for one', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  const clients = await Promise.all(
    Array.from({ length: 5 }, () => new RawClient({ port: sidecar.port }).logIn('postgres')),
  );
  for (const client of clients) {
    const rows = rowsOf(await client.query('select pg_backend_pid()'));
    t.deepEqual(rows, [[String(client.processId)]]);
    client.destroy();
  }
  t.is(new Set(clients.map(({ processId }) => processId)).size, 5);
});

test('requests for encryption are answered with N, in any order, and the login goes on without', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  for (const requests of [
    ['ssl-request'],
    ['gssenc-request', 'ssl-request'],
    ['ssl-request', 'gssenc-request'],
  ] as const) {
    using client = new RawClient({ port: sidecar.port, chunkBytes: 3 });
    for (const request of requests) t.is(await client.ask(request), 'N');
    await client.logIn('postgres');
    t.is(client.count('Z'), 1);
  }
});

test('bytes behind a request for encryption end the connection, and the server hears nothing of them', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  const startup = encodeStartupPacket({
    kind: 'startup',
    protocol: 196_608,
    parameters: [[Buffer.from('user'), Buffer.from('postgres')]],
  });
  using client = new RawClient({ port: sidecar.port });
  await client.send(Buffer.concat([encodeStartupPacket({ kind: 'ssl-request' }), startup]));
  await client.closed();
  t.is(client.errors[0]?.code, '08P01');
  t.is(client.types, 'E');
});

test('a client that begins TLS without asking hears how to connect', async (t) => {
  await using sidecar = await startListening({ to: 1 });
  using client = new RawClient({ port: sidecar.port });
  await client.send(Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]));
  await client.closed();
  t.like(client.errors[0], { severity: 'FATAL', code: '08004' });
  t.regex(client.errors[0]?.hint ?? '', /sslmode=disable/);
});

test('a server that is down is a FATAL 08001 with the way out, and the next client gets through when it is up', async (t) => {
  await using own = await startPostgres();
  await using sidecar = await startListening({ to: own.port });
  await own.kill();
  using early = new RawClient({ port: sidecar.port });
  await early.startUp({ user: 'postgres', database: 'postgres' });
  await early.closed();
  t.like(early.errors[0], { severity: 'FATAL', code: '08001' });
  t.regex(early.errors[0]?.message ?? '', new RegExp(`127\\.0\\.0\\.1:${own.port}.*ECONNREFUSED`));
  t.regex(early.errors[0]?.hint ?? '', /databases\[\]\.upstream/);
  await own.start();
  using late = await new RawClient({ port: sidecar.port }).logIn('postgres');
  t.is(late.count('Z'), 1);
});
