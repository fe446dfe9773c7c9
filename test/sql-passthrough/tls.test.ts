import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import pg from 'pg';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import { makeAuthority, makeServerCertificate } from './support/certificate.ts';
import { startListening } from './support/listening.ts';
import { RawClient, rowsOf } from './support/raw-client.ts';
import { query } from './support/messages.ts';

const NOBODY = 65_534;

let folder: string;
let server: PostgresServer;
let ca: string;
let otherCa: string;

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'atomesh-tls-'));
  await chmod(folder, 0o711);
  const authority = makeAuthority('the authority');
  const certificate = makeServerCertificate('127.0.0.1', authority);
  const write = async (name: string, text: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    // The server does not run as root, and takes a key only from its own user.
    if (process.getuid?.() === 0) await chown(path, NOBODY, NOBODY);
    return path;
  };
  ca = await write('ca.pem', authority.pem);
  otherCa = await write('other-ca.pem', makeAuthority('somebody else').pem);
  server = await startPostgres({
    settings: {
      ssl: 'on',
      ssl_cert_file: await write('server.pem', certificate.pem),
      ssl_key_file: await write('server.key', certificate.keyPem),
    },
  });
  await server.run(
    'postgres',
    "create role by_scram login password 'secret'; create role copier login replication password 'secret'; create role trusted login",
  );
  await server.authenticate([
    'hostssl all by_scram 127.0.0.1/32 scram-sha-256',
    'hostssl replication copier 127.0.0.1/32 scram-sha-256',
    'hostssl all trusted 127.0.0.1/32 trust',
    'hostnossl all all 127.0.0.1/32 trust',
  ]);
});

test.after.always(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const ENCRYPTED = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';

for (const mode of ['require', 'verify-full'] as const) {
  test(`with tls.mode ${mode} the way to the server is encrypted, and SCRAM goes through it`, async (t) => {
    await using sidecar = await startListening({ to: server.port, tls: { mode, ca } });
    const client = new pg.Client({
      host: '127.0.0.1',
      port: sidecar.port,
      user: 'by_scram',
      password: 'secret',
      database: 'postgres',
    });
    await client.connect();
    t.deepEqual((await client.query(ENCRYPTED)).rows, [{ ssl: true }]);
    t.is((await client.query<{ x: string }>("select repeat('x', 1000000) as x")).rows[0]?.x.length, 1_000_000);
    await client.end();
    const wrong = new pg.Client({
      host: '127.0.0.1',
      port: sidecar.port,
      user: 'by_scram',
      password: 'wrong',
      database: 'postgres',
    });
    await t.throwsAsync(wrong.connect(), { code: '28P01' });
  });
}

test('the offer of channel binding is kept from the client, whose connection has none', async (t) => {
  await using sidecar = await startListening({ to: server.port, tls: { mode: 'require' } });
  using client = new RawClient({ port: sidecar.port, chunkBytes: 1 });
  await client.startUp({ user: 'by_scram', database: 'postgres' });
  await client.until('R', () => client.count('R') === 1);
  t.is(client.frames[0]?.bytes.toString('latin1', 9), 'SCRAM-SHA-256\0\0');
});

test('a replication session takes the same way', async (t) => {
  await using sidecar = await startListening({ to: server.port, tls: { mode: 'require' } });
  using client = new RawClient({ port: sidecar.port });
  await client.startUp({ user: 'copier', replication: 'true' });
  await client.until('R', () => client.count('R') === 1);
  t.is(client.frames[0]?.bytes.toString('latin1', 9), 'SCRAM-SHA-256\0\0');
});

test('a cancel request goes encrypted too', async (t) => {
  await using sidecar = await startListening({ to: server.port, tls: { mode: 'verify-full', ca } });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres', { user: 'trusted' });
  t.deepEqual(rowsOf(await client.query(ENCRYPTED)), [['t']]);
  const from = client.frames.length;
  await client.send([query("set application_name = 'begun'; select pg_sleep(30)")]);
  using observer = await new RawClient({ port: server.port }).logIn('postgres');
  for (let rows = 0; rows === 0;) {
    rows = rowsOf(await observer.query("select 1 from pg_stat_activity where wait_event = 'PgSleep'")).length;
  }
  using canceller = new RawClient({ port: sidecar.port });
  const secret = client.keyData.subarray(4);
  await canceller.send(encodeStartupPacket({ kind: 'cancel-request', processId: client.processId, secret }));
  await canceller.closed();
  await client.ready(1, from);
  t.is(client.errors[0]?.code, '57014');
});

test('a server whose certificate another authority signed is refused, and why is said', async (t) => {
  await using sidecar = await startListening({ to: server.port, tls: { mode: 'verify-full', ca: otherCa } });
  await refuses(t, sidecar.port, /cannot reach the database at 127\.0\.0\.1:\d+: .*certificate/);
});

test('a server whose certificate names another host is refused with verify-full', async (t) => {
  await using sidecar = await startListening({ to: server.port, host: 'localhost', tls: { mode: 'verify-full', ca } });
  await refuses(t, sidecar.port, /does not match certificate/);
});

test('a certificate authority that cannot be read is named', async (t) => {
  const missing = join(folder, 'missing.pem');
  await using sidecar = await startListening({ to: server.port, tls: { mode: 'verify-full', ca: missing } });
  await refuses(t, sidecar.port, /missing\.pem/);
});

test('a server without TLS is refused when TLS is required', async (t) => {
  await using plain = await startPostgres({ major: 14 });
  await using sidecar = await startListening({ to: plain.port, tls: { mode: 'require' } });
  await refuses(t, sidecar.port, /the server does not offer TLS/);
});

async function refuses(t: ExecutionContext, port: number, why: RegExp): Promise<void> {
  using client = new RawClient({ port });
  await client.startUp({ user: 'postgres', database: 'postgres' });
  await client.closed();
  t.is(client.types, 'E');
  t.like(client.errors[0], { severity: 'FATAL', code: '08001' });
  t.regex(client.errors[0]?.message ?? '', why);
  t.regex(client.errors[0]?.hint ?? '', /databases\[\]\.tls/);
}
