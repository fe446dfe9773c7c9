import test from 'ava';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { encodeBackend, encodeFrontend, type BackendMessage } from '../../proxy/postgres/wire/messages.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import { startListening } from '../sql-passthrough/support/listening.ts';
import { bind, copyData, describe, execute, parse, query, sync } from '../sql-passthrough/support/messages.ts';
import { RawClient, rowsOf, startupPacket } from '../sql-passthrough/support/raw-client.ts';
import { startStandIn } from './stand-in.ts';

/** Names a gid: the sidecar reads the server's answers itself. */
const GID = "/*atomesh_gid='published-bugs'*/";
const text = (value: string): Buffer => Buffer.from(value);
const say = (...messages: readonly BackendMessage[]): Buffer => Buffer.concat(messages.map(encodeBackend));
const READY = say({ kind: 'ready-for-query', status: 'I' });

/** A frame with any length. */
function frame(type: string, length: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, 0, 'latin1');
  header.writeUInt32BE(length >>> 0, 1);
  return Buffer.concat([header, body]);
}

test('CVE-2024-27304: a length that does not fit its field never makes several messages of one', async (t) => {
  await using server = await startStandIn({});
  await using sidecar = await startListening({ to: server.port });
  const smuggled = encodeFrontend(query('drop table account'));
  for (const type of ['Q', 'P', 'B', 'd', 'p', 'F']) {
    for (const length of [-1, 0, 3, 0x8000_0000, 0xffff_fffb]) {
      using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
      await client.send(frame(type, length, smuggled));
      await client.closed();
      t.is(client.errors.at(-1)?.code, '08P01', `${type} ${length}`);
    }
  }
  t.deepEqual(server.heard, [], 'the server heard a message that the client had not sent');
});

test('CVE-2026-4427: a row with a negative length of a value ends its own session only', async (t) => {
  const value = Buffer.from([0, 1, 0xff, 0xff, 0xff, 0xfe, 0x78]);
  // To the sidecar's question about the table: Parse, Bind, Execute, Close, Sync.
  const answer = Buffer.concat([
    say({ kind: 'parse-complete' }, { kind: 'bind-complete' }),
    frame('D', 4 + value.length, value),
    say({ kind: 'command-complete', tag: text('SELECT 1') }, { kind: 'close-complete' }),
    READY,
  ]);
  await using server = await startStandIn({ answer: (type) => (type === 'S' ? answer : undefined) });
  await using sidecar = await startListening({ to: server.port });
  for (const sql of ['update account set id = 1', 'select count(*) from account']) {
    using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
    await client.send([query(`${sql} ${GID}`)]);
    await client.closed();
    t.is(client.errors.at(-1)?.severity, 'FATAL', sql);
  }
  using other = await new RawClient({ port: sidecar.port }).logIn('postgres');
  t.is(other.count('Z'), 1);
});

test('CVE-2026-6664, CVE-2026-6665: SCRAM messages of any length go through as they came, or end the login', async (t) => {
  const nonce = `r=${'n'.repeat(200_000)},s=c2FsdA==,i=4096`;
  const long = say({ kind: 'authentication', method: 'sasl-continue', data: text(nonce) });
  await using server = await startStandIn({
    greeting: say({ kind: 'authentication', method: 'sasl', mechanisms: [text('SCRAM-SHA-256')] }),
    answer: (type, bytes) => (type === 'p' && bytes.length < 1000 ? long : undefined),
  });
  await using sidecar = await startListening({ to: server.port });
  using client = new RawClient({ port: sidecar.port });
  await client.startUp({ user: 'postgres', database: 'postgres' });
  await client.until('a request', () => client.count('R') === 1);
  await client.send([{ kind: 'authentication-response', data: text('SCRAM-SHA-256\0\0\0\0\u0004n,,n') }]);
  await client.until('the long answer', () => client.count('R') === 2 || client.isEnded);
  t.deepEqual(client.frames[1]?.bytes, long);
  await client.send([{ kind: 'authentication-response', data: Buffer.alloc(300_000, 'x') }]);
  await client.send(frame('p', 0xffff_ffff));
  await client.closed();
  t.is(client.errors.at(-1)?.code, '08P01');
});

for (const fields of [[], [{ letter: 0x4d, value: text('no code') }], [{ letter: 0x01, value: text('?') }]] as const) {
  test(`CVE-2026-6666: an error with ${fields.length === 0 ? 'no field at all' : `only the field ${fields[0].letter}`} is an error`, async (t) => {
    const error = say({ kind: 'error', fields });
    await using server = await startStandIn({
      answer: (type) => (type === 'S' || type === 'Q' ? Buffer.concat([error, READY]) : undefined),
    });
    await using sidecar = await startListening({ to: server.port });
    for (const comment of ['', GID]) {
      using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
      await client.query(`update account set id = 1 ${comment}`);
      t.is(client.count('E'), 1);
      t.is(client.count('C'), 0);
    }
  });
}

test('CVE-2021-3935, CVE-2021-23214: what a client says in clear behind a request for encryption is never heard', async (t) => {
  await using server = await startStandIn({});
  await using sidecar = await startListening({ to: server.port });
  for (const kind of ['ssl-request', 'gssenc-request'] as const) {
    using client = new RawClient({ port: sidecar.port });
    const startup = startupPacket({ user: 'postgres', database: 'postgres' });
    await client.send(Buffer.concat([encodeStartupPacket({ kind }), startup, encodeFrontend(query('select 1'))]));
    await client.closed();
    t.is(client.errors.at(-1)?.code, '08P01');
  }
  t.is(server.started, 0);
});

test('CVE-2021-23222: what a server says in clear with its consent to encryption ends the connection', async (t) => {
  await using server = await startStandIn({
    encryption: Buffer.concat([text('S'), say({ kind: 'authentication', method: 'ok' })]),
  });
  await using sidecar = await startListening({ to: server.port, tls: { mode: 'require' } });
  using client = new RawClient({ port: sidecar.port });
  await client.startUp({ user: 'postgres', database: 'postgres' });
  await client.closed();
  t.like(client.errors.at(-1), { severity: 'FATAL', code: '08001' });
  t.is(client.types, 'E');
  t.is(server.started, 0);
});

/** Makes names of the catalogue in a schema that comes before it, and notes who uses them. No statement of the client's needs one. */
async function hijackedBy(
  shadows: string,
): Promise<{ readonly hijacked: unknown; readonly captured: number | undefined }> {
  await using server = await startPostgres();
  await initialiseDatabase({ connectionString: server.url('postgres') });
  await server.run('postgres', `${ACCOUNT} ${shadows}`);
  await using sidecar = await startListening({ to: server.port });
  for (const parameters of [
    { search_path: 'evil, public, pg_catalog' },
    { options: '-c search_path=evil,public,pg_catalog' },
  ]) {
    using client = await new RawClient({ port: sidecar.port }).logIn('postgres', parameters);
    await client.send([
      query(`begin ${GID}`),
      query('update account set amount = amount + 1 where id = 1'),
      query('delete from account where id > 3 returning id'),
      parse('', 'insert into account values (default, $1) returning amount'),
      bind('', '', ['5']),
      describe('portal', ''),
      execute(''),
      sync,
      query('commit'),
    ]);
    await client.ready(6);
  }
  using owner = await new RawClient({ port: server.port }).logIn('postgres');
  const [hijacked] = rowsOf(await owner.query('select last_value, is_called from evil.hijacked'));
  return { hijacked, captured: sidecar.counts['captured'] };
}

const ACCOUNT = `
  create table account (id serial primary key, amount int);
  insert into account (amount) values (10), (20), (30), (40), (50);
  create schema evil;
  -- A sequence: it counts what is rolled back, too.
  create sequence evil.hijacked;
`;
const NOT_HIJACKED = { hijacked: ['1', 'f'], captured: 6 };

/** A function that notes that it was called. */
const shadow = (signature: string, result: string, value: string, volatility = 'volatile'): string =>
  `create function evil.${signature} returns ${result} ${volatility} language plpgsql as
     $$ begin perform pg_catalog.nextval('evil.hijacked'); return ${value}; end $$;`;

test('CVE-2025-12819: a search_path from the start-up packet lends the sidecar no tables and functions', async (t) => {
  const shadows = [
    ...['pg_class', 'pg_attribute', 'pg_namespace', 'pg_index', 'pg_proc', 'pg_type'].map(
      (name) => `create table evil.${name} as select oid from pg_catalog.pg_class limit 0;`,
    ),
    shadow('pg_current_wal_insert_lsn()', 'pg_lsn', "'0/0'"),
    shadow('has_shape(oid, text)', 'bool', 'true'),
    shadow('format_type(oid, int)', 'text', "'text'"),
    shadow('md5(text)', 'text', "''"),
    shadow('concat(text, text)', 'text', "''"),
    shadow('current_setting(text, bool)', 'text', "''"),
    shadow('to_regclass(text)', 'regclass', 'null'),
  ];
  t.deepEqual(await hijackedBy(shadows.join('\n')), NOT_HIJACKED);
});

test('CVE-2025-12819: a search_path from the start-up packet lends the sidecar no operators', async (t) => {
  const shadows = [
    // A volatile one would keep the client's own statements from being captured.
    shadow('same(text, text)', 'bool', 'true', 'immutable'),
    'create operator evil.= (leftarg = text, rightarg = text, procedure = evil.same);',
    shadow('joined(text, text)', 'text', "''", 'immutable'),
    'create operator evil.|| (leftarg = text, rightarg = text, procedure = evil.joined);',
  ];
  t.deepEqual(await hijackedBy(shadows.join('\n')), NOT_HIJACKED);
});

test('PgBouncer 38, 141, 223: a ReadyForQuery that nobody asked for never makes one answer that of another statement', async (t) => {
  const twice = Buffer.concat([READY, READY]);
  let count = 0;
  await using server = await startStandIn({
    answer(type) {
      if (type !== 'S' && type !== 'Q') return undefined;
      count += 1;
      return count === 1 ? twice : READY;
    },
  });
  await using sidecar = await startListening({ to: server.port });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  await client.send([query(`select 1 ${GID}`), query('update account set id = 1'), query('commit')]);
  await client.until('an end or an error', () => client.isEnded || client.count('E') > 0 || client.count('Z') >= 5);
  t.is(client.count('C'), 0, 'a statement was answered that no server carried out');
});

test('two start-up packets, and COPY data that nobody asked for, reach the server as what they are', async (t) => {
  await using server = await startStandIn({ answer: (type) => (type === 'S' ? READY : undefined) });
  await using sidecar = await startListening({ to: server.port });
  using twice = await new RawClient({ port: sidecar.port }).logIn('postgres');
  await twice.startUp({ user: 'other', database: 'postgres' });
  await twice.closed();
  t.is(twice.errors.at(-1)?.code, '08P01');
  t.deepEqual(server.heard, []);
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  await client.send([copyData('1\n'), sync]);
  await client.ready(2);
  t.deepEqual(
    server.heard.map(({ type }) => type),
    ['d', 'S'],
  );
});

test('pgdog 1330: a portal that was bound and flushed long before it is executed is that portal, inside a gid too', async (t) => {
  await using server = await startPostgres();
  await initialiseDatabase({ connectionString: server.url('postgres') });
  await server.run(
    'postgres',
    'create table account (id int primary key); insert into account select generate_series(1, 9)',
  );
  await using sidecar = await startListening({ to: server.port });
  for (const comment of ['', GID]) {
    using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
    await client.send([
      query(`begin ${comment}`),
      parse('', 'select id from account order by id'),
      bind('p', ''),
      describe('portal', 'p'),
      { kind: 'flush' },
    ]);
    await client.until('a description', () => client.count('T') === 1);
    await client.send([execute('p', 4), { kind: 'flush' }]);
    await client.until('a portion', () => client.count('s') === 1);
    await client.send([execute('p', 4), sync, query('commit')]);
    await client.ready(4);
    t.deepEqual(
      rowsOf(client.frames).map(([id]) => id),
      ['1', '2', '3', '4', '5', '6', '7', '8'],
      comment,
    );
    t.deepEqual(client.errors, []);
  }
});
