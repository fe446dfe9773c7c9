import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { encodeFrontend, type FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { bind, execute, parse, query, sync } from './support/messages.ts';
import { startListening } from './support/listening.ts';
import { RawClient, rowsOf } from './support/raw-client.ts';
import { GREETING } from './support/scripted-server.ts';

const LIMIT = 32 * 1024;
const LARGE = 'x'.repeat(10 * LIMIT);

let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
  await initialiseDatabase({ connectionString: server.url('postgres') });
  await server.run('postgres', 'create table noted (id int primary key, what text)');
});
test.after.always(() => server[Symbol.asyncDispose]());

function header(type: string, length: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.write(type, 0, 'latin1');
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** Sends a header byte by byte and then some of what it promises; the session must end at the header, with this SQLSTATE. */
async function isRefused(t: ExecutionContext, client: RawClient, promise: Buffer, code: string): Promise<void> {
  for (const byte of promise) {
    await client.send(Buffer.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  // Nothing more has to come: the refusal is there when the length is.
  await client.until('an error', () => client.count('E') > 0);
  t.like(client.errors.at(-1), { severity: 'FATAL', code });
  for (let count = 0; count < 10; count += 1) await client.send(Buffer.from('dribble'));
  await client.closed();
}

for (const [type, what] of [
  ['Q', 'a query'],
  ['P', 'a Parse'],
  ['B', 'a Bind'],
  ['d', 'COPY data'],
] as const) {
  test(`inside a gid ${what} above the limit ends the session at its header`, async (t) => {
    await using sidecar = await startListening({ to: server.port, statementBytesMax: LIMIT });
    for (const [length, code] of [
      [LIMIT, '54000'],
      [1_000_000_000, '54000'],
      [2 ** 31 - 1, '08P01'],
      [2 ** 31, '08P01'],
    ] as const) {
      using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
      await client.query(`begin /*atomesh_gid='limit-${type}-${length}'*/`);
      await isRefused(t, client, header(type, length), code);
    }
  });
}

test('without a gid a promise of 2 GiB ends the session at once, and nobody else hears of it', async (t) => {
  await using sidecar = await startListening({ to: server.port });
  using other = await new RawClient({ port: sidecar.port }).logIn('postgres');
  for (const length of [2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
    using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
    await isRefused(t, client, header('Q', length), '08P01');
  }
  t.deepEqual(rowsOf(await other.query('select 1')), [['1']]);
});

test('without a gid what is above the limit arrives as it came', async (t) => {
  await using sidecar = await startListening({ to: server.port, statementBytesMax: LIMIT });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  const length = `select length('${LARGE}')`;
  t.deepEqual(rowsOf(await client.query(length)), [[String(LARGE.length)]]);
  // Also while names are looked at, and by a statement whose trace is not one that came with a gid, and in whatever pieces.
  await client.send([
    parse('marked', `select length($1) /*traceparent='00-${'1'.repeat(32)}-${'2'.repeat(16)}-01'*/`),
    sync,
  ]);
  const messages = [
    parse('large', length),
    parse('small', 'select length($1)'),
    bind('', 'large'),
    execute(''),
    bind('', 'small', [LARGE]),
    execute(''),
    bind('', 'marked', [LARGE]),
    execute(''),
    sync,
  ];
  await client.ready(3);
  await client.send(messages);
  await client.ready(4);
  t.deepEqual(
    rowsOf(client.frames).slice(-3),
    Array.from({ length: 3 }, () => [String(LARGE.length)]),
  );
  using slow = await new RawClient({ port: sidecar.port, chunkBytes: 3 }).logIn('postgres');
  await slow.send(Buffer.concat([encodeFrontend(query(length)).subarray(0, 30)]));
  await slow.send(encodeFrontend(query(length)).subarray(30, 60));
  slow.socket.write(encodeFrontend(query(length)).subarray(60));
  await slow.ready(2);
  t.deepEqual(rowsOf(slow.frames), [[String(LARGE.length)]]);
});

const GID = "/*atomesh_gid='large'*/";
const TOO_LARGE: Readonly<Record<string, readonly FrontendMessage[]>> = {
  'a query': [query(`insert into noted values (1, '${LARGE}') ${GID}`)],
  'a query that names it first': [query(`${GID} insert into noted values (1, '${LARGE}')`)],
  'a Parse': [parse('', `insert into noted values (1, '${LARGE}') ${GID}`), bind('', ''), execute(''), sync],
  'the parameters of set_config': [bind('', 'set', ['atomesh.gid', LARGE]), execute(''), sync],
};

for (const [what, messages] of Object.entries(TOO_LARGE)) {
  test(`${what} above the limit that may name a gid is refused, and has no effect`, async (t) => {
    await using sidecar = await startListening({ to: server.port, statementBytesMax: LIMIT });
    using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
    await client.send([parse('set', 'select set_config($1, $2, true)'), sync]);
    await client.ready(2);
    await client.send(messages);
    await client.until('an error', () => client.count('E') > 0);
    t.like(client.errors.at(-1), { severity: 'FATAL', code: '54000' });
    t.regex(client.errors.at(-1)?.hint ?? '', /limits\.statement/);
    await client.closed();
    using other = await new RawClient({ port: sidecar.port }).logIn('postgres');
    t.deepEqual(rowsOf(await other.query('select count(*) from noted where id = 1')), [['0']]);
  });
}

test('what is above the limit is not kept: the server has each piece of it before the next comes', async (t) => {
  await using counting = await startCountingServer();
  await using sidecar = await startListening({ to: counting.port, statementBytesMax: LIMIT });
  for (const type of ['Q', 'P', 'B', 'd']) {
    using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
    const before = counting.bytes();
    await client.send(header(type, 500_000_000));
    for (let sent = 5, count = 0; count < 20; count += 1) {
      await client.send(Buffer.alloc(LIMIT, 'y'));
      sent += LIMIT;
      await until('the server has it', async () => (counting.bytes() - before === sent ? true : undefined));
    }
  }
  t.pass();
});

test('a statement that was too large to be remembered is refused inside a gid, never passed', async (t) => {
  await using sidecar = await startListening({ to: server.port, statementBytesMax: LIMIT });
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  await client.send([parse('', `insert into noted values (3, '${LARGE}')`), sync]);
  await client.ready(2);
  await client.send([parse('begin', `begin ${GID}`), bind('b', 'begin'), execute('b'), sync]);
  await client.ready(3);
  await client.send([bind('', ''), execute(''), sync]);
  await client.ready(4);
  t.like(client.errors.at(-1), { severity: 'ERROR', code: '0A000' });
  await client.query('rollback');
  t.deepEqual(rowsOf(await client.query('select count(*) from noted where id = 3')), [['0']]);
});

/** A server that lets everybody in and counts what comes behind the start-up packet. */
async function startCountingServer(): Promise<AsyncDisposable & { readonly port: number; bytes(): number }> {
  const sockets = new Set<Socket>();
  let bytes = 0;
  const listening = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    socket.once('data', () => {
      socket.write(GREETING);
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
    });
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return {
    port: (listening.address() as AddressInfo).port,
    bytes: () => bytes,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      listening.close();
      await once(listening, 'close');
    },
  };
}
