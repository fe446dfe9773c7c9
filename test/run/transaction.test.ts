import test from 'ava';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { call } from '../../examples/support/http.ts';
import { freePort } from '../../examples/support/free-port.ts';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { coordinator, folder, ROOT, run, start } from '../cli/support.ts';

test('an application that knows DATABASE_URL and HTTP_PROXY commits and rolls back with everybody else', async (t) => {
  await using postgres = await startPostgres();
  await postgres.run('postgres', 'create table item (id bigint generated always as identity primary key, name text)');
  const { url } = await coordinator(t);

  const received: IncomingHttpHeaders[] = [];
  let status = 200;
  const other = createServer((request, response) => {
    received.push(request.headers);
    response.writeHead(status).end();
  }).listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());

  const inbound = await freePort();
  const config = folder(t).file(
    'sidecar.yaml',
    `service: orders
coordinator: { url: '${url}' }
inbound:
  listen: 127.0.0.1:${inbound}
  target: 'http://127.0.0.1:\${env:PORT}'
  transactions: [{ match: POST /orders, begin: {} }]
outbound: { listen: 127.0.0.1:0 }
control: { listen: 127.0.0.1:0 }
admin: { listen: 127.0.0.1:0 }
databases:
  - { name: orders, listen: 127.0.0.1:0, upstream: '${postgres.url('postgres').replace('postgres@', '')}', credentials: { user: postgres } }
`,
  );
  t.is((await run(t, ['db', 'init', '--config', config], { env: { PORT: '1' } })).code, 0);
  const application = join(ROOT, 'test', 'run', 'process.ts');
  const running = start(t, ['run', '-c', config, '--port', '0', '--', process.execPath, application], {
    env: {
      DATABASE_URL: postgres.url('postgres'),
      OTHER_URL: `http://127.0.0.1:${(other.address() as AddressInfo).port}/other`,
    },
  });
  t.is(await running.line, 'listening');

  const order = (): Promise<{ status: number }> => call('POST', `http://127.0.0.1:${inbound}/orders`);
  const items = async (): Promise<string> => {
    const client = new pg.Client({ connectionString: postgres.url('postgres') });
    await client.connect();
    const { rows } = await client.query<{ found: string }>(
      'select concat((select count(*) from item), $$ $$, (select count(*) from atomesh.undo_record)) as found',
    );
    await client.end();
    return rows[0]?.found ?? '';
  };

  t.is((await order()).status, 200, running.errors());
  await until('the order is committed', async () => ((await items()) === '1 0' ? true : undefined));
  status = 409;
  t.is((await order()).status, 409);
  await until('the second order is rolled back', async () => ((await items()) === '1 0' ? true : undefined));

  t.is(received.length, 2);
  // The application sets neither: the call has passed through the sidecar.
  for (const headers of received) t.regex(String(headers['tracestate']), /^atomesh=g:/);
  t.regex(running.errors(), /starting .* with .*DATABASE_URL.*HTTP_PROXY/);

  running.process.kill('SIGTERM');
  t.like(await running.ended, { code: 0, signal: null });
});
