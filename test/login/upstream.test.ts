import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import pg from 'pg';
import type { PostgresServer } from '../../examples/support/postgres-server.ts';
import { sidecarOptions, type DatabaseOptions } from '../../proxy/options.ts';
import { logInUpstream } from '../../proxy/postgres/login/upstream-login.ts';
import { phaseTwoConnection } from '../../proxy/postgres/upstream.ts';
import { encodeBackend, type BackendMessage } from '../../proxy/postgres/wire/messages.ts';
import { Secret } from '../../src/platform/option-types.ts';
import { startListening } from '../sql-passthrough/support/listening.ts';
import { RawClient, rowsOf } from '../sql-passthrough/support/raw-client.ts';
import { logIn, makeCertificates, startServer, type Certificates } from './stage.ts';

let certificates: Certificates;
/** 18 knows direct TLS, 14 does not. */
let server: PostgresServer;
let old: PostgresServer;
test.before(async () => {
  certificates = await makeCertificates();
  [server, old] = await Promise.all([startServer(18, certificates), startServer(14, certificates)]);
});
test.after.always(async () => {
  await server[Symbol.asyncDispose]();
  await old[Symbol.asyncDispose]();
  await certificates[Symbol.asyncDispose]();
});

const SHOWN = "select coalesce(client_dn, 'nobody') from pg_stat_ssl where pid = pg_backend_pid()";

for (const negotiation of ['postgres', 'direct'] as const) {
  test(`with negotiation ${negotiation} a client passes through to a server that wants a certificate`, async (t) => {
    const { ca, client: certificate, clientKey: key } = certificates;
    const tls = { mode: 'verify-full', ca, certificate, key, negotiation };
    await using sidecar = await startListening({ to: server.port, options: { tls } });
    using client = await new RawClient({ port: sidecar.port }).logIn('orders', { user: 'by_certificate' });
    t.deepEqual(rowsOf(await client.query(SHOWN)), [['/CN=orders_app']]);
    t.like(await logIn({ port: sidecar.port, user: 'by_scram', password: 'secret' }), { user: 'by_scram', ssl: true });
  });

  test(`with negotiation ${negotiation} the second phase shows the certificate too`, async (t) => {
    const client = new pg.Client(phaseTwoConnection(database({ negotiation })));
    await client.connect();
    t.deepEqual((await client.query(SHOWN)).rows, [{ coalesce: '/CN=orders_app' }]);
    await client.end();
  });
}

test('as many iterations as OWASP recommends are done, by sessions and by the second phase', async (t) => {
  await server.run('postgres', "set scram_iterations = 600000; create role slow login password 'secret'");
  await server.authenticate(['host all slow 127.0.0.1/32 scram-sha-256']);
  const role = { user: 'slow', password: 'secret' };
  const auth = { mode: 'managed', role, clients: [{ user: 'orders', password: 'customer' }] };
  await using sidecar = await startListening({ to: server.port, options: { auth } });
  t.like(await logIn({ port: sidecar.port }), { user: 'slow' });
  const client = new pg.Client({ ...phaseTwoConnection(database({})), ...role });
  await client.connect();
  t.deepEqual((await client.query('select current_user as me')).rows, [{ me: 'slow' }]);
  await client.end();
});

test('a server that does not know direct TLS is named', async (t) => {
  await using sidecar = await startListening({
    to: old.port,
    options: { tls: { mode: 'require', negotiation: 'direct' } },
  });
  await refuses(t, sidecar.port, /cannot reach the database at 127\.0\.0\.1:\d+: .*(closed|disconnected|ECONNRESET)/);
});

test('a server that shakes hands directly without naming its protocol is refused', async (t) => {
  const { createServer: createTlsServer } = await import('node:tls');
  const other = createTlsServer({
    cert: readFileSync(certificates.server),
    key: readFileSync(certificates.serverKey),
  });
  other.on('secureConnection', (socket) => socket.on('error', () => undefined));
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  const to = (other.address() as AddressInfo).port;
  await using sidecar = await startListening({ to, options: { tls: { mode: 'require', negotiation: 'direct' } } });
  await refuses(t, sidecar.port, /does not take direct TLS connections/);
  other.close();
});

test('a certificate that the server does not know gets nobody in, and the sidecar goes on', async (t) => {
  const { other: certificate, otherKey: key } = certificates;
  await using sidecar = await startListening({
    to: server.port,
    options: { tls: { mode: 'require', certificate, key } },
  });
  for (let left = 3; left > 0; left -= 1) {
    using client = new RawClient({ port: sidecar.port });
    await client.startUp({ user: 'by_certificate', database: 'orders' });
    await client.closed();
    t.is(client.count('Z'), 0);
  }
});

test('files of the second phase are read again for each connection, and one that is gone counts as before', async (t) => {
  await using own = await makeCertificates();
  const { client: certificate, clientKey: key } = own;
  const connection = phaseTwoConnection(database({ ca: certificates.ca, certificate, key }));
  const isIn = async (): Promise<boolean> => {
    const client = new pg.Client(connection);
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return true;
    } catch {
      void client.end().catch(() => undefined);
      return false;
    }
  };
  t.false(await isIn(), 'the authority of this certificate is another one');
  await writeFile(certificate, readFileSync(certificates.client));
  await writeFile(key, readFileSync(certificates.clientKey));
  t.true(await isIn());
  await rename(key, `${key}.away`);
  t.true(await isIn());
});

/** What a server says that answers a start-up packet with `messages`. */
async function told(messages: readonly BackendMessage[] | Buffer, withinMs?: number): Promise<string> {
  const hostile = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write(Buffer.isBuffer(messages) ? messages : Buffer.concat(messages.map(encodeBackend)));
    });
  });
  hostile.listen(0, '127.0.0.1');
  await once(hostile, 'listening');
  const socket: Socket = connect((hostile.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => undefined);
  const role = { user: 'me', password: new Secret('secret') };
  const login = await logInUpstream(socket, Buffer.from('start'), role, withinMs);
  socket.destroy();
  hostile.close();
  return login.kind === 'failed' ? login.reason : login.kind;
}

const kind = 'authentication';
const notice = { kind: 'notice', fields: [] } as const;

for (const [rule, messages, reason] of [
  ['sends a message larger than any of a login', Buffer.from('R\x7f\xff\xff\xff', 'latin1'), /not its protocol/],
  ['sends a length that is none', Buffer.from('R\0\0\0\x01', 'latin1'), /not its protocol/],
  ['speaks another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /not its protocol/],
  ['sends rows before it has let anybody in', [{ kind: 'data-row', values: [] }], /does not belong to a login/],
  [
    'offers another major version',
    [{ kind: 'negotiate-protocol-version', newest: 0x0004_0000, unknownOptions: [] }],
    /another protocol/,
  ],
  ['sends notices and nothing else', Array.from({ length: 40 }, () => notice), /asks and asks/],
  ['asks for the password in clear text', [{ kind, method: 'cleartext-password' }], /clear text/],
] as const) {
  test(`a server that ${rule} is left`, async (t) => {
    t.regex(await told(messages as readonly BackendMessage[]), reason);
  });
}

test('a server that says nothing is left after a while', async (t) => {
  t.is(await told([], 50), 'no answer within 0.05 s');
});

test('what a server says behind letting the sidecar in stays for the session', async (t) => {
  t.is(await told([notice, { kind, method: 'ok' }, { kind: 'ready-for-query', status: 'I' }]), 'in');
});

function database(tls: object): DatabaseOptions {
  const { ca, client: certificate, clientKey: key } = certificates;
  const { databases } = sidecarOptions.parse({
    service: 'shop',
    coordinator: { url: 'http://127.0.0.1:1' },
    databases: [
      {
        name: 'db',
        listen: '127.0.0.1:0',
        upstream: `postgres://127.0.0.1:${server.port}/orders`,
        credentials: { user: 'by_certificate' },
        tls: { mode: 'verify-full', ca, certificate, key, ...tls },
      },
    ],
  });
  const options = databases.find((each) => each.engine !== 'mysql');
  if (options === undefined) throw new Error('there is one database');
  return options;
}

async function refuses(t: ExecutionContext, port: number, why: RegExp): Promise<void> {
  using client = new RawClient({ port });
  await client.startUp({ user: 'postgres', database: 'postgres' });
  await client.closed();
  t.like(client.errors[0], { severity: 'FATAL', code: '08001' });
  t.regex(client.errors[0]?.message ?? '', why);
}
