import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { connectCoordinator, type Gid } from '../../src/client/index.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { startTestBranch, startTestCoordinator, until } from './started.ts';

async function startProcess(path: string): Promise<{ process: ChildProcess; url: string }> {
  const child = fork(join(import.meta.dirname, 'process.ts'), [path]);
  const [port] = (await once(child, 'message')) as [number];
  return { process: child, url: `http://127.0.0.1:${port}` };
}

/** A branch that answers when the test says so. */
async function startHeldBranch(held: ServerResponse[]): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    request.resume();
    held.push(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Everything that the other side sends until it closes. */
async function readText(socket: Socket): Promise<string> {
  return Buffer.concat(await socket.toArray()).toString();
}

async function kill(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

test('a coordinator killed between submit and phase two is followed by one that finishes, every branch exactly as decided', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-kill-'));
  const path = join(folder, 'coordinator.db');
  let isUp = false;
  await using branch = await startTestBranch(() => (isUp ? { status: 200 } : undefined));
  const operations = { commit: `${branch.url}/commit`, rollback: `${branch.url}/rollback` };
  const first = await startProcess(path);
  const before = connectCoordinator({ url: first.url, timeoutMs: 5000 });
  for (const gid of ['commits', 'aborts', 'undecided'] as Gid[]) {
    await before.begin({ gid, timeoutMs: 60_000 });
    for (const resource of ['a/a', 'b/b']) await before.enlist(gid, { kind: 'undo', resource, operations });
  }
  await before.submit('commits' as Gid);
  await before.abort('aborts' as Gid, { reason: 'no stock' });
  await until('the branches are being called', () => branch.requests.length > 0);
  await kill(first.process);
  await before.close();

  isUp = true;
  const asked = branch.requests.length;
  const second = await startProcess(path);
  const after = connectCoordinator({ url: second.url, timeoutMs: 5000 });
  try {
    t.is((await after.read('commits' as Gid, 20_000))?.status, 'succeed');
    const aborted = await after.read('aborts' as Gid, 20_000);
    t.like(aborted, { status: 'failed', reason: 'no stock' });
    const late = branch.requests.slice(asked);
    for (const [gid, wanted] of [
      ['commits', '/commit'],
      ['aborts', '/rollback'],
    ]) {
      const paths = late.filter((request) => request.headers['atomesh-gid'] === gid).map((request) => request.path);
      t.deepEqual(paths, [wanted, wanted], `${gid}: both branches, once each`);
    }
    t.is((await after.read('undecided' as Gid))?.status, 'prepared', 'what was not decided still is not');
    t.is((await after.submit('undecided' as Gid)).status, 'submitted');
    t.is((await after.read('undecided' as Gid, 20_000))?.status, 'succeed');
  } finally {
    await after.close();
    await kill(second.process);
    await rm(folder, { recursive: true, force: true });
  }
});

test('a transaction that nobody decides is rolled back at its deadline', async (t) => {
  await using branch = await startTestBranch();
  await using coordinator = await startTestCoordinator();
  await coordinator.ask('POST', '/v1/transactions', { gid: 'g', timeoutMs: 2000 });
  await coordinator.ask('POST', '/v1/transactions/g/branches', {
    kind: 'tcc',
    resource: 'hotel',
    operations: { confirm: `${branch.url}/confirm`, cancel: `${branch.url}/cancel` },
  });
  const { body } = await coordinator.ask('GET', '/v1/transactions/g?wait=10s');
  t.is(body.status, 'failed');
  t.deepEqual(
    branch.requests.map((request) => request.path),
    ['/cancel'],
  );
});

test('closing ends long polls, lets calls in flight finish, and keeps what they answered', async (t) => {
  const held: ServerResponse[] = [];
  await using branch = await startHeldBranch(held);
  await using coordinator = await startTestCoordinator();
  const operations = { commit: `${branch.url}/commit`, rollback: `${branch.url}/rollback` };
  for (const gid of ['waits', 'commits']) await coordinator.ask('POST', '/v1/transactions', { gid });
  await coordinator.ask('POST', '/v1/transactions/commits/branches', { kind: 'undo', resource: 'a/a', operations });
  await coordinator.ask('POST', '/v1/transactions/commits/submit', {});
  await until('the branch is being called', () => held.length === 1);
  const poll = coordinator.ask('GET', '/v1/transactions/waits?wait=60s');
  // Requests that came later have been answered, so the poll has been taken up.
  for (let count = 0; count < 3; count += 1) t.is((await coordinator.ask('GET', '/readyz')).status, 200);

  const closed = coordinator.close(10_000);
  const { status, body } = await poll;
  t.deepEqual([status, body.status], [200, 'prepared']);
  await t.throwsAsync(coordinator.ask('GET', '/livez'), undefined, 'nobody new gets in');
  for (const response of held) response.end('{}');
  await closed;
  const store = await openSqliteStore(coordinator.path);
  t.is((await store.read('commits' as Gid))?.transaction.status, 'succeed');
  await store.close();
});

test('closing answers every begin in flight: it is stored, or refused and safe to send again', async (t) => {
  await using coordinator = await startTestCoordinator();
  const begins = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const socket = connect(coordinator.port, '127.0.0.1');
      await once(socket, 'connect');
      const body = JSON.stringify({ gid: `g${index}` });
      socket.write(`POST /v1/transactions HTTP/1.1\r\nhost: h\r\ncontent-length: ${body.length}\r\n\r\n`);
      socket.write(body.slice(0, -1));
      return { gid: `g${index}` as Gid, socket, answer: readText(socket) };
    }),
  );
  // Requests that came later have been answered, so the begins have been taken up.
  for (let count = 0; count < 3; count += 1) t.is((await coordinator.ask('GET', '/readyz')).status, 200);
  for (const { socket } of begins.slice(0, 10)) socket.write('}');
  await until('the first begin', () =>
    coordinator.ask('GET', '/v1/transactions/g0').then(({ status }) => status === 200),
  );
  const closed = coordinator.close(10_000);
  for (const { socket } of begins.slice(10)) socket.write('}');
  const statuses = new Map<Gid, string>();
  for (const { gid, answer } of begins) {
    const text = await answer;
    t.regex(text, /^HTTP\/1.1 (?:201 |503 [^]*"code":"SHUTTING_DOWN"[^]*"retry":"safe")/, gid);
    statuses.set(gid, text.slice(9, 12));
  }
  await closed;
  const store = await openSqliteStore(coordinator.path);
  for (const [gid, status] of statuses) t.is((await store.read(gid)) !== undefined, status === '201', gid);
  await store.close();
});

test('a second coordinator on the same file is refused, and says why', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-second-'));
  const options = coordinatorOptions.parse({
    listen: '127.0.0.1:0',
    grpc: { listen: '127.0.0.1:0' },
    store: { sqlite: { path: join(folder, 'c.db') } },
    log: { level: 'silent' },
  });
  const first = await startCoordinator(options, openLog('test', 'silent'));
  const error = await t.throwsAsync(startCoordinator(options, openLog('test', 'silent')), { instanceOf: CodedError });
  t.is(error?.code, 'STORE_FAILED');
  t.regex(error?.message ?? '', /in use by another process/);
  await first.close(100);
  await rm(folder, { recursive: true, force: true });
});

test('an address that is taken is an error, and the store is given back', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-taken-'));
  await using other = await startTestCoordinator();
  const options = {
    listen: `127.0.0.1:${other.port}`,
    grpc: { listen: '127.0.0.1:0' },
    store: { sqlite: { path: join(folder, 'c.db') } },
    log: { level: 'silent' as const },
  };
  await t.throwsAsync(startCoordinator(coordinatorOptions.parse(options), openLog('test', 'silent')), {
    code: 'EADDRINUSE',
  });
  const free = coordinatorOptions.parse({ ...options, listen: '127.0.0.1:0' });
  const coordinator = await startCoordinator(free, openLog('test', 'silent'));
  await coordinator.close(100);
  await rm(folder, { recursive: true, force: true });
  t.pass();
});
