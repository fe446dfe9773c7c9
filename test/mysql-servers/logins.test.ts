import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'ava';
import mysql from 'mysql2/promise';
import { startMariadb, type MariadbServer } from '../../examples/support/mariadb-server.ts';
import { programOf } from '../../examples/support/programs.ts';
import { makeCertificates, type Certificates } from '../login/stage.ts';
import { startListening, type Listening } from './listening.ts';
import { credentials } from './login.ts';
import { rawClient } from './raw-client.ts';

const PASSWORD = 'pässwörd';
let certificates: Certificates;
let server: MariadbServer;

test.before(async () => {
  certificates = await makeCertificates();
  server = await startMariadb([
    `--ssl-cert=${certificates.server}`,
    `--ssl-key=${certificates.serverKey}`,
    `--ssl-ca=${certificates.ca}`,
  ]);
  await server.run(`install soname 'auth_ed25519'; create database k;
    create user native@'127.0.0.1' identified by '${PASSWORD}'; create user nobody@'127.0.0.1' identified by '';
    create user ed@'127.0.0.1' identified via ed25519 using password('${PASSWORD}');
    create user only_tls@'127.0.0.1' identified by '${PASSWORD}' require ssl;
    create user by_certificate@'127.0.0.1' identified by '' require x509;
    grant all on k.* to native@'127.0.0.1', ed@'127.0.0.1', nobody@'127.0.0.1', only_tls@'127.0.0.1', by_certificate@'127.0.0.1'`);
});
test.after.always(async () => {
  await server?.[Symbol.asyncDispose]();
  await certificates?.[Symbol.asyncDispose]();
});

/** Logs in with MariaDB's own client and asks who it is and whether the server's side has TLS. */
async function ask(port: number, user: string, password: string, tls: readonly string[]): Promise<string> {
  const client = spawn(
    await programOf('mariadb', 'mariadb-client'),
    ['--no-defaults', '-N', '-B', '-h127.0.0.1', `-P${port}`, `-u${user}`, `--password=${password}`, ...tls, 'k'],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let said = '';
  for (const stream of [client.stdout, client.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  client.stdin.end("select substring_index(user(), '@', 1); show status like 'Ssl_cipher'");
  await once(client, 'close');
  return said.trim().replace(/\s+/g, ' ');
}

const PLAIN = ['--skip-ssl'];
const withTls = (): readonly string[] => ['--ssl', `--ssl-ca=${certificates.ca}`, '--ssl-verify-server-cert'];

const clientTls = (more: object = {}): Readonly<Record<string, unknown>> => ({
  listenTls: { certificate: certificates.server, key: certificates.serverKey, mode: 'allow', ...more },
});
const SERVER_TLS: Readonly<Record<string, () => object>> = {
  plain: () => ({ mode: 'disable' }),
  required: () => ({ mode: 'require' }),
  verified: () => ({ mode: 'verify-full', ca: certificates.ca }),
};

for (const [name, tls] of Object.entries(SERVER_TLS)) {
  test(`every method logs in with and without TLS of the client, where the server’s side is ${name}`, async (t) => {
    await using sidecar = await startListening({ to: server.port, options: { tls: tls(), ...clientTls() } });
    for (const [user, password] of [
      ['native', PASSWORD],
      ['nobody', ''],
      ['ed', PASSWORD],
    ] as const) {
      for (const way of [PLAIN, withTls()]) {
        const said = await ask(sidecar.port, user, password, way);
        t.regex(said, name === 'plain' ? /Ssl_cipher$/ : /Ssl_cipher \S+$/, `${user} ${way.join(' ')}`);
        t.true(said.startsWith(user), said);
      }
      t.is(await ask(sidecar.port, user, 'wrong', PLAIN), await ask(server.port, user, 'wrong', PLAIN));
    }
    t.deepEqual(sidecar.counts, {});
  });
}

test('a user that must have TLS, or a certificate, gets in by the TLS of the server’s side', async (t) => {
  const { ca, client: certificate, clientKey: key } = certificates;
  await using plain = await startListening({ to: server.port });
  t.regex(await ask(plain.port, 'only_tls', PASSWORD, PLAIN), /ERROR 1045/);
  await using secure = await startListening({
    to: server.port,
    options: { tls: { mode: 'verify-full', ca, certificate, key } },
  });
  t.regex(await ask(secure.port, 'only_tls', PASSWORD, PLAIN), /^only_tls Ssl_cipher \S+$/);
  t.regex(await ask(secure.port, 'by_certificate', '', PLAIN), /^by_certificate Ssl_cipher \S+$/);
});

test('a listener that demands TLS refuses who comes without, and one that has none offers none', async (t) => {
  await using strict = await startListening({ to: server.port, options: clientTls({ mode: 'require' }) });
  t.regex(await ask(strict.port, 'native', PASSWORD, PLAIN), /ERROR 3159 .*TLS connections only/);
  t.regex(await ask(strict.port, 'native', PASSWORD, withTls()), /^native/);
  await using bare = await startListening({ to: server.port });
  t.regex(await ask(bare.port, 'native', PASSWORD, withTls()), /SSL is required|SSL_CTX|does not support/i);
});

test('a listener with an authority for clients takes only those that show a certificate of it', async (t) => {
  await using sidecar = await startListening({
    to: server.port,
    options: clientTls({ mode: 'require', clientCa: certificates.ca }),
  });
  const shown = [`--ssl-cert=${certificates.client}`, `--ssl-key=${certificates.clientKey}`];
  t.regex(await ask(sidecar.port, 'native', PASSWORD, [...withTls(), ...shown]), /^native/);
  t.regex(await ask(sidecar.port, 'native', PASSWORD, withTls()), /ERROR 2013|ERROR 2026|SSL|Lost connection/);
});

test('a server whose certificate is not to be trusted, or that is down, is said to the client', async (t) => {
  await using wrong = await startListening({
    to: server.port,
    options: { tls: { mode: 'verify-full', ca: certificates.otherCa } },
  });
  t.regex(await ask(wrong.port, 'native', PASSWORD, PLAIN), /ERROR 1429 .*no TLS with the database/);
  await using nowhere = await startListening({ to: 1 });
  t.regex(await ask(nowhere.port, 'native', PASSWORD, PLAIN), /ERROR 1429 .*cannot reach the database/);
});

test('a driver logs in over TLS on either side, and changes its user there', async (t) => {
  const ssl = { ca: (await import('node:fs')).readFileSync(certificates.ca, 'utf8') };
  for (const server_ of ['plain', 'required']) {
    const tls = SERVER_TLS[server_]?.();
    await using sidecar = await startListening({ to: server.port, options: { tls, ...clientTls() } });
    for (const options of [{}, { ssl }]) {
      const connection = await mysql.createConnection({
        host: '127.0.0.1',
        port: sidecar.port,
        user: 'native',
        password: PASSWORD,
        database: 'k',
        ...options,
      });
      await connection.query('set @here = 1');
      await connection.changeUser({ user: 'native', password: PASSWORD, database: 'k' });
      const [rows] = await connection.query("select substring_index(user(), '@', 1) as who, @here as here");
      t.deepEqual(rows, [{ who: 'native', here: null }] as never);
      await t.throwsAsync(connection.changeUser({ user: 'native', password: 'wrong', database: 'k' }), {
        message: /Access denied/,
      });
      connection.destroy();
    }
  }
});

test('the attributes of a connection reach the server, and a gid among them binds the session', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  const open = (connectAttributes: Readonly<Record<string, string>>): Promise<mysql.Connection> =>
    mysql.createConnection({
      ...address(sidecar),
      user: 'native',
      password: PASSWORD,
      database: 'k',
      connectAttributes,
    });
  const bound = await open({ atomesh_gid: 'g1', program_name: 'shop' });
  await t.throwsAsync(bound.query('create table t (a int)'), {
    message: /atomesh: a statement that may change something/,
  });
  await bound.query('select 1');
  await bound.reset();
  await t.throwsAsync(bound.query('create table t (a int)'), { message: /atomesh/ });
  await bound.end();
  await t.throwsAsync(open({ atomesh_gid: 'no gid' }), { message: /is not the id of a global transaction/ });
});

test('sessions above the limit are refused, and a client that says nothing is cut off', async (t) => {
  await using sidecar = await startListening({
    to: server.port,
    sessionsMax: 2,
    options: { auth: { timeout: '300ms' } },
  });
  const one = await rawClient(sidecar.port, 'nobody', 0n, 'k', credentials(Buffer.alloc(0)));
  const silent = connect(sidecar.port, '127.0.0.1');
  await once(silent, 'data');
  await t.throwsAsync(mysql.createConnection({ ...address(sidecar), user: 'nobody' }), {
    message: /more than 2 database sessions/,
  });
  await once(silent, 'close');
  const again = await rawClient(sidecar.port, 'nobody', 0n, 'k', credentials(Buffer.alloc(0)));
  for (const client of [one, again]) client.close();
});

function address({ port }: Listening): { readonly host: string; readonly port: number } {
  return { host: '127.0.0.1', port };
}
