import test from 'ava';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { startListening } from './support/listening.ts';
import { RawClient, rowsOf } from './support/raw-client.ts';
import { copyData, copyDone, query } from './support/messages.ts';

test('a physical replication stream goes both ways, and ends as it ends without the sidecar', async (t) => {
  await using server = await startPostgres({ settings: { wal_keep_size: '64MB' } });
  await using sidecar = await startListening({ to: server.port });
  await server.run('postgres', 'create table account (id int)');
  using client = new RawClient({ port: sidecar.port });
  await client.startUp({ user: 'postgres', replication: 'true' });
  await client.ready();
  const [system] = rowsOf(await client.query('IDENTIFY_SYSTEM'));
  const position = system?.[2] ?? '';
  await client.send([query(`START_REPLICATION PHYSICAL ${position}`)]);
  await client.until('W', () => client.count('W') === 1);

  await server.run('postgres', 'insert into account select 1; select pg_switch_wal(); checkpoint');
  const written = (): boolean =>
    client.frames.some(({ type, bytes }) => type === 'd' && bytes[5] === 'w'.charCodeAt(0));
  await client.until('written log', written);
  // The standby says how far it is, and asks for an answer: a keep-alive.
  const keepAlives = (): number => client.frames.filter(({ bytes }) => bytes[0] === 0x64 && bytes[5] === 0x6b).length;
  const before = keepAlives();
  await client.send([copyData(`r${'\0'.repeat(32)}\u0001`)]);
  await client.until('a keep-alive', () => keepAlives() > before);

  await client.send([copyDone]);
  const from = client.frames.length;
  await client.ready(1, from);
  t.regex(client.types, /cC+Z$/);
  t.is(sidecar.counts['protocol-error'], undefined);
});

test('a logical replication session may run statements, but none inside a global transaction', async (t) => {
  await using server = await startPostgres();
  await using sidecar = await startListening({ to: server.port });
  await server.run('postgres', 'create table account (id int primary key); insert into account values (1)');
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres', { replication: 'database' });
  t.deepEqual(rowsOf(await client.query('select id from account')), [['1']]);
  await client.query("update account set id = 2 /*atomesh_gid='some-gid'*/");
  t.is(client.errors.length, 1);
  using observer = await new RawClient({ port: server.port }).logIn('postgres');
  t.deepEqual(rowsOf(await observer.query('select id from account')), [['1']]);
});
