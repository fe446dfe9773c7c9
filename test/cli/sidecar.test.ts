import test from 'ava';
import pg from 'pg';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { folder, run, start } from './support.ts';

function sidecarFile(upstream: string): string {
  return `service: orders
coordinator: { url: http://127.0.0.1:1 }
inbound: { listen: 127.0.0.1:0, target: http://127.0.0.1:1 }
outbound: { listen: 127.0.0.1:0 }
control: { listen: 127.0.0.1:0 }
admin: { listen: 127.0.0.1:0 }
databases:
  - { name: orders, listen: 127.0.0.1:0, upstream: "${upstream}", credentials: { user: postgres } }
`;
}

test('a sidecar says where it listens, passes sessions on, and ends in order', async (t) => {
  await using server = await startPostgres();
  const upstream = `postgres://127.0.0.1:${server.port}/postgres`;
  const config = folder(t).file('s.yaml', sidecarFile(upstream));

  const unprepared = await run(t, ['sidecar', '--config', config]);
  t.is(unprepared.code, 1);
  t.is(unprepared.out, '');
  t.regex(unprepared.err, /there is no schema atomesh in the database\n.*atomesh db init/);

  t.is((await run(t, ['db', 'init', '--config', config])).code, 0);
  const running = start(t, ['sidecar', '--config', config]);
  const line = await running.line;
  const ready =
    /^atomesh sidecar ready: inbound 127\.0\.0\.1:\d+, outbound 127\.0\.0\.1:\d+, orders 127\.0\.0\.1:(\d+) → /;
  const port = Number(ready.exec(line)?.[1]);
  t.true(line.endsWith(` → ${upstream}`), line);
  t.true(port > 0);

  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' });
  await client.connect();
  t.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  await client.end();

  running.process.kill('SIGTERM');
  const { code, signal, err } = await running.ended;
  t.deepEqual({ code, signal }, { code: 0, signal: null }, err);
});

test('a database that cannot be reached ends the start of a sidecar with 1 and a way out', async (t) => {
  const config = folder(t).file('s.yaml', sidecarFile('postgres://127.0.0.1:1/orders'));
  const { code, err } = await run(t, ['sidecar', '--config', config]);
  t.is(code, 1);
  t.regex(err, /no connection to the database: connect ECONNREFUSED 127\.0\.0\.1:1\n.*upstream, tls and credentials/);
});
