import { inspect } from 'node:util';
import test from 'ava';
import pg from 'pg';
import type { PostgresMajor, PostgresServer } from '../../examples/support/postgres-server.ts';
import type { Log } from '../../src/platform/log.ts';
import { startListening } from '../sql-passthrough/support/listening.ts';
import { RawClient, rowsOf } from '../sql-passthrough/support/raw-client.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import { query } from '../sql-passthrough/support/messages.ts';
import { logIn, makeCertificates, startServer, type Certificates } from './stage.ts';

let certificates: Certificates;
const servers = new Map<PostgresMajor, PostgresServer>();

test.before(async () => {
  certificates = await makeCertificates();
  for (const major of [14, 18] as const) servers.set(major, await startServer(major, certificates));
});
test.after.always(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
  await certificates[Symbol.asyncDispose]();
});

function serverOf(major: PostgresMajor): PostgresServer {
  const server = servers.get(major);
  if (server === undefined) throw new Error(`PostgreSQL ${major} was not started`);
  return server;
}

/** Options of a listener whose client `orders` is `role` at the database. */
function managed(role: object, tls: object = {}): Readonly<Record<string, unknown>> {
  return { auth: { mode: 'managed', role, clients: [{ user: 'orders', password: 'customer' }] }, tls };
}

for (const major of [14, 18] as const) {
  for (const role of ['by_scram', 'by_md5', 'by_trust']) {
    test(`PostgreSQL ${major}: a client that has proved itself is ${role} at the database`, async (t) => {
      const server = serverOf(major);
      const options = managed(role === 'by_trust' ? { user: role } : { user: role, password: 'secret' });
      await using sidecar = await startListening({ to: server.port, options });
      t.deepEqual(await logIn({ port: sidecar.port }), { user: role, database: 'orders', ssl: false });
    });
  }

  for (const role of ['by_scram', 'by_md5', 'by_plain', 'by_trust', 'by_certificate']) {
    test(`PostgreSQL ${major}: with TLS and a certificate the sidecar is ${role} at the database`, async (t) => {
      const server = serverOf(major);
      const { ca, client: certificate, clientKey: key } = certificates;
      const options = managed(/scram|md5|plain/.test(role) ? { user: role, password: 'secret' } : { user: role }, {
        mode: 'verify-full',
        ca,
        certificate,
        key,
      });
      await using sidecar = await startListening({ to: server.port, options });
      t.deepEqual(await logIn({ port: sidecar.port }), { user: role, database: 'orders', ssl: true });
    });
  }
}

test('a wrong password and an unknown user hear the same error, and the database nothing', async (t) => {
  // A server that is not there: whoever reached it would get another error.
  await using sidecar = await startListening({ to: 1, options: managed({ user: 'by_scram', password: 'secret' }) });
  for (const [user, password] of [
    ['orders', 'wrong'],
    ['nobody', 'customer'],
    ['by_scram', 'secret'],
  ] as const) {
    t.deepEqual(await logIn({ port: sidecar.port, user, password }), {
      code: '28P01',
      message: `password authentication failed for user "${user}"`,
    });
  }
});

test('clients have roles of their own, and verifiers instead of passwords', async (t) => {
  const server = serverOf(18);
  const client = new pg.Client(server.url('postgres'));
  await client.connect();
  const { rows } = await client.query<{ verifier: string }>(
    "select rolpassword as verifier from pg_authid where rolname = 'by_scram'",
  );
  await client.end();
  const options = {
    auth: {
      mode: 'managed',
      role: { user: 'by_trust' },
      clients: [
        { user: 'orders', password: 'customer' },
        { user: 'reports', password: rows[0]?.verifier, role: { user: 'by_md5', password: 'secret' } },
      ],
    },
  };
  await using sidecar = await startListening({ to: server.port, options });
  t.like(await logIn({ port: sidecar.port }), { user: 'by_trust' });
  t.like(await logIn({ port: sidecar.port, user: 'reports', password: 'secret' }), { user: 'by_md5' });
  t.like(await logIn({ port: sidecar.port, user: 'reports', password: String(rows[0]?.verifier) }), { code: '28P01' });
});

test('passwords beyond ASCII are prepared as the server prepares them', async (t) => {
  const server = serverOf(18);
  // Decomposed here, composed there; with a character of today, which nothing prepares; with one that is mapped to nothing.
  for (const [index, password] of ['pa\u{301}ss', 'pa\u{301}ss\u{1f600}', 'I\u{ad}X', '\u{2168}'].entries()) {
    const role = `beyond_${index}`;
    await server.run('postgres', `create role ${role} login password '${password}'`);
    await server.authenticate([`host all ${role} 127.0.0.1/32 scram-sha-256`]);
    await using sidecar = await startListening({ to: server.port, options: managed({ user: role, password }) });
    t.like(await logIn({ port: sidecar.port }), { user: role }, password);
  }
});

test('a database that does not let the sidecar in is named in the log, not to the client as its own fault', async (t) => {
  const server = serverOf(18);
  for (const role of [
    { user: 'by_scram', password: 'wrong' },
    { user: 'never' },
    { user: 'by_scram' },
    { user: 'by_plain', password: 'secret' },
  ]) {
    await using sidecar = await startListening({ to: server.port, options: managed(role) });
    t.like(await logIn({ port: sidecar.port }), {
      code: '08004',
      message: 'atomesh: the sidecar cannot log in at the database',
    });
  }
});

test('other refusals of the database come as its own, such as a database that does not exist', async (t) => {
  const server = serverOf(18);
  await using sidecar = await startListening({ to: server.port, options: managed({ user: 'by_trust' }) });
  t.deepEqual(await logIn({ port: sidecar.port, database: 'nowhere' }), {
    code: '3D000',
    message: 'database "nowhere" does not exist',
  });
});

test('a database that is down is a FATAL 08001, after the client has proved itself', async (t) => {
  await using sidecar = await startListening({ to: 1, options: managed({ user: 'by_trust' }) });
  t.like(await logIn({ port: sidecar.port }), { code: '08001' });
});

test('the settings of the client go on to the database, its user and no database do not', async (t) => {
  const server = serverOf(18);
  await using sidecar = await startListening({ to: server.port, options: managed({ user: 'by_trust' }) });
  const client = new pg.Client({
    host: '127.0.0.1',
    port: sidecar.port,
    user: 'orders',
    password: 'customer',
    database: 'orders',
    application_name: 'the shop',
    options: '-c work_mem=1234kB',
  });
  await client.connect();
  const { rows } = await client.query(
    "select current_setting('application_name') as name, current_setting('work_mem') as memory, session_user as me",
  );
  t.deepEqual(rows, [{ name: 'the shop', memory: '1234kB', me: 'by_trust' }]);
  await client.end();
});

test('a statement of a managed session is cancelled with the key that the client was given', async (t) => {
  const server = serverOf(18);
  await using sidecar = await startListening({ to: server.port, options: managed({ user: 'by_trust' }) });
  const client = new pg.Client({
    host: '127.0.0.1',
    port: sidecar.port,
    user: 'orders',
    password: 'customer',
    database: 'orders',
  });
  await client.connect();
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const secret = Buffer.alloc(4);
  secret.writeInt32BE(secretKey);
  const running = t.throwsAsync(client.query('select pg_sleep(30)'), { code: '57014' });
  using observer = await new RawClient({ port: server.port }).logIn('postgres');
  for (let rows = 0; rows === 0;) {
    rows = rowsOf(await observer.query("select 1 from pg_stat_activity where wait_event = 'PgSleep'")).length;
  }
  using canceller = new RawClient({ port: sidecar.port });
  await canceller.send(encodeStartupPacket({ kind: 'cancel-request', processId: processID, secret }));
  await canceller.closed();
  await running;
  await client.end();
});

test('a client that names nobody, and one that sends something else than an answer, are refused', async (t) => {
  await using sidecar = await startListening({ to: 1, options: managed({ user: 'by_trust' }) });
  using nobody = new RawClient({ port: sidecar.port });
  await nobody.startUp({ database: 'orders' });
  await nobody.closed();
  t.like(nobody.errors[0], { code: '28000', message: 'no PostgreSQL user name specified in startup packet' });
  using hasty = new RawClient({ port: sidecar.port });
  await hasty.startUp({ user: 'orders' });
  await hasty.send([query('select 1')]);
  await hasty.closed();
  t.is(hasty.types, 'RE');
  t.like(hasty.errors[0], { code: '08P01', message: 'expected SASL response' });
});

test('an answer larger than any of a login ends the connection before it has come', async (t) => {
  await using sidecar = await startListening({ to: 1, options: managed({ user: 'by_trust' }) });
  using client = new RawClient({ port: sidecar.port });
  await client.startUp({ user: 'orders' });
  await client.send(Buffer.from('p\x7f\xff\xff\xff', 'latin1'));
  await client.closed();
  t.like(client.errors[0], { severity: 'FATAL', code: '08P01' });
});

test('the sidecar that shuts down tells a client in the middle of its login', async (t) => {
  const sidecar = await startListening({ to: 1, options: managed({ user: 'by_trust' }) });
  using client = new RawClient({ port: sidecar.port });
  await client.startUp({ user: 'orders' });
  await client.until('R', () => client.count('R') === 1);
  await sidecar[Symbol.asyncDispose]();
  await client.closed();
  t.is(client.errors[0]?.code, '57P01');
});

test('no log has a secret in it, whatever goes wrong', async (t) => {
  const server = serverOf(18);
  const lines: string[] = [];
  const note = (fields: object, message: string): void =>
    void lines.push(`${inspect(fields, { depth: 9 })} ${message}`);
  const log: Log = { debug: note, info: note, warn: note, error: note, fatal: note, child: () => log };
  for (const role of [
    { user: 'by_scram', password: 'secret' },
    { user: 'by_scram', password: 'not-the-secret' },
    { user: 'by_plain', password: 'secret' },
  ]) {
    await using sidecar = await startListening({ to: server.port, options: managed(role), log });
    for (const login of [{}, { password: 'typed-wrong' }, { user: 'nobody' }, { database: 'nowhere' }]) {
      await logIn({ port: sidecar.port, ...login });
    }
  }
  const text = lines.join('\n');
  t.regex(text, /a database client was refused/);
  t.regex(text, /databases\[\]\.auth\.clients has no such user/);
  t.regex(text, /password authentication failed for user "by_scram"/);
  t.regex(text, /the server asks for the password in clear text, over a connection without TLS/);
  t.notRegex(text, /customer|secret'|not-the-secret|typed-wrong|SCRAM-SHA-256\$/);
});
