import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import pg from 'pg';
import type { PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { readReport, decodeReport } from '../../proxy/postgres/wire/error.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import type { Log } from '../../src/platform/log.ts';
import { startListening, type Listening } from '../sql-passthrough/support/listening.ts';
import { RawClient, rowsOf } from '../sql-passthrough/support/raw-client.ts';
import { logIn, makeCertificates, startServer, type Certificates } from './stage.ts';

let certificates: Certificates;
/** One with TLS, one that has none. */
let server: PostgresServer;
let plain: PostgresServer;
let trust: ConnectionOptions;

test.before(async () => {
  certificates = await makeCertificates();
  [server, plain] = await Promise.all([startServer(18, certificates), startServer(17)]);
  trust = { ca: readFileSync(certificates.ca) };
});
test.after.always(async () => {
  await server[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
  await certificates[Symbol.asyncDispose]();
});

interface Standing {
  readonly to?: PostgresServer;
  readonly listenTls?: object;
  readonly tls?: object;
  readonly isManaged?: boolean;
}

function start({ to = plain, listenTls, tls, isManaged = true }: Standing = {}): Promise<Listening> {
  const { server: certificate, serverKey: key } = certificates;
  return startListening({
    to: to.port,
    database: 'orders',
    options: {
      listenTls: { certificate, key, ...listenTls },
      ...(tls === undefined ? {} : { tls }),
      ...(isManaged
        ? { auth: { mode: 'managed', role: { user: 'by_trust' }, clients: [{ user: 'orders', password: 'customer' }] } }
        : {}),
    },
  });
}

for (const isDirect of [false, true]) {
  const how = isDirect ? 'directly' : 'after asking';
  test(`a client that begins TLS ${how} gets in, with and without channel binding`, async (t) => {
    await using sidecar = await start();
    for (const isBound of [false, true]) {
      const options = { port: sidecar.port, ssl: trust, isDirect, isBound };
      t.deepEqual(await logIn(options), { user: 'by_trust', database: 'orders', ssl: false });
      t.like(await logIn({ ...options, password: 'wrong' }), { code: '28P01' });
    }
  });
}

test('large answers come through TLS on both sides whole, and a global transaction is known', async (t) => {
  await using sidecar = await start({ to: server, tls: { mode: 'verify-full', ca: certificates.ca } });
  const client = new pg.Client({
    host: '127.0.0.1',
    port: sidecar.port,
    user: 'orders',
    password: 'customer',
    database: 'orders',
    ssl: trust,
  });
  await client.connect();
  const { rows } = await client.query<{ x: string }>("select repeat('x', 20000000) as x");
  t.is(rows[0]?.x.length, 20_000_000);
  const long = 'y'.repeat(5_000_000);
  t.is((await client.query<{ bytes: number }>('select length($1) as bytes', [long])).rows[0]?.bytes, long.length);
  await client.query('begin');
  await client.query("select set_config('atomesh.gid', 'g1', true)");
  await t.throwsAsync(client.query('vacuum'), { message: /atomesh/ });
  await client.query('rollback');
  await client.end();
});

test('the server certificate is verified by the client, by name and by authority', async (t) => {
  await using sidecar = await start();
  t.like(await logIn({ port: sidecar.port, ssl: { ca: readFileSync(certificates.otherCa) } }), {
    code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  });
});

test('with mode require a client without TLS is told so; with allow it gets in', async (t) => {
  await using strict = await start();
  t.deepEqual(await logIn({ port: strict.port }), {
    code: '28000',
    message: 'atomesh: this listener takes TLS connections only',
  });
  await using lenient = await start({ listenTls: { mode: 'allow' } });
  t.like(await logIn({ port: lenient.port }), { user: 'by_trust' });
  t.like(await logIn({ port: lenient.port, ssl: trust }), { user: 'by_trust' });
});

test('with clientCa only clients with a certificate of that authority get in', async (t) => {
  await using sidecar = await start({ listenTls: { clientCa: certificates.ca } });
  const { client, clientKey, other, otherKey } = certificates;
  const own = { ...trust, cert: readFileSync(client), key: readFileSync(clientKey) };
  t.like(await logIn({ port: sidecar.port, ssl: own }), { user: 'by_trust' });
  t.like(await logIn({ port: sidecar.port, ssl: own, isDirect: true, isBound: true }), { user: 'by_trust' });
  t.like(await logIn({ port: sidecar.port, ssl: own, password: 'wrong' }), { code: '28P01' });
  for (const ssl of [trust, { ...trust, cert: readFileSync(other), key: readFileSync(otherKey) }]) {
    const refused = (await logIn({ port: sidecar.port, ssl })) as { readonly message: string };
    t.regex(refused.message, /alert|ECONNRESET|terminated|closed/i);
  }
});

/** Options of a listener that shows another certificate than the server does. */
async function withAnotherCertificate(own: Certificates): Promise<Listening> {
  const listenTls = { certificate: own.server, key: own.serverKey };
  return start({ to: server, tls: { mode: 'require' }, isManaged: false, listenTls });
}

test('passed through, a login goes over TLS on the client side, and on both for clients without channel binding', async (t) => {
  await using near = await start({ isManaged: false });
  const login = { user: 'by_scram', password: 'secret', ssl: trust };
  t.deepEqual(await logIn({ ...login, port: near.port }), { user: 'by_scram', database: 'orders', ssl: false });
  t.like(await logIn({ ...login, port: near.port, isBound: true }), { user: 'by_scram' });
  t.like(await logIn({ ...login, port: near.port, password: 'wrong' }), { code: '28P01' });
  await using own = await makeCertificates();
  await using both = await withAnotherCertificate(own);
  const ssl = { ca: readFileSync(own.ca) };
  t.deepEqual(await logIn({ ...login, ssl, port: both.port }), { user: 'by_scram', database: 'orders', ssl: true });
});

test('passed through over TLS on both sides, a client that misses channel binding hears what to do', async (t) => {
  await using own = await makeCertificates();
  await using sidecar = await withAnotherCertificate(own);
  const client = new pg.Client({
    host: '127.0.0.1',
    port: sidecar.port,
    user: 'by_scram',
    password: 'secret',
    database: 'orders',
    ssl: { ca: readFileSync(own.ca) },
    enableChannelBinding: true,
  });
  const error = await client.connect().then(
    () => undefined,
    (cause: unknown) => cause as pg.DatabaseError,
  );
  t.is(error?.code, '28000');
  t.regex(error?.hint ?? '', /channel_binding=disable.*auth\.mode: managed/);
});

test('passed through over TLS with the certificate of the server itself, channel binding goes through too', async (t) => {
  await using sidecar = await start({
    to: server,
    tls: { mode: 'verify-full', ca: certificates.ca },
    isManaged: false,
  });
  const login = { port: sidecar.port, user: 'by_scram', ssl: trust, isBound: true };
  t.deepEqual(await logIn({ ...login, password: 'secret' }), { user: 'by_scram', database: 'orders', ssl: true });
  t.like(await logIn({ ...login, password: 'wrong' }), { code: '28P01' });
  t.like(await logIn({ ...login, password: 'secret', isBound: false }), { user: 'by_scram' });
});

test('plain bytes behind the request for TLS, in the same write or before the handshake, get nobody in', async (t) => {
  await using sidecar = await start();
  const startup = encodeStartupPacket({
    kind: 'startup',
    protocol: 196_608,
    parameters: [[Buffer.from('user'), Buffer.from('orders')]],
  });
  const asking = encodeStartupPacket({ kind: 'ssl-request' });
  using smuggler = new RawClient({ port: sidecar.port });
  await smuggler.send(Buffer.concat([asking, startup]));
  await smuggler.closed();
  t.is(smuggler.errors[0]?.code, '08P01');

  const late = connectTcp({ host: '127.0.0.1', port: sidecar.port });
  late.write(asking);
  const [yes] = (await once(late, 'data')) as [Buffer];
  t.is(yes.toString(), 'S');
  late.write(startup);
  let heard = '';
  late.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
  late.on('error', () => undefined);
  await once(late, 'close');
  // At most the alert of TLS: nothing of PostgreSQL.
  t.notRegex(heard, /SCRAM|FATAL/);
});

test('direct TLS must name its protocol', async (t) => {
  await using sidecar = await start();
  const nameless = connectTls({ host: '127.0.0.1', port: sidecar.port, ...trust });
  t.is((await errorOf(nameless)).code, '08P01');
  const web = connectTls({ host: '127.0.0.1', port: sidecar.port, ...trust, ALPNProtocols: ['http/1.1'] });
  await t.throwsAsync(once(web, 'secureConnect'), { message: /alert|no application protocol|disconnected/i });
});

test('a cancel request may come over TLS, asked for or direct, and without', async (t) => {
  await using sidecar = await start();
  const login = { user: 'orders', password: 'customer', database: 'orders', ssl: trust };
  const client = new pg.Client({ host: '127.0.0.1', port: sidecar.port, ...login });
  await client.connect();
  const { processID, secretKey } = client as unknown as { readonly processID: number; readonly secretKey: number };
  const secret = Buffer.alloc(4);
  secret.writeInt32BE(secretKey);
  const request = encodeStartupPacket({ kind: 'cancel-request', processId: processID, secret });
  using observer = await new RawClient({ port: plain.port }).logIn('postgres');
  for (const way of ['plain', 'direct', 'asked'] as const) {
    const running = t.throwsAsync(client.query(`select pg_sleep(30), '${way}'`), { code: '57014' });
    for (let rows = 0; rows === 0;) {
      const found = await observer.query("select 1 from pg_stat_activity where wait_event = 'PgSleep'");
      rows = rowsOf(found).length;
    }
    const socket = connectTcp({ host: '127.0.0.1', port: sidecar.port });
    if (way === 'asked') {
      socket.write(encodeStartupPacket({ kind: 'ssl-request' }));
      await once(socket, 'readable').then(() => socket.read());
    }
    const canceller =
      way === 'plain' ? socket : connectTls({ socket, host: '127.0.0.1', ...trust, ALPNProtocols: ['postgresql'] });
    canceller.on('error', () => undefined).write(request);
    await running;
    socket.destroy();
  }
  await client.end();
});

test('TLS inside of TLS is refused', async (t) => {
  await using sidecar = await start();
  const client = connectTls({ host: '127.0.0.1', port: sidecar.port, ...trust, ALPNProtocols: ['postgresql'] });
  client.write(encodeStartupPacket({ kind: 'ssl-request' }));
  t.like(await errorOf(client), { code: '08P01', message: 'atomesh: the connection is encrypted already' });
});

test('new connections are shown a certificate that has changed, and those that are there go on', async (t) => {
  await using own = await makeCertificates();
  await using sidecar = await start({ listenTls: { certificate: own.server, key: own.serverKey } });
  const ssl = { ca: readFileSync(own.ca) };
  const old = new pg.Client({
    host: '127.0.0.1',
    port: sidecar.port,
    user: 'orders',
    password: 'customer',
    database: 'orders',
    ssl,
  });
  await old.connect();
  const before = await fingerprint(sidecar.port, ssl);
  await own.renew();
  await until('another certificate is shown', async () =>
    (await fingerprint(sidecar.port, ssl)) === before ? undefined : true,
  );
  // Channel binding goes by the certificate that this client was shown.
  t.like(await logIn({ port: sidecar.port, ssl, isBound: true }), { user: 'by_trust' });
  t.is((await old.query('select 1')).rowCount, 1);
  await old.end();
});

for (const [where, bytes] of [
  ['behind its request for TLS', encodeStartupPacket({ kind: 'ssl-request' })],
  ['in the middle of its hello', Buffer.from([0x16, 3, 1, 1, 0, 1, 0])],
] as const) {
  for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
    test(`nothing stays behind of a client that is gone ${where}, by ${how}`, async (t) => {
      await using sidecar = await start();
      const client = connectTcp({ host: '127.0.0.1', port: sidecar.port, allowHalfOpen: true });
      client.on('error', () => undefined).resume();
      client.write(bytes);
      await (bytes.length > 7 ? once(client, 'data') : once(client, 'ready'));
      client[how]();
      await ends(t, sidecar);
      client.destroy();
    });
  }
}

test('nothing stays behind of a client that is gone when its connection is encrypted, and of one that was served', async (t) => {
  await using sidecar = await start();
  await logIn({ port: sidecar.port, ssl: trust });
  const client = connectTls({ host: '127.0.0.1', port: sidecar.port, ...trust, ALPNProtocols: ['postgresql'] });
  await once(client, 'secureConnect');
  client.destroy();
  await ends(t, sidecar);
});

/** The listener closes without waiting for anybody. */
async function ends(t: ExecutionContext, { listener }: Listening): Promise<void> {
  const begun = performance.now();
  await listener.close(20_000);
  t.true(performance.now() - begun < 10_000, 'somebody was waited for');
  t.is(listener.sessions, 0);
}

test('a certificate that cannot be used is said at the start', async (t) => {
  for (const [listenTls, message] of [
    [{ certificate: '/nowhere/server.pem' }, /^databases\[\]\.listenTls cannot be used: .*nowhere\/server\.pem/],
    [{ key: certificates.otherKey }, /^databases\[\]\.listenTls cannot be used: .*key/i],
    [{ certificate: certificates.serverKey }, /^databases\[\]\.listenTls cannot be used: /],
  ] as const) {
    await t.throwsAsync(start({ listenTls }), { message });
  }
});

test('a key that others can read is worth a warning at the start', async (t) => {
  await using own = await makeCertificates();
  const warnings: string[] = [];
  const quiet = (): void => undefined;
  const warn = (fields: object, message: string): void => void warnings.push(`${JSON.stringify(fields)} ${message}`);
  const log: Log = { debug: quiet, info: quiet, warn, error: quiet, fatal: quiet, child: () => log };
  const options = {
    listenTls: { certificate: own.server, key: own.serverKey },
    tls: { mode: 'require', certificate: own.client, key: own.clientKey },
  };
  for (const mode of [0o600, 0o644]) {
    await chmod(own.serverKey, mode);
    await chmod(own.clientKey, mode);
    await using _ = await startListening({ to: 1, options, log });
    t.is(warnings.length, mode === 0o600 ? 0 : 2);
  }
  t.regex(warnings.join(), /client\.key.*server\.key|server\.key.*client\.key/s);
  t.notRegex(warnings.join(), /PRIVATE/);
});

async function errorOf(client: TLSSocket): Promise<{ readonly code?: string; readonly message?: string }> {
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  client.on('error', () => undefined);
  client.once('end', () => client.end());
  await once(client, 'close');
  const report = decodeReport('error', Buffer.concat(chunks).subarray(5));
  return report.kind === 'fault' ? { message: report.message } : readReport(report);
}

async function fingerprint(port: number, ssl: ConnectionOptions): Promise<string> {
  const client = connectTls({ host: '127.0.0.1', port, ...ssl, ALPNProtocols: ['postgresql'] });
  await once(client, 'secureConnect');
  const { fingerprint256 } = client.getPeerCertificate();
  client.destroy();
  return fingerprint256;
}
