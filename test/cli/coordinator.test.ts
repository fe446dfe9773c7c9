import test from 'ava';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connectCoordinator } from '../../src/client/connect.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { coordinator, folder, run, start } from './support.ts';

test('SIGTERM and SIGINT end a coordinator in order, with 0', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const { running } = await coordinator(t);
    running.process.kill(signal);
    t.like(await running.ended, { code: 0, signal: null });
    t.regex(running.errors(), /"msg":"the coordinator has stopped"/);
  }
});

test('a coordinator without a file keeps its transactions in ./atomesh.db', async (t) => {
  const { path } = folder(t);
  const running = start(t, ['coordinator'], { cwd: path });
  // The default port may be taken on this machine; either way the place of the file is what is tested.
  await Promise.race([running.line, running.ended]).catch(() => undefined);
  t.true(existsSync(join(path, 'atomesh.db')));
  running.process.kill('SIGTERM');
  await running.ended;
});

test('a coordinator that is ready says where it listens, over gRPC too', async (t) => {
  const options = 'listen: 127.0.0.1:0\ngrpc: { listen: 127.0.0.1:0 }\nstore: { memory: {} }\n';
  const running = start(t, ['coordinator', '--config', folder(t).file('c.yaml', options)]);
  const address = String.raw`127\.0\.0\.1:\d+`;
  t.regex(await running.line, new RegExp(`^atomesh coordinator listening on http://${address} and grpc://${address}$`));
  running.process.kill('SIGTERM');
  t.like(await running.ended, { code: 0, signal: null });
});

test('an address in use ends the start with 1 and names the option, the address and what to do', async (t) => {
  const { url } = await coordinator(t);
  const port = new URL(url).port;
  const config = folder(t).file('c.yaml', `listen: 127.0.0.1:${port}\ngrpc: { listen: off }\nstore: { memory: {} }\n`);
  const { code, err } = await run(t, ['coordinator', '--config', config]);
  t.is(code, 1);
  t.regex(
    err,
    new RegExp(`listen: cannot listen on 127\\.0\\.0\\.1:${port}: .*EADDRINUSE.*\\nSet listen .* another port`),
  );
});

test('a second signal ends a coordinator at once, the same one passed on twice does not', async (t) => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  t.teardown(() => silent.closeAllConnections());
  const { url, running } = await coordinator(t, 'shutdown: { grace: 40s }\n');
  const client = connectCoordinator({ url, timeoutMs: 5000 });
  const { gid } = await client.begin({ requestTimeoutMs: 60_000 });
  const participant = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`;
  const operations = { commit: participant, rollback: participant };
  await client.enlist(gid, { kind: 'undo', resource: 'a/b', operations });
  const called = once(silent, 'request');
  await client.submit(gid);
  await called;
  await client.close();

  running.process.kill('SIGTERM');
  running.process.kill('SIGTERM');
  while (!running.errors().includes('"stopping"')) await new Promise((resolve) => setImmediate(resolve));
  const { promise: later, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, 500);
  await later;
  t.is(running.process.exitCode, null);
  running.process.kill('SIGTERM');
  t.like(await running.ended, { code: 143, signal: null });
});

test('a defect is logged and ends the process with 70', async (t) => {
  const { file } = folder(t);
  const defect = file('defect.mjs', 'process.once("SIGUSR2", () => { Promise.reject(new Error("planted")); });');
  const config = file('c.yaml', 'listen: 127.0.0.1:0\ngrpc: { listen: off }\nstore: { memory: {} }\n');
  const running = start(t, ['coordinator', '-c', config], { env: { NODE_OPTIONS: `--import=${defect}` } });
  await running.line;
  running.process.kill('SIGUSR2');
  const { code, err } = await running.ended;
  t.is(code, 70);
  t.regex(err, /"level":"fatal".*planted/);
});

test('warnings about the configuration are logged with their place', async (t) => {
  const { running } = await coordinator(t, 'token: canary-7f3a\n');
  t.regex(running.errors(), /"level":"warn".*"line":4,"column":8,"path":"token"/);
  t.notRegex(running.errors(), /canary/);
});

test('tx shows what a coordinator keeps, as text and as JSON', async (t) => {
  const { url } = await coordinator(t);
  const client = connectCoordinator({ url, timeoutMs: 5000 });
  t.teardown(() => client.close());
  t.like(await run(t, ['tx', 'list', '--url', url]), { code: 0, out: 'no transactions\n' });

  const operations = { commit: 'http://127.0.0.1:1/c', rollback: 'http://127.0.0.1:1/r' };
  await client.begin({ gid: 'order-1' as Gid, initiator: 'orders POST /orders' });
  await client.enlist('order-1' as Gid, { kind: 'undo', resource: 'orders/db', operations });
  await client.begin({ gid: 'order-2' as Gid });
  await client.submit('order-1' as Gid);
  await client.abort('order-2' as Gid, { reason: 'no room' });

  const env = { ATOMESH_COORDINATOR_URL: url };
  const listed = await run(t, ['tx', 'list'], { env });
  t.is(listed.code, 0, listed.err);
  t.regex(
    listed.out,
    /^GID +MODE +STATUS +AGE +DONE +BEGUN BY\norder-1 +mesh +submitted +\S+ +0\/1 +orders POST \/orders\norder-2 +mesh +failed/,
  );
  const page = await run(t, ['tx', 'list', '--limit', '1', '--json'], { env });
  t.like(JSON.parse(page.out), { transactions: [{ gid: 'order-1' }] });
  const more = await run(t, ['tx', 'list', '--after', 'order-1', '--status', 'failed'], { env });
  t.regex(more.out, /\norder-2 +mesh +failed/);

  const shown = await run(t, ['tx', 'show', 'order-1'], { env });
  t.regex(shown.out, /^gid: +order-1\nmode: +mesh\nstatus: +submitted\n/);
  t.regex(shown.out, /\nBRANCH +KIND +RESOURCE.*\n01 +undo +orders\/db +prepared/);
  const failed = await run(t, ['tx', 'show', 'order-2', '--json'], { env });
  t.like(JSON.parse(failed.out), { gid: 'order-2', status: 'failed', reason: 'no room' });

  const retried = await run(t, ['tx', 'retry', 'order-1'], { env });
  t.is(retried.code, 0, retried.err);
  const stopped = await run(t, ['tx', 'stop', 'order-1', '--by', 'ann', '--reason', 'the shop is closed'], { env });
  t.is(stopped.code, 0, stopped.err);
  t.regex(stopped.out, /\nstatus: +failed\n/);
  t.regex(
    stopped.out,
    /\nreason: +stopped by an operator: the shop is closed\nstopped while: +submitted\nstopped by: +ann\n/,
  );
  const twice = await run(t, ['tx', 'stop', 'order-1'], { env });
  t.is(twice.code, 1);
  t.regex(twice.err, /has ended: failed/);
  const unknown = await run(t, ['tx', 'show', 'order-3'], { env });
  t.like(unknown, { code: 1, out: '' });
  t.regex(unknown.err, /does not know the transaction order-3/);
});

test('tx show tells of a workflow its run, its steps and whom it asks, and of a message how often it is tried', async (t) => {
  const { url } = await coordinator(t);
  const client = connectCoordinator({ url, timeoutMs: 5000 });
  t.teardown(() => client.close());
  const callback = { operation: 'workflow', url: 'http://127.0.0.1:1/run', afterMs: 60_000 } as const;
  const gid = 'trip-1' as Gid;
  await client.begin({ gid, callback });
  await client.step(gid, { run: 1, step: 'book', data: '' });
  await client.runs(gid);
  const operations = { action: 'http://127.0.0.1:1/send' };
  await client.enlist(gid, { kind: 'msg', resource: 'mail', operations, attemptsMax: 5 });
  const { out } = await run(t, ['tx', 'show', gid, '--url', url]);
  t.regex(out, /\nrun: +2\nsteps: +book\ncallback: +workflow http:\/\/127\.0\.0\.1:1\/run, 0 tries, next in /);
  t.regex(out, /\n01 +msg +mail +prepared +0\/5/);
});

test('tx show tells of a message that was given up: how often it was tried, and what came of it; the transaction ended well', async (t) => {
  const { url } = await coordinator(t);
  const client = connectCoordinator({ url, timeoutMs: 5000 });
  t.teardown(() => client.close());
  const { gid } = await client.begin({ timeoutMs: 60_000 });
  const operations = { action: 'http://127.0.0.1:1/send' };
  await client.enlist(gid, { kind: 'msg', resource: 'mail', operations, attemptsMax: 2, retryIntervalMs: 10 });
  await client.submit(gid);
  t.is((await client.read(gid, 20_000))?.status, 'succeed');
  const { out } = await run(t, ['tx', 'show', gid, '--url', url]);
  t.regex(out, /\nstatus: +succeed\n/);
  t.regex(out, /\n01 +msg +mail +abandoned +2\/2 .*ECONNREFUSED/);
  const { out: json } = await run(t, ['tx', 'show', gid, '--url', url, '--json']);
  t.regex(json, /"status":\s*"abandoned"/);
});

test('tx sends the token from the environment, and says so when there is none', async (t) => {
  const { url } = await coordinator(t, 'token: canary-7f3a\n');
  const words = ['tx', 'list', '--url', url];
  const refused = await run(t, words);
  t.is(refused.code, 1);
  t.regex(refused.err, /token/i);
  const { code, out } = await run(t, words, { env: { ATOMESH_TOKEN: 'canary-7f3a' } });
  t.is(code, 0);
  t.is(out, 'no transactions\n');
});

test('health is 0 for a listener that is well and 1 for everything else', async (t) => {
  const { url, running } = await coordinator(t);
  t.is((await run(t, ['health', `${url}/readyz`])).code, 0);
  t.is((await run(t, ['health', `${url}/nothing-here`])).code, 1);
  running.process.kill('SIGTERM');
  await running.ended;
  t.is((await run(t, ['health', `${url}/readyz`])).code, 1);
});
