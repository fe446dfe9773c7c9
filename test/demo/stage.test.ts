/** What the demo stops, holds up and kills with: gates in a database, and processes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { closeGate } from '../../examples/demo/gate.ts';
import { openDatabases, query } from '../../examples/shop/databases.ts';
import { call } from '../../examples/support/http.ts';
import { freePort } from '../../examples/support/free-port.ts';
import { openProcesses, type ManagedProcess, type ProcessGroup } from '../../examples/support/processes.ts';
import { until } from '../../examples/support/until.ts';

test('a writer waits at a closed gate, readers do not, and all pass once it is open', async (t) => {
  await using databases = await openDatabases();
  const url = databases.url('stock', 'shop');
  const { signal } = new AbortController();
  await using gate = await closeGate(url, 'item');

  let isWritten = false;
  const write = query(url, "update item set available = available - 1 where id = 'cup' returning available").then(
    (rows) => {
      isWritten = true;
      return rows;
    },
  );
  await gate.isWaitedAt(signal);
  t.deepEqual(await query(url, "select available from item where id = 'cup'"), [{ available: '50' }]);
  t.false(isWritten);

  await gate.open();
  t.deepEqual(await write, [{ available: '49' }]);
});

test('until ends at its deadline with what it waited for, and at once when it is aborted', async (t) => {
  const never = async (): Promise<undefined> => undefined;
  await t.throwsAsync(until('pigs fly', never, { withinMs: 50 }), { message: 'waited 0.05 s in vain until pigs fly' });
  const failing = async (): Promise<never> => {
    throw new Error('no wings');
  };
  await t.throwsAsync(until('pigs fly', failing, { withinMs: 50 }), { message: /until pigs fly: no wings$/ });
  const controller = new AbortController();
  const waiting = until('pigs fly', never, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await t.throwsAsync(waiting, { message: /enough|aborted/ });
});

test('a paused process answers nobody until it is resumed; a killed one can be started again', async (t) => {
  await using world = await openWorld();
  const { server, url } = world;
  await server.start();
  t.is((await call('GET', url)).status, 200);

  await server.pause();
  await t.throwsAsync(call('GET', url, { timeoutMs: 200 }));
  server.resume();
  t.is((await call('GET', url)).status, 200);

  await server.kill();
  await t.throwsAsync(call('GET', url), { code: 'ECONNREFUSED' });
  await server.start();
  t.is((await call('GET', url)).status, 200);
});

test('a paused process is stopped with its group', async (t) => {
  let address = '';
  {
    await using world = await openWorld();
    address = world.url;
    await world.server.start();
    await world.server.pause();
  }
  await t.throwsAsync(call('GET', address), { code: 'ECONNREFUSED' });
});

test('a process that ends before it is ready is reported with the end of its log', async (t) => {
  await using world = await openWorld();
  const broken = world.group.add({
    name: 'broken',
    command: ['--eval', 'console.error("no such luck"); process.exit(7)'],
    environment: {},
    isReady: async () => false,
  });
  await t.throwsAsync(broken.start(), { message: /broken did not start[^]*no such luck/ });
});

interface World extends AsyncDisposable {
  readonly group: ProcessGroup;
  readonly server: ManagedProcess;
  readonly url: string;
}

async function openWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-processes-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const group = stack.use(openProcesses(folder));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const server = group.add({
    name: 'server',
    command: ['--eval', `require('node:http').createServer((_, r) => r.end('ok')).listen(${port}, '127.0.0.1')`],
    environment: {},
    isReady: async () => (await call('GET', url, { timeoutMs: 1000 })).status === 200,
  });
  const owned = stack.move();
  return { group, server, url, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
