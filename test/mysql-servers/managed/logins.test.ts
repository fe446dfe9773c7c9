import { readFileSync } from 'node:fs';
import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { makeCertificates, type Certificates } from '../../login/stage.ts';
import { CUSTOMER, denied, KINDS, open, refusalOf, SECRET, startManaged, told } from './stage.ts';

let certificates: Certificates;
const servers = new Map<string, MariadbServer>();

test.before(async () => {
  certificates = await makeCertificates();
  for (const { name, isThere, start } of KINDS) if (isThere) servers.set(name, await start(certificates));
});
test.after.always(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
  await certificates?.[Symbol.asyncDispose]();
});

function portOf(name: string): number {
  const server = servers.get(name);
  if (server === undefined) throw new Error(`${name} was not started`);
  return server.port;
}

const listenTls = (): object => ({
  listenTls: { certificate: certificates.server, key: certificates.serverKey, mode: 'allow' },
});
const ssl = (): { readonly ca: string } => ({ ca: readFileSync(certificates.ca, 'utf8') });
const SIDES = { plain: { mode: 'disable' }, tls: { mode: 'require' } } as const;

for (const { name, isThere, roles } of KINDS) {
  const serial = isThere ? test.serial : test.serial.skip;

  for (const role of roles) {
    serial(`${name}: a client that has proved itself is ${role} at the server, whatever side has TLS`, async (t) => {
      for (const [side, tls] of Object.entries(SIDES)) {
        await using sidecar = await startManaged(
          portOf(name),
          { user: role, password: SECRET },
          { tls, ...listenTls() },
        );
        for (const options of [{}, { ssl: ssl() }]) {
          const connection = await open(sidecar.port, options);
          t.like(await told(connection), { me: role, db: 'k', tls: side === 'tls' });
          await connection.query('insert into k.t values (1)');
          await connection.execute('delete from k.t where id = ?', [1]);
          await connection.end();
        }
        t.deepEqual(sidecar.logged, []);
        t.deepEqual(sidecar.counts, {});
      }
    });
  }

  serial(`${name}: a role without a password, one that must have TLS, and one of the client’s own`, async (t) => {
    await using sidecar = await startManaged(portOf(name), { user: 'open' });
    const connection = await open(sidecar.port);
    t.like(await told(connection), { me: 'open' });
    await connection.end();
    const own = await open(sidecar.port, { user: 'reports', password: 'of reports' });
    t.like(await told(own), { me: 'native' });
    await own.end();
    const tls = { mode: 'verify-full', ca: certificates.ca };
    if (name !== 'MariaDB') return;
    await using secure = await startManaged(portOf(name), { user: 'only_tls', password: SECRET }, { tls });
    const kept = await open(secure.port);
    t.like(await told(kept), { me: 'only_tls', tls: true });
    await kept.end();
  });

  serial(
    `${name}: a wrong password, none and an unknown user hear the same, and the log says which it was`,
    async (t) => {
      await using sidecar = await startManaged(portOf(name), { user: 'native', password: SECRET }, listenTls());
      for (const options of [{}, { ssl: ssl() }]) {
        t.deepEqual(await refusalOf(sidecar.port, { ...options, password: 'wrong' }), denied('orders'));
        t.deepEqual(await refusalOf(sidecar.port, { ...options, password: '' }), denied('orders', 'NO'));
        t.deepEqual(await refusalOf(sidecar.port, { ...options, user: 'nobody' }), denied('nobody'));
        t.deepEqual(
          await refusalOf(sidecar.port, { ...options, user: 'nobody', password: '' }),
          denied('nobody', 'NO'),
        );
        // What is good at the server is not good here.
        t.deepEqual(await refusalOf(sidecar.port, { ...options, user: 'native', password: SECRET }), denied('native'));
        t.deepEqual(await refusalOf(sidecar.port, { ...options, user: 'open', password: '' }), denied('open', 'NO'));
        t.deepEqual(await refusalOf(sidecar.port, { ...options, user: '', password: CUSTOMER }), denied(''));
      }
      const reasons = sidecar.logged.map(
        (line) => /^warn .*reason: '([^']*)'.* a database client was refused$/.exec(line)?.[1],
      );
      const [wrong, unknown] = [
        'the password is not the one of databases[].auth.clients',
        'databases[].auth.clients has no such user',
      ];
      t.deepEqual(reasons.slice(0, 7), [wrong, wrong, unknown, unknown, unknown, unknown, unknown]);
      t.notRegex(sidecar.logged.join('\n'), new RegExp(`${SECRET}|${CUSTOMER}`));
    },
  );

  serial(
    `${name}: a server that does not let the sidecar in is named in the log, and not to the client as its own fault`,
    async (t) => {
      const refused = {
        errno: 1429,
        sqlState: '08004',
        message:
          'atomesh: the sidecar cannot log in at the database. The log of the sidecar says why. Check databases[].auth of its configuration, and the accounts of the database.',
      };
      for (const [role, reason] of [
        [{ user: 'native', password: 'not-the-secret' }, /1045 Access denied for user 'native'/],
        [{ user: 'native' }, /1045 Access denied for user 'native'/],
        [{ user: 'never', password: SECRET }, /1045 Access denied for user 'never'/],
        [{ user: 'locked', password: SECRET }, /locked/],
        [{ user: 'only_tls', password: SECRET }, /1045 Access denied|TLS/],
      ] as const) {
        await using sidecar = await startManaged(portOf(name), role);
        t.deepEqual(await refusalOf(sidecar.port), refused, role.user);
        t.is(sidecar.logged.length, 1);
        t.regex(sidecar.logged[0] ?? '', /^warn .* the sidecar cannot log in at the database/);
        t.regex(sidecar.logged[0] ?? '', reason);
        t.notRegex(sidecar.logged[0] ?? '', new RegExp(`not-the-secret|${SECRET}`));
      }
    },
  );

  serial(
    `${name}: the database is the client’s, or that of upstream; other refusals of the server come as its own`,
    async (t) => {
      await using sidecar = await startManaged(portOf(name), { user: 'native', password: SECRET });
      const given = await open(sidecar.port, { database: 'information_schema' });
      t.like(await told(given), { db: 'information_schema' });
      await given.end();
      const role = await refusalOf(portOf(name), { user: 'native', password: SECRET, database: 'other' });
      t.like(role, { errno: 1044 });
      t.deepEqual(await refusalOf(sidecar.port, { database: 'other' }), role);
      await using everything = await startManaged(portOf(name), { user: 'atomesh' });
      t.like(await refusalOf(everything.port, { database: 'nowhere' }), { errno: 1049, sqlState: '42000' });
      t.deepEqual(everything.logged, []);
    },
  );

  serial(
    `${name}: a gid among the attributes of the connection binds the session, and the others reach the server`,
    async (t) => {
      await using sidecar = await startManaged(portOf(name), { user: 'native', password: SECRET });
      const bound = await open(sidecar.port, { connectAttributes: { atomesh_gid: 'g1', program_name: 'shop' } });
      await t.throwsAsync(bound.query('create table u (a int)'), { message: /atomesh: a statement that may change/ });
      await bound.query('select 1');
      await bound.end();
      await t.throwsAsync(open(sidecar.port, { connectAttributes: { atomesh_gid: 'no gid' } }), {
        message: /is not the id of a global transaction/,
      });
    },
  );

  serial(
    `${name}: the number of the greeting is the server’s, so that KILL ends a statement of the session`,
    async (t) => {
      await using sidecar = await startManaged(portOf(name), { user: 'native', password: SECRET });
      const connection = await open(sidecar.port);
      const { threadId } = connection as unknown as { readonly threadId: number };
      t.is((await told(connection)).id, threadId);
      const killer = await open(sidecar.port);
      const running = connection.query('select sleep(30) as cut');
      await until('the statement runs', async () => {
        const [rows] = await killer.query('show processlist');
        const found = (rows as unknown as readonly { Id: number; Info: string | null }[]).find(
          ({ Id }) => Id === threadId,
        );
        return /sleep/.test(found?.Info ?? '') ? true : undefined;
      });
      await killer.query(`kill query ${threadId}`);
      // Who is woken from it says 1, or that it was interrupted.
      const cut = await running.then(
        ([rows]) => (rows as unknown as readonly { cut: number }[])[0]?.cut,
        (error: unknown) => (error as { errno?: number }).errno,
      );
      t.true(cut === 1 || cut === 1317, String(cut));
      t.like(await told(connection), { me: 'native' });
      await killer.end();
      connection.destroy();
    },
  );
}
