import test from 'ava';
import {
  CodedError,
  connectDtm,
  FailureError,
  OngoingError,
  type SagaStep,
  serveBranch,
  submitSaga,
} from '../../src/client/index.ts';
import { until } from '../coordinator/started.ts';
import { gidOf, startService, startWorld } from './support.ts';

test('steps are carried out in their order, with their payloads', async (t) => {
  const bodies: unknown[] = [];
  await using service = await startService({
    '/out': (request) => serveBranch(request, (_, body) => void bodies.push(body)),
    '/in': (request) => serveBranch(request, (_, body) => void bodies.push(body)),
  });
  await using world = await startWorld();
  const gid = await submitSaga(world.dtm, {
    waitResult: true,
    steps: [
      { action: `${service.url}/out`, compensate: `${service.url}/out-back`, payload: { amount: 30 } },
      { action: `${service.url}/in` },
    ],
  });
  t.deepEqual(service.calls, ['action 01 /out', 'action 02 /in']);
  t.deepEqual(bodies, [{ amount: 30 }, undefined]);
  t.is(await world.statusOf(gid), 'succeed');
});

test('a refusal compensates in reverse, and waitResult says why', async (t) => {
  const fine = (request: Parameters<typeof serveBranch>[0]) => serveBranch(request, () => undefined);
  await using service = await startService({
    '/a': fine,
    '/b': (request) =>
      serveBranch(request, ({ op }) => {
        if (op === 'action') throw new FailureError('no money');
      }),
  });
  await using world = await startWorld();
  const steps: readonly SagaStep[] = ['a', 'b'].map((name) => ({
    action: `${service.url}/${name}`,
    compensate: `${service.url}/${name}`,
    payload: {},
  }));
  const error = await t.throwsAsync(submitSaga(world.dtm, { steps, waitResult: true }), { instanceOf: FailureError });
  t.regex(error?.message ?? '', /no money/);
  t.is(error?.retry, 'never');
  t.deepEqual(service.calls, ['action 01 /a', 'action 02 /b', 'compensate 02 /b', 'compensate 01 /a']);
});

test('a concurrent saga keeps the order that is asked for', async (t) => {
  const ended: string[] = [];
  await using service = await startService({
    '/s': (request) => serveBranch(request, ({ branchId }) => void ended.push(branchId)),
  });
  await using world = await startWorld();
  const action = `${service.url}/s`;
  await submitSaga(world.dtm, {
    concurrent: true,
    waitResult: true,
    steps: [{ action, after: [2] }, { action, after: [0, 2] }, { action }],
  });
  t.deepEqual(ended, ['03', '01', '02']);
});

test('steps that would never be called are refused before anybody hears of the saga', async (t) => {
  await using world = await startWorld();
  const action = 'http://127.0.0.1:1/s';
  for (const steps of [
    [{ action, after: [0] }],
    [
      { action, after: [1] },
      { action, after: [0] },
    ],
    [{ action, after: [7] }],
  ]) {
    const error = await t.throwsAsync(submitSaga(world.dtm, { concurrent: true, steps }), { instanceOf: CodedError });
    t.is(error?.code, 'BAD_REQUEST');
  }
  const error = await t.throwsAsync(submitSaga(world.dtm, { steps: [{ action }, { action, after: [0] }] }));
  t.regex(error?.message ?? '', /not concurrent/);
});

test('a saga that goes on is ongoing, not failed; and handing it in again is the same saga', async (t) => {
  let isReady = false;
  await using service = await startService({
    '/slow': (request) =>
      serveBranch(request, () => {
        if (!isReady) throw new OngoingError('still at it');
      }),
  });
  await using world = await startWorld();
  const saga = {
    gid: gidOf('saga-1'),
    waitResult: true,
    steps: [{ action: `${service.url}/slow`, payload: { n: 1 } }],
  };
  const error = await t.throwsAsync(submitSaga(world.dtm, saga), { instanceOf: OngoingError });
  t.is(error?.retry, 'safe');
  isReady = true;
  await until('the saga succeeds', async () => (await world.statusOf('saga-1')) === 'succeed');
  t.is(await submitSaga(world.dtm, saga), saga.gid);
  const other = { ...saga, steps: [{ action: `${service.url}/slow`, payload: { n: 2 } }] };
  await t.throwsAsync(submitSaga(world.dtm, other));
  t.is(await world.statusOf('saga-1'), 'succeed');
});

test('bytes that are no text are refused over HTTP, which would damage them', async (t) => {
  await using world = await startWorld();
  const steps = [{ action: 'http://127.0.0.1:1/s', payload: Uint8Array.of(0xff) }];
  await t.throwsAsync(submitSaga(world.dtm, { gid: gidOf('b'), steps }), {
    instanceOf: CodedError,
    code: 'BAD_REQUEST',
  });
  t.is(await world.statusOf('b'), undefined);
});

test('options travel in DTM’s fields, in seconds', async (t) => {
  const bodies: any[] = []; // oxlint-disable-line typescript/no-explicit-any -- looks into what was sent
  await using fake = await startService({
    '/api/dtmsvr/submit': (request) => {
      bodies.push(JSON.parse(String(request.body)));
      return Promise.resolve({ status: 200, headers: {}, body: '{"dtm_result":"SUCCESS"}' });
    },
  });
  for (const url of [fake.url, `${fake.url}/api/dtmsvr`, `${fake.url}/api/dtmsvr/`]) {
    await submitSaga(connectDtm({ url }), {
      gid: gidOf('g'),
      timeoutToFailMs: 30_000,
      requestTimeoutMs: 1500,
      retryIntervalMs: 250,
      retryLimit: 3,
      branchHeaders: { 'x-token': '1' },
      concurrent: true,
      steps: [
        { action: 'http://a/1', compensate: 'http://a/2', payload: 'text' },
        { action: 'http://a/3', after: [0] },
      ],
    });
  }
  t.deepEqual(bodies[0], {
    gid: 'g',
    trans_type: 'saga',
    protocol: 'http',
    steps: [{ action: 'http://a/1', compensate: 'http://a/2' }, { action: 'http://a/3' }],
    payloads: ['text', ''],
    custom_data: '{"concurrent":true,"orders":{"1":[0]}}',
    concurrent: true,
    timeout_to_fail: 30,
    request_timeout: 1.5,
    retry_interval: 0.25,
    retry_limit: 3,
    branch_headers: { 'x-token': '1' },
  });
  t.deepEqual(bodies[1], bodies[0]);
  t.deepEqual(bodies[2], bodies[0]);
});
