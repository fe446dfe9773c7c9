/** What MariaDB has not: caching_sha2_password in all its ways, sha256_password, and a session of a real MySQL. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import mysql from 'mysql2/promise';
import { makeCertificates, type Certificates } from '../login/stage.ts';
import type { MariadbServer } from '../../examples/support/mariadb-server.ts';
import { startListening, type Listening } from './listening.ts';
import { credentials } from './login.ts';
import { hasMysql, startMysql } from './mysql-server.ts';
import { rawClient } from './raw-client.ts';
import { SCHEMA, VARIANTS, driver, rareCommands } from './sessions.ts';
import { CAPABILITY } from '../../proxy/mysql/wire/capabilities.ts';

const PASSWORD = 'pässwörd';
const withMysql = hasMysql ? test.serial : test.serial.skip;
let certificates: Certificates;
let server: MariadbServer;

test.before(async (t) => {
  if (!hasMysql) return t.log('there is no MySQL 8 in the local Maven repository: nothing here was run');
  certificates = await makeCertificates();
  server = await startMysql();
  const procedureAt = SCHEMA.indexOf('create procedure');
  await server.run(SCHEMA.slice(0, procedureAt));
  await server.run(`use k; ${SCHEMA.slice(procedureAt)}`);
  await server.run(`create user sha2@'127.0.0.1' identified with caching_sha2_password by '${PASSWORD}';
    create user blank@'127.0.0.1' identified with caching_sha2_password by '';
    create user old@'127.0.0.1' identified with sha256_password by '${PASSWORD}';
    create user native@'127.0.0.1' identified with mysql_native_password by '${PASSWORD}';
    grant all on k.* to sha2@'127.0.0.1', blank@'127.0.0.1', old@'127.0.0.1', native@'127.0.0.1'`);
});
test.after.always(async () => {
  await server?.[Symbol.asyncDispose]();
  await certificates?.[Symbol.asyncDispose]();
});

const SIDES = ['plain', 'tls'] as const;

function listen(serverSide: (typeof SIDES)[number]): Promise<Listening> {
  const { server: certificate, serverKey: key } = certificates;
  return startListening({
    to: server.port,
    options: {
      tls: { mode: serverSide === 'tls' ? 'require' : 'disable' },
      listenTls: { certificate, key, mode: 'allow' },
    },
  });
}

function open(
  sidecar: Listening,
  user: string,
  client: (typeof SIDES)[number],
  password = PASSWORD,
): Promise<mysql.Connection> {
  return mysql.createConnection({
    host: '127.0.0.1',
    port: sidecar.port,
    user,
    password,
    database: 'k',
    ...(client === 'tls' ? { ssl: { ca: readFileSync(certificates.ca, 'utf8') } } : {}),
  });
}

async function whoAndHow(connection: mysql.Connection): Promise<string> {
  const [[who]] = (await connection.query("select substring_index(user(), '@', 1) as who")) as never as [
    [{ who: string }],
  ];
  const [[cipher]] = (await connection.query("show status like 'Ssl_cipher'")) as never as [[{ Value: string }]];
  return `${who.who} ${cipher.Value === '' ? 'plain' : 'tls'}`;
}

for (const client of SIDES) {
  for (const serverSide of SIDES) {
    withMysql(
      `caching_sha2_password logs in when its cache is cold and when it is warm: client ${client}, server ${serverSide}`,
      async (t) => {
        await using sidecar = await listen(serverSide);
        for (const cache of ['cold', 'warm', 'cold']) {
          if (cache === 'cold') await server.run('flush privileges');
          await using closing = new AsyncDisposableStack();
          const connection = await open(sidecar, 'sha2', client);
          closing.defer(() => connection.destroy());
          t.is(await whoAndHow(connection), `sha2 ${serverSide}`, cache);
        }
        await t.throwsAsync(open(sidecar, 'sha2', client, 'wrong'), { message: /Access denied for user 'sha2'/ });
        await server.run('flush privileges');
        await t.throwsAsync(open(sidecar, 'sha2', client, 'wrong'), { message: /Access denied for user 'sha2'/ });
        const empty = await open(sidecar, 'blank', client, '');
        t.is(await whoAndHow(empty), `blank ${serverSide}`);
        empty.destroy();
        t.deepEqual(sidecar.counts, {});
      },
    );

    withMysql(
      `a client changes to a user of caching_sha2_password: client ${client}, server ${serverSide}`,
      async (t) => {
        await using sidecar = await listen(serverSide);
        const connection = await open(sidecar, 'native', client);
        for (const cache of ['cold', 'warm']) {
          if (cache === 'cold') await server.run('flush privileges');
          await connection.changeUser({ user: 'sha2', password: PASSWORD, database: 'k' });
          t.is(await whoAndHow(connection), `sha2 ${serverSide}`, cache);
          await connection.query("insert into every (v) values ('x')");
          await connection.query("delete from every where v = 'x'");
        }
        connection.destroy();
      },
    );
  }
}

withMysql('sha256_password is refused with a way out where the sides differ', async (t) => {
  await using sidecar = await listen('tls');
  await t.throwsAsync(open(sidecar, 'old', 'plain'), { message: /sha256_password cannot log in with TLS on one side/ });
});

for (const [name, capabilities] of Object.entries(VARIANTS)) {
  withMysql(`all commands go through to MySQL: ${name}`, async (t) => {
    await using sidecar = await startListening({ to: server.port });
    const client = await rawClient(sidecar.port, 'native', capabilities, 'k', credentials(Buffer.from(PASSWORD)));
    t.true((client.capabilities & CAPABILITY.compress) === 0n);
    client.close();
    await t.notThrowsAsync(rareCommands(sidecar.port, 'atomesh', capabilities));
  });
}

withMysql('a driver hears from MySQL what it asks for', async (t) => {
  await server.run('set global local_infile = 1, global max_allowed_packet = 67108864');
  await using sidecar = await startListening({ to: server.port });
  await t.notThrowsAsync(driver(sidecar.port, 'atomesh'));
  t.deepEqual(sidecar.counts, {});
});
