import { readFileSync } from 'node:fs';
import test from 'ava';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import { encodeCommand, type ChangeUser } from '../../../proxy/mysql/wire/commands.ts';
import { decodeAuthentication } from '../../../proxy/mysql/wire/authentication.ts';
import { encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import { makeCertificates, type Certificates } from '../../login/stage.ts';
import { startRecording } from '../recording.ts';
import { CUSTOMER, denied, KINDS, open, SECRET, startManaged, told } from './stage.ts';
import { CACHING_SHA2, NATIVE, proof, Talk } from './talk.ts';

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

const REPORTS = { user: 'reports', password: 'of reports' };
const text = (value: string): Buffer => encodePackets(Buffer.concat([Buffer.from([3]), Buffer.from(value)]), 0);

function change(how: Partial<ChangeUser> = {}, capabilities = CAPABILITY.pluginAuth): Buffer {
  const command: ChangeUser = {
    kind: 'change-user',
    user: Buffer.from('reports'),
    authResponse: Buffer.alloc(0),
    database: Buffer.from('k'),
    charset: 45,
    plugin: Buffer.from(CACHING_SHA2),
    attributes: undefined,
    ...how,
  };
  return encodePackets(encodeCommand(command, CAPABILITY.secureConnection | capabilities), 0);
}

/** A session of `orders`, packet by packet. */
async function session(port: number, capabilities = CAPABILITY.pluginAuth): Promise<Talk> {
  const talk = new Talk(port);
  talk.answer(await talk.greeting(), { capabilities });
  for (const first of [1, 0]) if ((await talk.next())?.[0] !== first) throw new Error('the login failed');
  return talk;
}

for (const { name, isThere, roles } of KINDS) {
  const serial = isThere ? test.serial : test.serial.skip;

  for (const role of [...roles, 'open']) {
    serial(`${name}: a client changes its user, and becomes ${role} at the server again and again`, async (t) => {
      for (const tls of [{ mode: 'disable' }, { mode: 'require' }]) {
        const { server: certificate, serverKey: key, ca } = certificates;
        const listenTls = { certificate, key, mode: 'allow' };
        const account = role === 'open' ? { user: role } : { user: role, password: SECRET };
        await using sidecar = await startManaged(portOf(name), account, { tls, listenTls });
        for (const options of [{}, { ssl: { ca: readFileSync(ca, 'utf8') } }]) {
          const connection = await open(sidecar.port, options);
          await connection.query('set @here = 1');
          await connection.changeUser(REPORTS);
          t.like(await told(connection), { me: 'native', db: 'k' });
          await connection.changeUser({ user: 'orders', password: CUSTOMER, database: 'information_schema' });
          t.like(await told(connection), { me: role, db: 'information_schema' });
          const [rows] = await connection.query('select @here as here');
          t.deepEqual(rows, [{ here: null }] as never);
          await connection.end();
        }
        t.deepEqual(sidecar.logged, []);
        t.deepEqual(sidecar.counts, {});
      }
    });
  }

  serial(
    `${name}: a wrong password and an unknown user hear the same at COM_CHANGE_USER, and the session ends`,
    async (t) => {
      await using sidecar = await startManaged(portOf(name), { user: 'open' });
      for (const [user, password] of [
        ['orders', 'wrong'],
        ['nobody', CUSTOMER],
        ['native', SECRET],
        ['open', 'any'],
      ] as const) {
        const connection = await open(sidecar.port);
        connection.on('error', () => undefined);
        await t.throwsAsync(connection.changeUser({ user, password }), {
          message: denied(user).message,
        });
        await t.throwsAsync(connection.query('select 1'));
      }
      t.is(sidecar.logged.filter((line) => /has no such user/.test(line)).length, 3);
      t.is(sidecar.logged.filter((line) => /the password is not the one/.test(line)).length, 1);
    },
  );

  serial(`${name}: a role that the server does not let in at COM_CHANGE_USER is not the client’s fault`, async (t) => {
    const clients = [
      { user: 'orders', password: CUSTOMER },
      { user: 'broken', password: CUSTOMER, role: { user: 'native', password: 'not-the-secret' } },
    ];
    const auth = { mode: 'managed', role: { user: 'native', password: SECRET }, clients };
    await using sidecar = await startManaged(portOf(name), {}, { auth });
    const connection = await open(sidecar.port);
    connection.on('error', () => undefined);
    await t.throwsAsync(connection.changeUser({ user: 'broken', password: CUSTOMER }), {
      message: /the sidecar cannot log in at the database/,
    });
    t.regex(sidecar.logged.join(), /1045 Access denied for user 'native'/);
    t.notRegex(sidecar.logged.join(), /not-the-secret/);
    const again = await open(sidecar.port);
    again.on('error', () => undefined);
    await t.throwsAsync(again.changeUser({ database: 'nowhere' }), { message: /nowhere/ });
    t.is(sidecar.logged.length, 1);
  });

  serial(
    `${name}: the client’s proof at COM_CHANGE_USER never reaches the server, and nothing does that comes ahead of it`,
    async (t) => {
      const recording = await startRecording(portOf(name));
      await using sidecar = await startManaged(recording.port, { user: 'open' });
      for (const method of [CACHING_SHA2, NATIVE]) {
        using talk = await session(sidecar.port);
        talk.socket.write(change({ plugin: Buffer.from(method), authResponse: Buffer.alloc(20, 'x') }));
        const asked = decodeAuthentication((await talk.next()) ?? Buffer.alloc(0));
        if (asked.kind !== 'auth-switch') return t.fail(asked.kind);
        t.is(asked.plugin.toString(), method);
        const answer = proof(method, asked.challenge, 'of reports');
        talk.say(answer);
        for (const first of method === NATIVE ? [0] : [1, 0]) t.is((await talk.next())?.[0], first);
        talk.socket.write(text('select current_user()'));
        t.is((await talk.next())?.[0], 1);
        const said = Buffer.concat(
          (recording.connections.at(-1) ?? []).filter(({ side }) => side === 'client').map(({ chunk }) => chunk),
        );
        t.false(said.includes(answer));
        t.false(said.includes(Buffer.alloc(20, 'x')));
        t.false(said.includes('reports'));
      }
      for (const behind of [1, 2, 3].map((sequence) => encodePackets(Buffer.alloc(0), sequence))) {
        // A role without a password lets in whoever says nothing: the text behind it must not be carried out.
        using talk = await session(sidecar.port);
        talk.socket.write(
          Buffer.concat([change({ user: Buffer.from('orders') }), behind, text('insert into k.t values (7)')]),
        );
        t.regex((await talk.rest()).join('; '), /^1835 HY000 atomesh: a command follows COM_CHANGE_USER at once/);
      }
      const connection = await open(sidecar.port);
      const [rows] = await connection.query('select * from k.t');
      t.deepEqual(rows, [] as never);
      await connection.end();
      recording.close();
    },
  );

  serial(`${name}: a client that cannot be asked anew proves itself by the challenge of the greeting`, async (t) => {
    await using sidecar = await startManaged(portOf(name), { user: 'native', password: SECRET });
    using talk = new Talk(sidecar.port);
    const greeting = await talk.greeting();
    talk.answer(greeting, { method: NATIVE, capabilities: 0n });
    t.is((await talk.next())?.[0], 0);
    const authResponse = proof(NATIVE, greeting.challenge, 'of reports');
    talk.socket.write(change({ plugin: undefined, authResponse }));
    t.is((await talk.next())?.[0], 0);
    talk.socket.write(change({ plugin: undefined, authResponse: proof(NATIVE, greeting.challenge, 'wrong') }));
    t.regex(
      (await talk.rest()).join('; '),
      /^1045 28000 Access denied for user 'reports'@'127.0.0.1' \(using password: YES\)$/,
    );
  });

  serial(`${name}: a gid among the attributes of COM_CHANGE_USER binds the session`, async (t) => {
    await using sidecar = await startManaged(portOf(name), { user: 'native', password: SECRET });
    const capabilities = CAPABILITY.pluginAuth | CAPABILITY.connectAttributes;
    using talk = await session(sidecar.port, capabilities);
    const attributes = [[Buffer.from('atomesh_gid'), Buffer.from('g1')]] as const;
    talk.socket.write(change({ attributes }, capabilities));
    const asked = decodeAuthentication((await talk.next()) ?? Buffer.alloc(0));
    if (asked.kind !== 'auth-switch') return t.fail(asked.kind);
    talk.say(proof(CACHING_SHA2, asked.challenge, 'of reports'));
    for (const first of [1, 0]) t.is((await talk.next())?.[0], first);
    talk.socket.write(text('delete from k.t'));
    t.regex(String(await talk.next()), /atomesh: a statement that may change something/);
  });
}
