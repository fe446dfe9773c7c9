import test, { type ExecutionContext } from 'ava';
import { startControlServer, type ControlServer } from '../../proxy/branch/control-server.ts';
import type { FinishOperation } from '../../proxy/branch/control-target.ts';
import type { FinishResult } from '../../proxy/branch/finish.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics } from '../../src/platform/metrics.ts';
import { Secret } from '../../src/platform/option-types.ts';

interface Listener extends AsyncDisposable {
  readonly server: ControlServer;
  readonly calls: string[];
  readonly finished: string[];
  post(path: string, headers?: Readonly<Record<string, string>>, init?: RequestInit): Promise<Response>;
}

async function listen(
  result: FinishResult | Error,
  options: { token?: string; wait?: boolean } = {},
): Promise<Listener> {
  const calls: string[] = [];
  const finished: string[] = [];
  const finish = (operation: FinishOperation) => async (gid: string, resource: string) => {
    calls.push(`${operation} ${gid} ${resource}`);
    if (result instanceof Error) throw result;
    return result;
  };
  const server = await startControlServer({
    service: 'shop',
    address: { host: '127.0.0.1', port: 0 },
    ...(options.token === undefined ? {} : { token: new Secret(options.token) }),
    databases: new Map([
      ['db', { resource: 'shop/db', finisher: { commit: finish('commit'), rollback: finish('rollback') } }],
    ]),
    beforeFinish: async () => (options.wait === true ? 'wait' : 'go'),
    onFinished: (database, gid, operation) => finished.push(`${database} ${gid} ${operation}`),
    log: openLog('test', 'silent'),
    metrics: openMetrics(false),
  });
  return {
    server,
    calls,
    finished,
    post(path, headers = {}, init = {}) {
      const operation = path.split('/').at(-1) ?? '';
      return fetch(`http://127.0.0.1:${server.address.port}${path}`, {
        method: 'POST',
        body: '{}',
        ...init,
        headers: { 'atomesh-gid': 'g1', 'atomesh-branch': '01', 'atomesh-op': operation, ...headers },
      });
    },
    async [Symbol.asyncDispose]() {
      await server.close(100);
    },
  };
}

async function code(t: ExecutionContext, response: Response): Promise<string> {
  t.is(response.headers.get('atomesh-error-source'), 'sidecar');
  return ((await response.json()) as { error: { code: string } }).error.code;
}

test('each result of a branch has its HTTP answer, and none but dirty is a 409', async (t) => {
  const table: readonly (readonly [FinishResult | Error, number, string | undefined])[] = [
    [{ result: 'success' }, 200, undefined],
    [{ result: 'ongoing' }, 425, undefined],
    [{ result: 'dirty', detail: 'x' }, 409, 'BRANCH_DIRTY'],
    [{ result: 'unknown' }, 500, 'INTERNAL'],
    [{ result: 'failure' }, 500, 'INTERNAL'],
    [new Error('broken'), 500, 'INTERNAL'],
  ];
  for (const [result, status, expected] of table) {
    await using listener = await listen(result);
    const response = await listener.post('/v1/services/shop/databases/db/rollback');
    t.is(response.status, status);
    if (expected !== undefined) t.is(await code(t, response), expected);
    t.deepEqual(listener.calls, ['rollback g1 shop/db']);
    t.deepEqual(listener.finished, status === 200 ? ['db g1 rollback'] : []);
  }
});

test('a call that names nothing, contradicts itself or comes by the wrong method never reaches a database', async (t) => {
  await using listener = await listen({ result: 'success' });
  const table: readonly (readonly [Promise<Response>, number, string])[] = [
    [listener.post('/v1/services/shop/databases/other/commit'), 404, 'BRANCH_UNKNOWN'],
    [listener.post('/v1/services/other/databases/db/commit'), 404, 'BRANCH_UNKNOWN'],
    [listener.post('/v1/services/shop/databases/db/drop'), 404, 'NOT_FOUND'],
    [listener.post('/'), 404, 'NOT_FOUND'],
    [listener.post('/v1/services/shop/databases/db/commit', { 'atomesh-op': 'rollback' }), 400, 'BAD_REQUEST'],
    [listener.post('/v1/services/shop/databases/db/commit', { 'atomesh-gid': "g'1" }), 400, 'BAD_GID'],
    [listener.post('/v1/services/shop/databases/db/commit', { 'atomesh-branch': 'x' }), 400, 'BAD_REQUEST'],
    [listener.post('/v1/services/shop/databases/db/commit', {}, { method: 'PUT' }), 405, 'METHOD_NOT_ALLOWED'],
    [listener.post('/v1/services/shop/databases/db/commit', {}, { body: 'x'.repeat(70_000) }), 413, 'BODY_TOO_LARGE'],
  ];
  for (const [call, status, expected] of table) {
    const response = await call;
    t.is(response.status, status);
    t.is(await code(t, response), expected);
  }
  t.deepEqual(listener.calls, []);
});

test('with a token only its bearer is heard', async (t) => {
  await using listener = await listen({ result: 'success' }, { token: 'right' });
  for (const authorization of ['', 'Bearer wrong', 'Bearer rightt', 'right', 'Basic right']) {
    const response = await listener.post(
      '/v1/services/shop/databases/db/commit',
      authorization === '' ? {} : { authorization },
    );
    t.is(response.status, 401);
    t.is(await code(t, response), 'UNAUTHORIZED');
  }
  t.is((await listener.post('/v1/services/shop/databases/db/commit', { authorization: 'Bearer right' })).status, 200);
  t.deepEqual(listener.calls, ['commit g1 shop/db']);
});

test('while local transactions of the branch are open, the coordinator is told to ask again', async (t) => {
  await using listener = await listen({ result: 'success' }, { wait: true });
  t.is((await listener.post('/v1/services/shop/databases/db/commit')).status, 425);
  t.deepEqual(listener.calls, []);
});

test('a closed listener takes no more calls', async (t) => {
  const listener = await listen({ result: 'success' });
  t.is((await listener.post('/v1/services/shop/databases/db/commit')).status, 200);
  await listener.server.close();
  await t.throwsAsync(listener.post('/v1/services/shop/databases/db/commit'));
});
