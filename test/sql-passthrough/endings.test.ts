import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { encodeFrontend } from '../../proxy/postgres/wire/messages.ts';
import { startListening } from './support/listening.ts';
import { RawClient, rowsOf, startupPacket } from './support/raw-client.ts';
import { query } from './support/messages.ts';

let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
});
test.after.always(() => server[Symbol.asyncDispose]());

test('a server process that is terminated says so to its client in its own words, and the connection ends', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  const endOf = async (port: number): Promise<readonly string[]> => {
    using client = await new RawClient({ port }).logIn('postgres');
    const from = client.frames.length;
    await server.run('postgres', `select pg_terminate_backend(${client.processId})`);
    await client.closed();
    return client.frames.slice(from).map(({ bytes }) => bytes.toString('latin1'));
  };
  const direct = await endOf(server.port);
  t.regex(direct[0] ?? '', /FATAL.*57P01/s);
  t.deepEqual(await endOf(sidecar.port), direct);
});

test('a server that dies with all its processes closes the sessions, and a later client is told', async (t) => {
  await using own = await startPostgres();
  await using sidecar = await startListening({ to: own.port });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  await own.kill();
  await client.closed();
  t.is(client.fault, undefined);
  await until('the session is gone', async () => (sidecar.listener.sessions === 0 ? true : undefined));
});

test('the server process of a client that vanishes in the middle of a statement ends', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  using observer = await new RawClient({ port: server.port }).logIn('postgres');
  const client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  // Without this a server does not look at the connection before it has something to say.
  await client.query("set client_connection_check_interval = '100ms'");
  await client.send([query('begin'), query('create table half (a int)'), query('select pg_sleep(60)')]);
  await client.ready(4);
  client.socket.resetAndDestroy();
  await until('the server process is gone', async () => {
    const rows = rowsOf(await observer.query(`select 1 from pg_stat_activity where pid = ${client.processId}`));
    return rows.length === 0 ? true : undefined;
  });
  t.deepEqual(rowsOf(await observer.query("select to_regclass('half')")), [[null]]);
  t.is(sidecar.listener.sessions, 0);
});

test('a client that vanishes in the middle of a message leaves nothing of it behind', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  await server.run('postgres', 'create table account (id int)');
  const statement = encodeFrontend(query('insert into account values (1)'));
  for (let cut = 1; cut < statement.length; cut += 3) {
    const client = await new RawClient({ port: sidecar.port }).logIn('postgres');
    await client.send(statement.subarray(0, cut));
    client.socket.end();
    await client.closed();
  }
  await until('all sessions are gone', async () => (sidecar.listener.sessions === 0 ? true : undefined));
  using observer = await new RawClient({ port: server.port }).logIn('postgres');
  t.deepEqual(rowsOf(await observer.query('select * from account')), []);
});

test('a client that ends its side at once still gets every answer', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  using client = new RawClient({ port: sidecar.port });
  const queries = ['select 1', 'select pg_sleep(0.1)', "select repeat('x', 1000000)", 'select 4'];
  client.socket.end(
    Buffer.concat([
      startupPacket({ user: 'postgres', database: 'postgres' }),
      ...queries.map((text) => encodeFrontend(query(text))),
    ]),
  );
  await client.closed();
  t.regex(client.types, /^RS+KZ(?:TDCZ){4}$/);
});

test('a client that was refused and does not close its side is closed', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  const stubborn = connect({ host: '127.0.0.1', port: sidecar.port, allowHalfOpen: true });
  stubborn.on('error', () => undefined).resume();
  stubborn.write('GET / HTTP/1.1\r\n\r\n');
  await once(stubborn, 'end');
  // Whether the other side is closed only shows when something is sent to it.
  await until('the connection is closed', async () => stubborn.destroyed || (stubborn.write('?'), undefined));
  t.true(stubborn.destroyed);
});

test('a connection that only looks whether the port is open costs no session and no server process', async (t) => {
  await using target = await listenAndCount();
  await using sidecar = await startListening({ to: target.port });
  const probe = new RawClient({ port: sidecar.port });
  await once(probe.socket, 'connect');
  probe.socket.end();
  await probe.closed();
  t.is(probe.frames.length, 0);
  t.is(target.accepted, 0);
});

test('beyond limits.sessions a client is refused with 53300, and let in when one has gone', async (t) => {
  await using sidecar = await startListening({ to: server.port, sessionsMax: 2 });
  const first = await new RawClient({ port: sidecar.port }).logIn('postgres');
  using second = await new RawClient({ port: sidecar.port }).logIn('postgres');
  using third = new RawClient({ port: sidecar.port });
  await third.startUp({ user: 'postgres', database: 'postgres' });
  await third.closed();
  t.like(third.errors[0], { severity: 'FATAL', code: '53300' });
  t.regex(third.errors[0]?.hint ?? '', /limits\.sessions/);
  first.socket.end();
  await first.closed();
  await until('there is room', async () => (sidecar.listener.sessions < 2 ? true : undefined));
  using fourth = await new RawClient({ port: sidecar.port }).logIn('postgres');
  t.is(fourth.count('Z') + second.count('Z'), 2);
});

test('on close idle sessions end at once, and those with work to do when it is done', async (t) => {
  const sidecar = await startListening({ to: server.port });
  await server.run('postgres', 'create table kept (id int)');
  using idle = await new RawClient({ port: sidecar.port }).logIn('postgres');
  using busy = await new RawClient({ port: sidecar.port }).logIn('postgres');
  using open = await new RawClient({ port: sidecar.port }).logIn('postgres');
  using starting = new RawClient({ port: sidecar.port });
  t.is(await starting.ask('ssl-request'), 'N');
  const from = busy.frames.length;
  await busy.send([query("select 'done' from pg_sleep(0.5)")]);
  await open.query('begin');
  await open.query('insert into kept values (1)');

  const closed = sidecar.listener.close(10_000);
  await Promise.all([idle.closed(), starting.closed()]);
  t.like(idle.errors[0], { severity: 'FATAL', code: '57P01' });
  t.like(starting.errors[0], { severity: 'FATAL', code: '57P01' });
  await busy.closed();
  t.deepEqual(rowsOf(busy.frames.slice(from)), [['done']]);
  t.like(busy.errors[0], { code: '57P01' });
  await open.query('commit');
  await open.closed();
  await closed;
  using observer = await new RawClient({ port: server.port }).logIn('postgres');
  t.deepEqual(rowsOf(await observer.query('select id from kept')), [['1']]);
});

test('after the grace of a close every session ends, whatever it does', async (t) => {
  const sidecar = await startListening({ to: server.port });
  using busy = await new RawClient({ port: sidecar.port }).logIn('postgres');
  await busy.send([query('select pg_sleep(60)')]);
  await sidecar.listener.close(100);
  await busy.closed();
  t.is(sidecar.listener.sessions, 0);
});

async function listenAndCount(): Promise<AsyncDisposable & { readonly port: number; accepted: number }> {
  const server = createServer((socket: Socket) => {
    counter.accepted += 1;
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const counter = {
    port: (server.address() as AddressInfo).port,
    accepted: 0,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
  return counter;
}
