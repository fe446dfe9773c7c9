import test from 'ava';
import { coordinatorOptions } from '../../src/options.ts';
import type { Log } from '../../src/platform/log.ts';
import { Secret } from '../../src/platform/option-types.ts';
import { Deliveries } from '../../src/webhook/deliveries.ts';
import { startTestBranch, until } from '../coordinator/started.ts';
import { beginTcc, saga, startBranches, startDtm } from './dtm.ts';

test('the alert hook is told of a branch that was called in vain so often, with DTM’s fields', async (t) => {
  await using hook = await startTestBranch();
  await using branches = await startBranches(({ op }) => ({ status: op === 'confirm' ? 500 : 425, body: 'broken' }));
  await using dtm = await startDtm('memory', {
    webhooks: { alert: { url: `${hook.url}/alert?key=1`, token: 'hook-token', after: 3 } },
  });
  await dtm.post('submit', saga('waits', branches.url, { wait_result: false }));
  await beginTcc(dtm, 'stuck', branches.url);
  await dtm.post('submit', { gid: 'stuck', trans_type: 'tcc' });
  await until('an alert', () => hook.requests.length > 0);
  const tries = branches.calls.filter((call) => call.startsWith('confirm')).length;
  t.true(tries >= 3);
  const [alert] = hook.requests;
  t.is(alert?.path, '/alert?key=1');
  t.is(alert?.headers.authorization, 'Bearer hook-token');
  const { error, ...rest } = JSON.parse(alert?.body ?? '{}');
  t.deepEqual(rest, { gid: 'stuck', status: 'submitted', branch: '02', op: 'confirm', retry_count: 3 });
  t.regex(error, /broken/);
  t.true(
    hook.requests.every(({ body }) => body.includes('"stuck"')),
    'a branch that asks for patience is no reason for an alert',
  );
});

test('the completion hook is told of every end, and again until it says 2xx', async (t) => {
  let refusals = 1;
  await using hook = await startTestBranch(() => ({ status: (refusals -= 1) >= 0 ? 503 : 204, body: '' }));
  await using branches = await startBranches(({ name }) => ({ status: name === '/in' ? 409 : 200 }));
  await using dtm = await startDtm('memory', { webhooks: { completion: { url: hook.url } } });
  await dtm.post('submit', saga('ended', branches.url));
  await until('it is told twice', () => hook.requests.length === 2);
  const [first, second] = hook.requests.map(({ body }) => JSON.parse(body));
  t.deepEqual(first, second);
  t.like(first, { gid: 'ended', mode: 'saga', status: 'failed' });
  t.regex(first.reason, /return failed/);
  t.true(first.finishedAt >= first.createdAt);
});

test('a hook that is down holds nothing up: transactions end, and the coordinator stops in time', async (t) => {
  await using hook = await startTestBranch(() => undefined);
  await using branches = await startBranches();
  await using dtm = await startDtm('memory', { webhooks: { completion: { url: hook.url } } });
  for (let n = 0; n < 20; n += 1) t.is((await dtm.post('submit', saga(`g-${n}`, branches.url))).status, 200);
  await until('it is told', () => hook.requests.length > 0);
  t.true(hook.requests.length <= 4, 'no more deliveries are in flight than that');
  const start = performance.now();
  await dtm.coordinator.close(300);
  t.true(performance.now() - start < 2000);
});

test('deliveries beyond the cap are dropped, which the log says once', async (t) => {
  await using hook = await startTestBranch(() => undefined);
  const said: string[] = [];
  const note = (_: object, message: string): void => void said.push(message);
  const log: Log = { debug: note, info: note, warn: note, error: note, fatal: note, child: () => log };
  const deliveries = new Deliveries({ name: 'test', url: new Secret(hook.url), token: undefined, log });
  for (let n = 0; n < 4; n += 1) deliveries.add({ n }, {});
  await until('four are in flight', () => hook.requests.length === 4);
  for (let n = 4; n < 11_000; n += 1) deliveries.add({ n }, {});
  t.deepEqual(said, ['too many deliveries wait; new ones are dropped']);
  await deliveries.close(0);
  t.is(hook.requests.length, 4);
});

test('a URL of a hook that is none stops the start, without showing it', (t) => {
  const parsed = coordinatorOptions.safeParse({ webhooks: { completion: { url: 'ftp://secret-key' } } });
  t.false(parsed.success);
  t.notRegex(JSON.stringify(parsed.error?.issues), /secret-key/);
  t.regex(JSON.stringify(parsed.error?.issues), /expected an http or https URL/);
});
