import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import test from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { encodeFrontend } from '../../proxy/postgres/wire/messages.ts';
import { startMeasured } from './support/measured.ts';
import { RawClient, rowsOf } from './support/raw-client.ts';
import { copyData, copyDone, query } from './support/messages.ts';

const MIB = 1024 * 1024;
/** How much the sidecar may grow while nothing moves on: it keeps next to nothing. */
const GROWTH_MAX = 64 * MIB;
/** How much it may grow while 200 MB pass: chunks that have gone on wait for the collector, the longer the busier the machine is. */
const VOLUME_GROWTH_MAX = 96 * MIB;
/** What a client must not be able to send to a server that does not read: more than all buffers on the way hold. */
const TOO_MUCH = 200 * MIB;

let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
  await server.run('postgres', 'create unlogged table bulk (line text)');
});
test.after.always(() => server[Symbol.asyncDispose]());

/** Sends as fast as it is taken. */
async function pour(socket: Socket, bytes: Buffer, times: number): Promise<void> {
  for (let left = times; left > 0; left -= 1) if (!socket.write(bytes)) await once(socket, 'drain');
}

/** False when the other side takes no more for half a second. */
async function isTaken(socket: Socket, bytes: Buffer): Promise<boolean> {
  if (socket.write(bytes)) return true;
  return await once(socket, 'drain', { signal: AbortSignal.timeout(500) }).then(
    () => true,
    () => false,
  );
}

/** Reads without keeping, and counts; resolves when the stream says that the session is ready, in its last bytes. */
async function drain(socket: Socket): Promise<number> {
  let count = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    count += chunk.length;
    if (chunk.subarray(-6).equals(READY)) return count;
  }
  throw new Error('the connection has ended');
}

const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/** Of 64 KiB each. */
const COPIED_MESSAGES = 3200;

test.serial('200 MB of COPY go in, and 200 MB come out, in 96 MiB of memory', async (t) => {
  await using sidecar = await startMeasured(server.port);
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  const before = await sidecar.rss();
  const line = Buffer.from(`${'x'.repeat(1023)}\n`);
  // 64 lines a message, of which none ends where a chunk of the socket ends.
  const message = encodeFrontend(copyData(line.toString().repeat(64)));
  const peakIn = await sidecar.peakOf(async () => {
    await client.send([query('copy bulk from stdin')]);
    await client.until('G', () => client.count('G') === 1);
    await pour(client.socket, message, COPIED_MESSAGES);
    await client.send([copyDone]);
    await client.until('the end of the COPY', () => client.count('Z') === 2);
  });
  t.true(peakIn - before < VOLUME_GROWTH_MAX, `grew by ${(peakIn - before) / MIB} MiB`);
  client.socket.removeAllListeners('data');
  let count = 0;
  const peakOut = await sidecar.peakOf(async () => {
    await client.send([query('copy bulk to stdout')]);
    count = await drain(client.socket);
  });
  t.true(count > COPIED_MESSAGES * 64 * 1024);
  t.true(peakOut - before < VOLUME_GROWTH_MAX, `grew by ${(peakOut - before) / MIB} MiB`);
});

test.serial('one row of 200 MB passes without being kept', async (t) => {
  await using sidecar = await startMeasured(server.port);
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  const before = await sidecar.rss();
  client.socket.removeAllListeners('data');
  const peak = await sidecar.peakOf(async () => {
    await client.send([query("select repeat('0123456789', 20000000)")]);
    t.true((await drain(client.socket)) > 200_000_000);
  });
  t.true(peak - before < VOLUME_GROWTH_MAX, `grew by ${(peak - before) / MIB} MiB`);
});

test.serial('a statement of 5 MB arrives whole', async (t) => {
  await using sidecar = await startMeasured(server.port);
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  const text = 'atomesh or not '.repeat(350_000);
  t.deepEqual(
    rowsOf(await client.query(`select length('${text}'), md5('${text}') = md5(repeat('atomesh or not ', 350000))`)),
    [[String(text.length), 't']],
  );
});

test.serial('a client that does not read stops the server, not the sidecar, and then misses nothing', async (t) => {
  await using sidecar = await startMeasured(server.port);
  using slow = await new RawClient({ port: sidecar.port }).logIn('postgres');
  using other = await new RawClient({ port: sidecar.port }).logIn('postgres');
  const before = await sidecar.rss();
  slow.socket.removeAllListeners('data');
  slow.socket.pause();
  const peakStopped = await sidecar.peakOf(async () => {
    await slow.send([query("select repeat('x', 10000) from generate_series(1, 20000)")]);
    const waits = `select 1 from pg_stat_activity where pid = ${slow.processId} and wait_event = 'ClientWrite'`;
    await until('the server waits for the client', async () =>
      rowsOf(await other.query(waits)).length > 0 ? true : undefined,
    );
  });
  t.true(peakStopped - before < GROWTH_MAX, `grew by ${(peakStopped - before) / MIB} MiB`);
  const peak = await sidecar.peakOf(async () => {
    t.true((await drain(slow.socket)) > 20_000 * 10_000);
  });
  t.true(peak - before < VOLUME_GROWTH_MAX, `grew by ${(peak - before) / MIB} MiB`);
});

for (const [what, bytes] of [
  ['small statements', encodeFrontend(query('select 1'))],
  ['large statements', encodeFrontend(query(`select '${'x'.repeat(MIB)}'`))],
] as const) {
  test.serial(`a server that does not read stops the client, not the sidecar: ${what}`, async (t) => {
    await using deaf = await startDeafServer();
    await using sidecar = await startMeasured(deaf.port);
    using client = new RawClient({ port: sidecar.port });
    await client.logIn('postgres');
    const before = await sidecar.rss();
    const repeated = Buffer.concat(Array.from({ length: Math.ceil(MIB / bytes.length) }, () => bytes));
    let taken = 0;
    const peak = await sidecar.peakOf(async () => {
      while (taken < TOO_MUCH && (await isTaken(client.socket, repeated))) taken += repeated.length;
    });
    t.true(taken < TOO_MUCH, `the client could send ${taken} bytes`);
    t.true(peak - before < GROWTH_MAX, `grew by ${(peak - before) / MIB} MiB`);
  });
}

test.serial('100,000 empty pipelines in one go are all answered, and the session is in step behind them', async (t) => {
  await using sidecar = await startMeasured(server.port);
  using client = await new RawClient({ port: sidecar.port }).logIn('postgres');
  const count = 100_000;
  await client.send(Array.from({ length: count }, () => ({ kind: 'sync' }) as const));
  await client.until('all answers', () => client.frames.length >= count);
  await client.ready(count + 1);
  t.deepEqual(rowsOf(await client.query("select 'in step' /*atomesh_gid='g'*/")), [['in step']]);
});

/** A server that lets everybody in and then reads nothing. */
async function startDeafServer(): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const greeting = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, ...READY]);
  const listening = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    socket.once('data', () => socket.pause().write(greeting));
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return {
    port: (listening.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      listening.close();
      await once(listening, 'close');
    },
  };
}
