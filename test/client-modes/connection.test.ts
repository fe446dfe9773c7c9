import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import {
  CodedError,
  connectDtm,
  type DtmClient,
  FailureError,
  OngoingError,
  resultOfError,
  runTcc,
  submitSaga,
} from '../../src/client/index.ts';
import { gidOf } from './support.ts';

/** A coordinator that answers each request as `answer` says; undefined cuts the connection. */
async function startScripted(
  answer: (path: string, nth: number) => readonly [number, string] | 'cut' | 'silence',
): Promise<{ readonly url: string; readonly paths: readonly string[] } & AsyncDisposable> {
  const paths: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      const path = /^[A-Z]+ \/api\/dtmsvr\/(\S+)/.exec(chunk.toString())?.[1];
      if (path === undefined) return;
      paths.push(path);
      const reply = answer(path, paths.length);
      if (reply === 'cut') socket.resetAndDestroy();
      else if (reply !== 'silence') {
        const [status, text] = reply;
        socket.write(`HTTP/1.1 ${status} x\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    paths,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const SUCCESS = [200, '{"dtm_result":"SUCCESS"}'] as const;
const steps = [{ action: 'http://a/1' }];

test('what a coordinator answers is success, failure, ongoing, or unknown', async (t) => {
  const cases: readonly (readonly [readonly [number, string], string, string])[] = [
    [[409, '{"dtm_result":"FAILURE","message":"no money FAILURE"}'], 'failure', 'no money'],
    [[200, '{"dtm_result":"FAILURE","message":"old server"}'], 'failure', 'old server'],
    [[425, '{"dtm_result":"ONGOING","message":"later"}'], 'ongoing', 'later'],
    [[500, '{"message":"the word FAILURE in an error"}'], 'unknown', 'HTTP 500'],
    [[500, '{"message":"storage: NotFound"}'], 'unknown', 'NotFound'],
    [[401, '{"error":{"code":"UNAUTHORIZED","message":"no token"}}'], 'unknown', 'no token'],
    [[502, '<html>Bad Gateway</html>'], 'unknown', 'no coordinator'],
    [[200, '<html>'], 'unknown', 'no coordinator'],
    [[302, ''], 'unknown', 'no coordinator'],
  ];
  for (const [answer, result, message] of cases) {
    await using coordinator = await startScripted(() => answer);
    const error = await t.throwsAsync(submitSaga(connectDtm({ url: coordinator.url }), { steps }));
    t.is(resultOfError(error), result as ReturnType<typeof resultOfError>, answer[1]);
    t.true(error?.message.includes(message), `${answer[1]} → ${error?.message}`);
    t.is(coordinator.paths.length, 1);
  }
});

test('silence ends at the time limit, which waiting for the result prolongs, and says nothing of the outcome', async (t) => {
  await using coordinator = await startScripted(() => 'silence');
  const dtm = connectDtm({ url: coordinator.url, timeoutMs: 80 });
  const first = await t.throwsAsync(submitSaga(dtm, { steps }), { instanceOf: CodedError });
  t.deepEqual([first?.code, first?.retry], ['COORDINATOR_UNREACHABLE', 'safe']);
  const second = await t.throwsAsync(submitSaga(dtm, { steps, waitResult: true, waitResultMs: 60 }));
  t.regex(second?.message ?? '', /within 140 ms/);
  t.is(resultOfError(second), 'unknown');
});

test('a request that meets a connection just closed is sent once more, not for ever', async (t) => {
  await using once = await startScripted((_, nth) => (nth === 2 ? 'cut' : SUCCESS));
  const dtm = connectDtm({ url: once.url });
  const request = { gid: gidOf('g'), transType: 'tcc' } as const;
  await dtm.prepare(request);
  for (let turn = 0; turn < 3; turn += 1) await setImmediate();
  await dtm.abort(request);
  t.deepEqual(once.paths, ['prepare', 'abort', 'abort']);

  await using always = await startScripted(() => 'cut');
  const error = await t.throwsAsync(connectDtm({ url: always.url }).prepare(request), { instanceOf: CodedError });
  t.is(error?.code, 'COORDINATOR_UNREACHABLE');
  t.is(always.paths.length, 2);
});

const transaction = (dtm: DtmClient): Promise<string> => runTcc(dtm, { gid: gidOf('t') }, () => Promise.resolve('v'));

test('the submit of a TCC transaction is not repeated blindly: DTM would take the second for its end', async (t) => {
  const cases: readonly (readonly [string, readonly string[], string])[] = [
    ['submitted', ['prepare', 'submit', 'query?gid=t'], 'v'],
    ['succeed', ['prepare', 'submit', 'query?gid=t'], 'v'],
    ['prepared', ['prepare', 'submit', 'query?gid=t', 'submit'], 'v'],
    ['aborting', ['prepare', 'submit', 'query?gid=t'], 'failure'],
    ['failed', ['prepare', 'submit', 'query?gid=t'], 'failure'],
  ];
  for (const [status, paths, outcome] of cases) {
    await using coordinator = await startScripted((path, nth) => {
      if (path.startsWith('query')) return [200, JSON.stringify({ transaction: { status }, branches: [] })];
      return nth === 2 ? 'cut' : SUCCESS;
    });
    const dtm = connectDtm({ url: coordinator.url });
    t.is(await transaction(dtm).catch((error: unknown) => resultOfError(error)), outcome, status);
    t.deepEqual(coordinator.paths, paths, status);
  }
});

test('a lost answer to a submit that asked for the end: the end is waited for, and nothing else is taken for it', async (t) => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [['submitted', 'submitted', 'succeed'], 'v'],
    [['submitted', 'cut', 'cut', 'succeed'], 'v'],
    [['submitted', 'failed'], 'failure'],
    [['submitted'], 'ongoing'],
  ];
  for (const [statuses, outcome] of cases) {
    let asked = 0;
    await using coordinator = await startScripted((path) => {
      if (path === 'prepare') return SUCCESS;
      if (path === 'submit') return 'cut';
      const status = statuses[Math.min(asked++, statuses.length - 1)] ?? '';
      return status === 'cut' ? 'cut' : [200, JSON.stringify({ transaction: { status }, branches: [] })];
    });
    const [timeoutMs, waitResultMs] = outcome === 'ongoing' ? [2000, 100] : [10_000, 10_000];
    const dtm = connectDtm({ url: coordinator.url, timeoutMs });
    const options = { gid: gidOf('t'), waitResult: true, waitResultMs };
    const ended = runTcc(dtm, options, () => Promise.resolve('v')).catch((error: unknown) => resultOfError(error));
    t.is(await ended, outcome, statuses.join());
    t.is(coordinator.paths.filter((path) => path === 'submit').length, 1, 'it is not submitted again');
    t.true(asked >= statuses.length);
  }
});

test('no submit is repeated before it is known that the first did not arrive: a finished transaction would answer FAILURE', async (t) => {
  const cases: readonly (readonly [string | undefined, readonly string[], string])[] = [
    [undefined, ['submit', 'query', 'submit'], 'done'],
    ['submitted', ['submit', 'query'], 'done'],
    ['succeed', ['submit', 'query'], 'done'],
    ['failed', ['submit', 'query'], 'failure'],
  ];
  for (const [status, paths, outcome] of cases) {
    await using coordinator = await startScripted((path, nth) => {
      if (!path.startsWith('query')) return nth === 1 ? 'cut' : SUCCESS;
      return [200, JSON.stringify({ transaction: status === undefined ? null : { status }, branches: [] })];
    });
    const ended = submitSaga(connectDtm({ url: coordinator.url }), { steps }).then(
      () => 'done',
      (error: unknown) => resultOfError(error),
    );
    t.is(await ended, outcome, status);
    t.deepEqual(
      coordinator.paths.map((path) => path.split('?')[0]),
      paths,
      status,
    );
  }
});

test('an outcome that cannot be learned is OUTCOME_UNKNOWN, with the gid', async (t) => {
  await using coordinator = await startScripted((path) => (path === 'prepare' ? SUCCESS : 'cut'));
  const error = await t.throwsAsync(transaction(connectDtm({ url: coordinator.url })), { instanceOf: CodedError });
  t.deepEqual([error?.code, error?.retry], ['OUTCOME_UNKNOWN', 'ask']);
  t.regex(error?.message ?? '', /whether t is committed/);
});

test('errors carry the retry fact, and only a FailureError is a failure', (t) => {
  t.is(resultOfError(new FailureError('x')), 'failure');
  t.is(resultOfError(new OngoingError('x')), 'ongoing');
  for (const error of [new Error('FAILURE'), new CodedError('TRANSACTION_DECIDED', 'x'), 'FAILURE', undefined]) {
    t.is(resultOfError(error), 'unknown');
  }
});

test('a URL that is none is refused at once', (t) => {
  for (const url of ['', 'coordinator:x', '//a', 'ftp://a', 'grpc://a', 'grpc://a:x'])
    t.throws(() => connectDtm({ url }), { instanceOf: TypeError });
});
