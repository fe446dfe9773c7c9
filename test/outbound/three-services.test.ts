import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { sidecarOptions } from '../../proxy/options.ts';
import { startSidecar, type Sidecar } from '../../proxy/proxy.ts';
import { openLog } from '../../src/platform/log.ts';
import { startTestCoordinator } from '../coordinator/started.ts';
import { ask, until } from '../proxy-http/support.ts';
import { service, type Seen, type Service } from './world.ts';

/** A sidecar; `options` as in the YAML. */
async function sidecar(t: ExecutionContext, name: string, options: object): Promise<Sidecar> {
  const anyPort = { listen: '127.0.0.1:0' };
  const parsed = sidecarOptions.parse({
    service: name,
    control: anyPort,
    admin: anyPort,
    log: { level: 'silent' },
    ...options,
  });
  const started = await startSidecar(parsed, openLog('test', 'silent'));
  t.teardown(() => started.close(0));
  return started;
}

/** A relay in front of `url` that notes what is asked. */
async function relay(t: ExecutionContext, url: string): Promise<{ readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    asked.push(`${request.method} ${(request.url ?? '').replace(/[0-9a-f]{32}/, 'gid')}`);
    const answer = await fetch(url + (request.url ?? ''), {
      method: request.method ?? 'GET',
      headers: { 'content-type': 'application/json' },
      ...(request.method === 'POST' ? { body: Buffer.concat(chunks) } : {}),
    });
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

interface Trip {
  readonly front: Sidecar;
  readonly asked: readonly string[];
  readonly services: readonly Service[];
  readonly over: (gid: string) => Promise<string>;
}

/** An agency that books with three services, each behind a sidecar of its own; the last refuses what the order tells it to. */
async function trip(t: ExecutionContext): Promise<Trip> {
  const coordinator = await startTestCoordinator();
  t.teardown(() => coordinator[Symbol.asyncDispose]());
  const counted = await relay(t, coordinator.url);
  const names = ['hotel', 'flight', 'car'];
  const services: Service[] = [];
  const urls: string[] = [];
  for (const name of names) {
    const app = await service(t, ({ url, body }, response) => {
      response.writeHead(name === 'car' && url === '/try' && body.includes('refuse') ? 409 : 200).end('{}');
    });
    const inbound = { listen: '127.0.0.1:0', target: app.url };
    const beside = await sidecar(t, name, { coordinator: { url: coordinator.url }, inbound });
    services.push(app);
    urls.push(`http://127.0.0.1:${beside.ports.inbound}`);
  }
  let outboundPort = 0;
  const agency = await service(t, ({ headers, body }: Seen, response) => {
    const book = async (): Promise<void> => {
      const carried = { 'atomesh-gid': String(headers['atomesh-gid']) };
      let status = 201;
      for (const url of urls) {
        const answer = await ask(outboundPort, { method: 'POST', path: `${url}/try`, headers: carried, body });
        if (answer.status !== 200) status = 500;
      }
      response.writeHead(status).end();
    };
    void book();
  });
  const front = await sidecar(t, 'agency', {
    coordinator: { url: counted.url },
    inbound: { listen: '127.0.0.1:0', target: agency.url, transactions: [{ match: 'POST /trips', begin: {} }] },
    outbound: {
      listen: '127.0.0.1:0',
      routes: urls.map((url) => ({
        match: `POST ${url}/try`,
        tcc: { confirm: `POST ${url}/confirm`, cancel: `POST ${url}/cancel` },
      })),
    },
  });
  outboundPort = front.ports.outbound ?? 0;
  const over = async (gid: string): Promise<string> => {
    const answer = await coordinator.ask('GET', `/v1/transactions/${gid}?wait=10s`);
    return (answer.body as { status: string }).status;
  };
  return { front, asked: counted.asked, services, over };
}

test('a TCC over three services, all through sidecars, costs one round trip to the coordinator for each call', async (t) => {
  const { front, asked, services, over } = await trip(t);
  const answer = await ask(front.ports.inbound ?? 0, { method: 'POST', path: '/trips', body: '{"for":"two"}' });
  t.is(answer.status, 201);
  t.is(answer.headers['atomesh-outcome'], 'committed');
  t.is(await over(String(answer.headers['atomesh-gid'])), 'succeed');
  t.deepEqual(asked, [
    'POST /v1/transactions',
    'POST /v1/transactions/gid/branches',
    'POST /v1/transactions/gid/branches',
    'POST /v1/transactions/gid/branches',
    'POST /v1/transactions/gid/submit',
  ]);
  for (const { lines } of services) t.deepEqual(lines(), ['POST /try try', 'POST /confirm confirm']);
  const marks = services.map(({ seen }) => String(seen[0]?.headers['atomesh-gid']).split('/').slice(1).join('/'));
  t.deepEqual(marks, ['01/try', '02/try', '03/try']);
});

test('a refusal of one of them cancels all three', async (t) => {
  const { front, services, over } = await trip(t);
  const answer = await ask(front.ports.inbound ?? 0, { method: 'POST', path: '/trips', body: '{"refuse":true}' });
  t.is(answer.status, 500);
  t.is(answer.headers['atomesh-outcome'], 'rolled-back');
  t.is(await over(String(answer.headers['atomesh-gid'])), 'failed');
  await until(() => services.every(({ seen }) => seen.length === 2), 'the cancels');
  for (const { lines } of services) t.deepEqual(lines(), ['POST /try try', 'POST /cancel cancel']);
});
