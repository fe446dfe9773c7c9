import { connect as connectHttp2 } from 'node:http2';
import type { ServerResponse } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { openOperations, type OperationsHere } from '../../proxy/inbound/operations.ts';
import { openLog } from '../../src/platform/log.ts';
import { ask, inboundTo, RawClient, startApp, until, type App, type Started } from './support.ts';

const TRY = { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'try' };
const LINES = Object.entries(TRY)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('');

interface Served {
  readonly app: App;
  readonly inbound: Started;
  /** The answers that the application has not given yet. */
  readonly open: ServerResponse[];
  /** The operations whose success the barrier was told of. */
  readonly completed: string[];
}

/** Branch operations behind a barrier that knows nothing, in front of an application that takes its time. */
async function served(t: ExecutionContext, options: Readonly<Record<string, unknown>>): Promise<Served> {
  const open: ServerResponse[] = [];
  const completed: string[] = [];
  const app = await startApp(t, (request, response) => void request.resume().on('end', () => open.push(response)));
  const here = {
    barrier: {
      arrive: () => Promise.resolve('open'),
      complete: (operation: { readonly task: string }) => {
        completed.push(operation.task);
        return Promise.resolve('done');
      },
    },
    rows: { serve: () => () => undefined },
    abandon: () => undefined,
  } as unknown as OperationsHere;
  const desk = openOperations({ here, log: openLog('test', 'silent') });
  return { app, inbound: await inboundTo(t, app.port, options, {}, desk), open, completed };
}

/** Each leaves once the application has its request. */
const CALLERS: Readonly<Record<string, (t: ExecutionContext, served: Served) => Promise<void>>> = {
  'HTTP/1, without a body': async (t, { inbound, open }) => {
    const client = await RawClient.open(t, inbound.port);
    client.send(`GET / HTTP/1.1\r\nHost: h\r\n${LINES}\r\n`);
    await until(() => open.length === 1, 'the application to have the request');
    client.socket.destroy();
  },
  'HTTP/1, with a body': async (t, { inbound, open }) => {
    const client = await RawClient.open(t, inbound.port);
    client.send(`POST / HTTP/1.1\r\nHost: h\r\n${LINES}Content-Length: 2\r\n\r\n{}`);
    await until(() => open.length === 1, 'the application to have the request');
    client.socket.resetAndDestroy();
  },
  'HTTP/2': async (t, { inbound, open }) => {
    const session = connectHttp2(inbound.url);
    session.on('error', () => undefined);
    t.teardown(() => session.destroy());
    const stream = session.request({ ...TRY, ':method': 'POST' });
    stream.on('error', () => undefined).end('{}');
    await until(() => open.length === 1, 'the application to have the request');
    stream.close(8);
  },
};

for (const [name, call] of Object.entries(CALLERS)) {
  test(`an operation whose caller has left is not interrupted, and not begun a second time before it has ended: ${name}`, async (t) => {
    const world = await served(t, { protocol: 'http1' });
    const { app, inbound, open, completed } = world;
    await call(t, world);
    for (let time = 0; time < 3; time += 1) {
      t.is((await ask(inbound.port, { method: 'POST', headers: TRY })).status, 425);
    }
    t.is(app.seen.length, 1);
    t.false(open[0]?.destroyed);
    open[0]?.end('done');
    await until(() => completed.length === 1, 'the barrier to be told');
    const again = ask(inbound.port, { method: 'POST', headers: TRY });
    await until(() => open.length === 2, 'the operation to be free again');
    open[1]?.end();
    t.is((await again).status, 200);
    t.is(inbound.activeRequests.size, 0);
  });
}

test('an operation whose caller has left is given up after the timeout of the listener', async (t) => {
  const world = await served(t, { protocol: 'http1', timeout: '300ms' });
  await CALLERS['HTTP/1, with a body']?.(t, world);
  await until(() => world.open[0]?.destroyed === true, 'the call to be given up');
  await until(() => world.inbound.activeRequests.size === 0, 'the operation to be free again');
  t.deepEqual(world.completed, []);
});

test('an operation whose request was cut never reaches the application whole, and frees its branch', async (t) => {
  const { app, inbound, open } = await served(t, { protocol: 'http1' });
  const client = await RawClient.open(t, inbound.port);
  client.send(`POST / HTTP/1.1\r\nHost: h\r\n${LINES}Content-Length: 9\r\n\r\n{`);
  await until(() => app.seen.length === 1, 'the head');
  client.socket.destroy();
  await until(() => inbound.activeRequests.size === 0, 'the operation to be free again');
  await until(() => app.seen[0]?.destroyed === true, 'the abort');
  t.is(open.length, 0);
});

test('a client that closes its end of an HTTP/1 connection has left, as one that is gone: what it began is aborted', async (t) => {
  const app = await startApp(t, () => {});
  const inbound = await inboundTo(t, app.port, { transactions: [{ match: 'POST /orders', begin: {} }] });
  const client = await RawClient.open(t, inbound.port);
  client.send('POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n');
  await until(() => app.seen.length === 1, 'the application');
  client.socket.end();
  t.is(await client.closed(), '');
  await until(() => inbound.coordinator.single().status === 'failed', 'the abort');
  await until(async () => (await app.connections()) === 0, 'the application’s connection to end');
});
