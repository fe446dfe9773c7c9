import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { CodedError, connectCoordinator, type CoordinatorClient, parseGid, type Gid } from '../../src/client/index.ts';
import { startTestBranch, startTestCoordinator } from '../coordinator/started.ts';

const GID = 'g:{1}' as Gid;

function connect(
  url: string,
  options: { token?: string; timeoutMs?: number } = {},
): CoordinatorClient & AsyncDisposable {
  const client = connectCoordinator({ url, timeoutMs: 5000, ...options });
  return { ...client, [Symbol.asyncDispose]: () => client.close() };
}

async function serve(server: Server): Promise<{ url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const fakeCoordinator = (listener: RequestListener): Promise<{ url: string } & AsyncDisposable> =>
  serve(createServer(listener));

test('every verb of the coordinator, and its errors as they were meant', async (t) => {
  await using branch = await startTestBranch();
  await using coordinator = await startTestCoordinator({ token: 'sesame' });
  await using client = connect(coordinator.url, { token: 'sesame' });
  t.true(await client.ready());
  t.is((await client.begin({ gid: GID, timeoutMs: 9000 })).gid, GID);
  const operations = { commit: `${branch.url}/c`, rollback: `${branch.url}/r` };
  t.deepEqual(await client.enlist(GID, { kind: 'undo', resource: 'a/a', operations }), {
    gid: GID,
    branchId: '01',
    sequence: 1,
  } as Awaited<ReturnType<CoordinatorClient['enlist']>>);
  t.not((await client.submit(GID)).status, 'prepared');
  t.is((await client.read(GID, 5000))?.status, 'succeed');
  t.is((await client.read(GID))?.status, 'succeed');
  t.is((await client.retry(GID)).status, 'succeed');
  t.is(await client.read('nobody' as Gid), undefined);
  t.is(await client.read('nobody' as Gid, 100), undefined);

  const decided = await t.throwsAsync(client.abort(GID, { reason: 'late' }), { instanceOf: CodedError });
  t.is(decided?.code, 'TRANSACTION_DECIDED');
  const unknown = await t.throwsAsync(client.submit('nobody' as Gid), { instanceOf: CodedError });
  t.deepEqual([unknown?.code, unknown?.retry], ['GID_UNKNOWN', 'never']);
  t.truthy(unknown?.hint);

  const own = await client.begin({});
  t.truthy(parseGid(own.gid));
  t.is((await client.abort(own.gid, {})).branches.length, 0);
  const page = await client.list({ limit: 1, status: 'succeed' });
  t.deepEqual(
    page.transactions.map(({ gid }) => gid),
    [GID],
  );
  t.is(
    (await client.list({ after: GID })).transactions.every(({ gid }) => gid > GID),
    true,
  );

  await using stranger = connect(coordinator.url);
  const refused = await t.throwsAsync(stranger.begin({}), { instanceOf: CodedError });
  t.is(refused?.code, 'UNAUTHORIZED');
});

test('nobody there is COORDINATOR_UNREACHABLE, safe to try again, and not ready', async (t) => {
  await using client = connect('http://127.0.0.1:1');
  const error = await t.throwsAsync(client.begin({}), { instanceOf: CodedError });
  t.deepEqual([error?.code, error?.retry], ['COORDINATOR_UNREACHABLE', 'safe']);
  t.regex(error?.message ?? '', /ECONNREFUSED/);
  t.false(await client.ready());
});

test('silence ends at the time limit, with a long poll at its wait on top', async (t) => {
  await using coordinator = await fakeCoordinator(() => undefined);
  await using client = connect(coordinator.url, { timeoutMs: 100 });
  const start = performance.now();
  const error = await t.throwsAsync(client.submit(GID), { instanceOf: CodedError });
  t.is(error?.code, 'COORDINATOR_UNREACHABLE');
  t.regex(error?.message ?? '', /within 100 ms/);
  const polled = await t.throwsAsync(client.read(GID, 200), { instanceOf: CodedError });
  t.regex(polled?.message ?? '', /within 300 ms/);
  t.true(performance.now() - start < 3000);
});

test('answers that are not a coordinator’s are COORDINATOR_UNREACHABLE', async (t) => {
  let answer: readonly [number, string] = [200, ''];
  await using coordinator = await fakeCoordinator((request, response) => {
    request.resume();
    response.writeHead(answer[0]).end(answer[1]);
  });
  await using client = connect(coordinator.url);
  for (answer of [
    [200, ''],
    [200, '<html>'],
    [200, 'null'],
    [200, '{}'],
    [200, '{"gid":1}'],
    [502, '<html>Bad Gateway</html>'],
    [404, 'default backend'],
    [301, ''],
    [409, '{"error":{"code":"SOMETHING_NEW","message":"m"}}'],
    [409, '{"error":{"code":"constructor","message":"m"}}'],
    [409, '{"error":"text"}'],
  ] as const) {
    for (const ask of [
      () => client.begin({}),
      () => client.enlist(GID, { kind: 'msg', resource: 'a', operations: {} }),
      () => client.list({}),
      () => client.read(GID),
    ]) {
      const error = await t.throwsAsync(ask(), { instanceOf: CodedError }, answer.join(' '));
      t.is(error?.code, 'COORDINATOR_UNREACHABLE', answer.join(' '));
    }
  }
});

test('a request that meets a connection just closed is sent once more, with the same gid', async (t) => {
  const bodies: string[] = [];
  let connections = 0;
  const view = (gid: string): string => JSON.stringify({ gid, status: 'prepared', branches: [] });
  const server = createTcpServer((socket) => {
    const connection = (connections += 1);
    let requests = 0;
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      requests += 1;
      const body = chunk.toString().split('\r\n\r\n')[1] ?? '';
      bodies.push(body);
      // The first connection takes one request and is closed under the second.
      if (connection === 1 && requests === 2) return void socket.resetAndDestroy();
      const text = view((JSON.parse(body) as { gid: string }).gid);
      socket.write(`HTTP/1.1 201 Created\r\ncontent-length: ${text.length}\r\n\r\n${text}`);
    });
  });
  await using coordinator = await serve(server);
  await using client = connect(coordinator.url);
  await client.begin({});
  // undici uses a connection again one turn of the event loop after its last answer.
  for (let turn = 0; turn < 3; turn += 1) await setImmediate();
  const second = await client.begin({});
  t.is(connections, 2);
  t.is(bodies.length, 3);
  t.is(bodies[1], bodies[2]);
  t.is((JSON.parse(bodies[2] ?? '') as { gid: string }).gid, second.gid);
});

test('a coordinator that always closes is asked twice, not for ever', async (t) => {
  let connections = 0;
  const server = createTcpServer((socket) => {
    connections += 1;
    socket.on('error', () => undefined);
    socket.on('data', () => socket.resetAndDestroy());
  });
  await using coordinator = await serve(server);
  await using client = connect(coordinator.url);
  const error = await t.throwsAsync(client.begin({}), { instanceOf: CodedError });
  t.is(error?.code, 'COORDINATOR_UNREACHABLE');
  t.is(connections, 2);
});

test('the coordinator may live under a path', async (t) => {
  const paths: (string | undefined)[] = [];
  await using coordinator = await fakeCoordinator((request, response) => {
    paths.push(request.url);
    request.resume();
    response.end('{"gid":"g","status":"prepared","branches":[]}');
  });
  await using client = connect(`${coordinator.url}/mesh/`);
  await client.submit(GID);
  t.deepEqual(paths, ['/mesh/v1/transactions/g%3A%7B1%7D/submit']);
});
