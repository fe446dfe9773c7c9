import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { until } from '../../examples/support/until.ts';
import { folder, start } from '../cli/support.ts';

/** The words that run `program` behind a sidecar whose coordinator is ready. */
async function words(t: ExecutionContext, program: string): Promise<readonly string[]> {
  const coordinator = createServer((_request, response) => response.end('{"status":"ok"}'));
  coordinator.listen(0, '127.0.0.1');
  await once(coordinator, 'listening');
  t.teardown(() => {
    coordinator.closeAllConnections();
    coordinator.close();
  });
  const { file } = folder(t);
  const config = file(
    'sidecar.yaml',
    `service: orders
coordinator: { url: http://127.0.0.1:${(coordinator.address() as AddressInfo).port} }
outbound: { listen: 127.0.0.1:0 }
control: { listen: 127.0.0.1:0 }
admin: { listen: 127.0.0.1:0 }
shutdown: { grace: 5s }
`,
  );
  return ['run', '--config', config, '--', process.execPath, file('app.mjs', program)];
}

/** What a load balancer asks, and asks again until the answer is `wanted`. */
const READINESS = `
const ready = async (wanted) => {
  for (;;) {
    const answer = await fetch(process.env.ATOMESH_ADMIN_URL + '/readyz', { headers: { connection: 'close' } });
    const { detail } = await answer.json();
    if (answer.status === wanted) return answer.status + ' ' + JSON.stringify(detail);
  }
};
`;

test.serial(
  'readiness fails as soon as the application is asked to end, and all else goes on until it has ended',
  async (t) => {
    const program = `${READINESS}
process.on('SIGHUP', async () => console.log('reloaded', await ready(200)));
process.on('SIGTERM', async () => {
  console.log(await ready(503));
  // Through outbound, as all calls of the application.
  const { status } = await fetch(process.env.ATOMESH_ADMIN_URL + '/livez');
  console.log('outbound goes on', status);
  process.exit(5);
});
setInterval(() => undefined, 1000);
console.log(await ready(200));`;
    const running = start(t, await words(t, program));
    t.is(await running.line, '200 {"coordinator":"ready"}');
    running.process.kill('SIGHUP');
    await until('it has reloaded', async () => (/^reloaded 200/m.test(running.output()) ? true : undefined));
    running.process.kill('SIGTERM');
    const { code, out, err } = await running.ended;
    t.is(code, 5, err);
    t.regex(out, /^503 \{"application":"is shutting down"\}\noutbound goes on 200$/m);
  },
);

test.serial('readiness fails when the application ends by itself and leaves something behind', async (t) => {
  const { file } = folder(t);
  const rest = file(
    'rest.mjs',
    `${READINESS}
process.on('SIGTERM', async () => {
  console.log(await ready(503));
  process.exit();
});
setInterval(() => undefined, 1000);
process.send('up');`,
  );
  const program = `import { fork } from 'node:child_process';
fork(${JSON.stringify(rest)}).on('message', () => process.exit(3));`;
  const { code, out, err } = await start(t, await words(t, program)).ended;
  t.is(code, 3, err);
  t.is(out, '503 {"application":"is shutting down"}\n');
});
