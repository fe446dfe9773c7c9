/** Servers that fail the sidecar in the middle of its own login. */
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import test from 'ava';
import { startMariadb, type MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { makeCertificates } from '../../login/stage.ts';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import { startGate } from './gate.ts';
import { managed, open, refusalOf, SECRET, startManaged } from './stage.ts';
import { CACHING_SHA2, Talk } from './talk.ts';

const ROLE = { user: 'native', password: SECRET };
let server: MariadbServer;

test.before(async () => {
  server = await startMariadb(['--max-connections=10']);
  await server.run(`create database k; create user native@'127.0.0.1' identified by '${SECRET}';
    grant all on k.* to native@'127.0.0.1'`);
});
test.after.always(async () => {
  await server?.[Symbol.asyncDispose]();
});

test.serial('a server that greets and says nothing more is given up after 10 s, and a session with it', async (t) => {
  for (const tls of [{ mode: 'disable' }, { mode: 'require' }]) {
    await using gate = await startGate(server.port);
    await using sidecar = await startManaged(gate.port, ROLE, { tls });
    using talk = new Talk(sidecar.port);
    const greeting = await talk.greeting();
    if (tls.mode === 'require') {
      talk.answer(greeting);
      // MariaDB from Debian has no certificate.
      t.deepEqual(await talk.rest().then((heard) => heard.map((each) => each.slice(0, 50))), [
        '1429 08001 atomesh: the server does not offer TLS.',
      ]);
      continue;
    }
    gate.silence();
    const begun = performance.now();
    talk.answer(greeting);
    t.regex((await talk.rest()).join(), /^1429 08004 atomesh: the sidecar cannot log in at the database/);
    t.true(performance.now() - begun > 9_000 && performance.now() - begun < 25_000);
    t.regex(sidecar.logged.join(), /no answer within 10 s/);
  }
});

test.serial('TLS with a server that falls silent ends within the same 10 s', async (t) => {
  await using certificates = await makeCertificates();
  await using secure = await startMariadb([
    `--ssl-cert=${certificates.server}`,
    `--ssl-key=${certificates.serverKey}`,
    `--ssl-ca=${certificates.ca}`,
  ]);
  await using gate = await startGate(secure.port);
  await using sidecar = await startManaged(gate.port, ROLE, { tls: { mode: 'require' } });
  using talk = new Talk(sidecar.port);
  const greeting = await talk.greeting();
  gate.silence();
  const begun = performance.now();
  talk.answer(greeting);
  t.regex((await talk.rest()).join(), /^1429 08004 atomesh: the sidecar cannot log in at the database/);
  t.true(performance.now() - begun < 25_000);
});

test.serial('a server that is gone behind its greeting, and one that is not there, are said to be', async (t) => {
  const gate = await startGate(server.port);
  await using sidecar = await startManaged(gate.port, ROLE);
  using talk = new Talk(sidecar.port);
  const greeting = await talk.greeting();
  await gate[Symbol.asyncDispose]();
  talk.answer(greeting);
  t.regex((await talk.rest()).join(), /^1429 08001 atomesh: the database has closed the connection during the login/);
  t.like(await refusalOf(sidecar.port), { errno: 1429, sqlState: '' });
});

test.serial('a server that has no connection left says so itself', async (t) => {
  await using sidecar = await startManaged(server.port, ROLE);
  const sessions = await Promise.all(Array.from({ length: 11 }, () => open(sidecar.port).catch(() => undefined)));
  t.like(await refusalOf(sidecar.port), { errno: 1040 });
  t.deepEqual(sidecar.logged, []);
  for (const session of sessions) session?.destroy();
});

test.serial('a client that goes while the server is silent leaves no connection behind', async (t) => {
  await using gate = await startGate(server.port);
  await using sidecar = await startManaged(gate.port, ROLE);
  using talk = new Talk(sidecar.port);
  const greeting = await talk.greeting();
  gate.silence();
  talk.answer(greeting, { method: CACHING_SHA2 });
  await gate.told();
  talk.socket.destroy();
  await t.notThrowsAsync(gate.empty());
});

test.serial(
  'a client that says nothing more behind its TLS handshake is cut off, and the server is left',
  async (t) => {
    await using certificates = await makeCertificates();
    const listenTls = { certificate: certificates.server, key: certificates.serverKey };
    await using gate = await startGate(server.port);
    const auth = { ...(managed(ROLE)['auth'] as object), timeout: '1s' };
    await using sidecar = await startManaged(gate.port, ROLE, { listenTls, auth });
    for (const isCut of [false, true]) {
      using talk = new Talk(sidecar.port);
      await talk.greeting();
      const head = Buffer.alloc(32);
      head.writeUInt32LE(
        Number(CAPABILITY.ssl | CAPABILITY.protocol41 | CAPABILITY.longPassword | CAPABILITY.pluginAuth),
      );
      talk.say(head);
      const secure = connectTls({ socket: talk.socket, rejectUnauthorized: false });
      secure.on('error', () => secure.destroy());
      await once(secure, 'secureConnect');
      if (isCut) talk.socket.resetAndDestroy();
      await gate.told();
      await t.notThrowsAsync(gate.empty());
      t.is(sidecar.listener.sessions, 0);
      secure.destroy();
    }
  },
);
