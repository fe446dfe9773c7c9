/** What DTM does by fixed windows and limits of time, and we must not: each test names the defect as DTM's users meet it. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { startTestCoordinator, until } from '../coordinator/started.ts';
import { dtmAt, saga, startBranches, startDtm, type Dtm } from './dtm.ts';

const SUCCESS = '{"dtm_result":"SUCCESS"}';
/** How long something may take that is a matter of milliseconds, when the machine has much else to do. */
const PATIENCE_MS = 40_000;

test('recovery is parallel: a hundred stuck sagas whose branch takes a second are over in a few, not one after another', async (t) => {
  await using down = await startSlowBranches(0, 503);
  await using first = await startTestCoordinator();
  const steps = [{ action: `${down.url}/action` }];
  const gids = Array.from({ length: 100 }, (_, n) => `stuck-${n}`);
  for (const gid of gids) {
    const { text } = await dtmAt(first.url).post(
      'submit',
      saga(gid, '', { steps, payloads: ['1'], wait_result: false }),
    );
    t.is(text, SUCCESS);
  }
  await first.close();
  down.answer(1000, 200);
  const start = performance.now();
  await using second = await startTestCoordinator({ store: { sqlite: { path: first.path } } });
  const dtm = dtmAt(second.url);
  await until('all have succeeded', async () => (await succeeded(dtm)) === gids.length, 50_000);
  t.true(performance.now() - start < 50_000, 'DTM takes 100 seconds');
  t.true(down.most() > 20, `${down.most()} at once`);
});

test('a saga does not run in windows of five seconds: steps that take longer together follow each other without a pause', async (t) => {
  await using slow = await startSlowBranches(1500);
  await using dtm = await startDtm();
  const steps = Array.from({ length: 4 }, (_, n) => ({ action: `${slow.url}/${n}` }));
  const answer = await dtm.post('submit', saga('windows', '', { steps, payloads: steps.map(() => '1') }));
  t.is(answer.text, SUCCESS);
  t.is(slow.started(), 4);
  t.true(slow.pause() < 3000, `a pause of ${slow.pause()} ms; DTM waits four seconds for its next window`);
});

test('a branch that takes longer than lease, interval and DTM’s window is called once, and wait_result answers when it is done', async (t) => {
  await using slow = await startSlowBranches(7000);
  await using dtm = await startDtm('sqlite', { lease: '1s', dtm: { retryInterval: '20ms' } });
  const steps = [{ action: `${slow.url}/long` }];
  const answer = await dtm.post('submit', saga('long', '', { steps, payloads: ['1'], request_timeout: 30 }));
  t.is(answer.text, SUCCESS, 'DTM says FAILURE here after six seconds, and the saga succeeds later');
  t.is(slow.started(), 1, 'DTM calls it twice');
});

test('a client that goes away while it waits for the result takes nothing with it', async (t) => {
  await using slow = await startSlowBranches(1000);
  await using dtm = await startDtm('sqlite');
  const body = JSON.stringify(saga('left', slow.url));
  const leaving = new AbortController();
  const url = `${dtm.coordinator.url}/api/dtmsvr/submit`;
  const waiting = fetch(url, { method: 'POST', body, signal: leaving.signal });
  await until('the first branch is being called', () => slow.started() === 1);
  leaving.abort();
  await t.throwsAsync(waiting);
  await until('it has succeeded', async () => (await dtm.state('left')).status === 'succeed');
  t.is(slow.started(), 2);
});

test('a workflow whose callback runs long is not run a second time beside itself', async (t) => {
  await using slow = await startSlowBranches(1000);
  await using dtm = await startDtm('sqlite', { lease: '1s' });
  await dtm.post('prepareWorkflow', workflow('wf-long', slow.url, { retry_interval: 0.05 }));
  await until('it was called three times', () => slow.started() >= 3);
  t.is(slow.most(), 1);
});

test('a workflow that cannot be called is called again at its own interval, with growing pauses, and its count and next time are shown', async (t) => {
  const at: number[] = [];
  await using branches = await startBranches(() => {
    at.push(performance.now());
    return { status: 500, body: 'no database' };
  });
  await using dtm = await startDtm();
  await dtm.post('prepareWorkflow', workflow('wf-down', branches.url, { retry_interval: 0.1 }));
  await until('it was called five times', () => at.length >= 5);
  const pauses = at.slice(1).map((time, index) => time - (at[index] ?? 0));
  t.true((pauses[2] ?? 0) >= 190 && (pauses[3] ?? 0) >= 390, `pauses of ${pauses.map(Math.round).join(', ')} ms`);
  const { transaction } = (await dtm.get('/api/dtmsvr/query?gid=wf-down')).body;
  t.true(transaction.retry_count >= 4);
  t.regex(transaction.next_cron_time, /^\d{4}-/);
});

test('the timeout_to_fail of a workflow is kept: without a sign of life for so long it is called again', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  const start = performance.now();
  await dtm.post('prepareWorkflow', workflow('wf-silent', branches.url, { timeout_to_fail: 0.3, retry_interval: 600 }));
  await until('it is called', () => branches.calls.length > 0);
  t.true(performance.now() - start >= 290);
  t.deepEqual(branches.calls, ['trip 00 /callback']);
});

test('times below a second are kept: a saga with 0.3 seconds turns round then, and says so', async (t) => {
  await using branches = await startBranches(({ op }) => ({ status: op === 'action' ? 425 : 200 }));
  await using dtm = await startDtm();
  const start = performance.now();
  const hasty = saga('hasty', branches.url, { timeout_to_fail: 0.3, retry_interval: 0.1, wait_result: false });
  await dtm.post('submit', hasty);
  await until('it has failed', async () => (await dtm.state('hasty')).status === 'failed', PATIENCE_MS);
  const took = performance.now() - start;
  t.true(took >= 290, `${took} ms`);
  const { transaction } = (await dtm.get('/api/dtmsvr/query?gid=hasty')).body;
  t.is(transaction.rollback_reason, 'Timeout after 0.3 seconds');
});

test('retention never touches what is not finished, however old it is', async (t) => {
  await using branches = await startBranches(({ name }) => ({ status: name === '/wait' ? 425 : 200 }));
  await using dtm = await startDtm('sqlite', { retention: '1s', dtm: { retryInterval: '1h' } });
  const waiting = { steps: [{ action: `${branches.url}/wait` }], payloads: ['1'], wait_result: false };
  await dtm.post('submit', saga('unfinished', '', waiting));
  await dtm.post('prepare', { gid: 'undecided', trans_type: 'tcc', timeout_to_fail: 3600 });
  await dtm.post('submit', saga('finished', branches.url));
  await until('the finished one is gone', async () => (await dtm.state('finished')).status === undefined);
  t.is((await dtm.state('unfinished')).status, 'submitted');
  t.is((await dtm.state('undecided')).status, 'prepared');
});

async function succeeded(dtm: Dtm): Promise<number> {
  return (await dtm.get('/api/dtmsvr/all?status=succeed&limit=1000')).body.transactions.length;
}

function workflow(gid: string, url: string, more: Record<string, unknown>): Record<string, unknown> {
  return {
    gid,
    query_prepared: `${url}/callback`,
    custom_data: JSON.stringify({ name: 'trip', data: 'eA==' }),
    ...more,
  };
}

interface SlowBranches extends AsyncDisposable {
  readonly url: string;
  /** Changes how long calls take from now on, and what they answer. */
  readonly answer: (takesMs: number, status: number) => void;
  readonly started: () => number;
  /** The most calls that were under way at once. */
  readonly most: () => number;
  /** The longest time, in milliseconds, from an answer to the next call while no other was under way. */
  readonly pause: () => number;
}

/** Branches that take so long to answer. */
async function startSlowBranches(takesMs: number, status = 200): Promise<SlowBranches> {
  let current = { takesMs, status };
  let started = 0;
  let open = 0;
  let most = 0;
  let pause = 0;
  let answeredAt: number | undefined;
  const server = createServer((request, response) => {
    request.resume();
    started += 1;
    if (open === 0 && answeredAt !== undefined) pause = Math.max(pause, performance.now() - answeredAt);
    open += 1;
    most = Math.max(most, open);
    setTimeout(() => {
      open -= 1;
      answeredAt = performance.now();
      response.writeHead(current.status).end('{}');
    }, current.takesMs);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: (ms, code) => (current = { takesMs: ms, status: code }),
    started: () => started,
    most: () => most,
    pause: () => pause,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
