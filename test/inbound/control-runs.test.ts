import test from 'ava';
import { startControlServer, type ControlServerOptions } from '../../proxy/branch/control-server.ts';
import { readTarget } from '../../proxy/branch/control-target.ts';
import type { FinishResult } from '../../proxy/branch/finish.ts';
import { resourceOf } from '../../proxy/sql/work.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { openLog } from '../../src/platform/log.ts';
import { openMetrics } from '../../src/platform/metrics.ts';

const DATABASE = '/v1/services/shop/databases/db';

/** Starts a listener whose database answers `result`, asks it once, and says what came: status, and the resource that was named. */
async function asked(
  path: string,
  operation: string,
  result: FinishResult,
  more: Partial<ControlServerOptions> = {},
): Promise<string> {
  const resources: string[] = [];
  const finish = (_gid: string, resource: string): Promise<FinishResult> => {
    resources.push(resource);
    return Promise.resolve(result);
  };
  const server = await startControlServer({
    service: 'shop',
    address: { host: '127.0.0.1', port: 0 },
    databases: new Map([['db', { resource: 'shop/db', finisher: { commit: finish, rollback: finish } }]]),
    onFinished: () => undefined,
    log: openLog('test', 'silent'),
    metrics: openMetrics(false),
    ...more,
  });
  const branch = path.startsWith(DATABASE) ? '01' : '00';
  const { status } = await fetch(`http://127.0.0.1:${server.address.port}${path}`, {
    method: 'POST',
    body: '{}',
    headers: { 'atomesh-gid': 'g1', 'atomesh-branch': branch, 'atomesh-op': operation },
  });
  await server.close(100);
  return [status, ...resources].join(' ');
}

test('each run of a workflow has its own branch in a database', async (t) => {
  const success: FinishResult = { result: 'success' };
  t.is(await asked(`${DATABASE}/commit`, 'commit', success), '200 shop/db');
  t.is(await asked(`${DATABASE}/commit?run=1`, 'commit', success), '200 shop/db#1');
  t.is(await asked(`${DATABASE}/rollback?run=12`, 'rollback', success), '200 shop/db#12');
  t.is(resourceOf('shop/db', undefined), 'shop/db');
});

test('what an interrupted run changed was undone: its commit succeeds, any other contradiction does not', async (t) => {
  const undone: FinishResult = { result: 'unknown', ended: 'rolled back' };
  t.is(await asked(`${DATABASE}/commit?run=2`, 'commit', undone), '200 shop/db#2');
  t.is(await asked(`${DATABASE}/commit`, 'commit', undone), '500 shop/db');
  const committed: FinishResult = { result: 'unknown', ended: 'committed' };
  t.is(await asked(`${DATABASE}/rollback?run=2`, 'rollback', committed), '500 shop/db#2');
});

test('questions to the initiator are answered with what is known', async (t) => {
  const none: FinishResult = { result: 'unknown' };
  const check = '/v1/services/shop/messages/check';
  const run = '/v1/services/shop/workflows/run';
  const inDoubt = new CodedError('STORE_FAILED', 'away', { retry: 'safe' });
  const table: readonly (readonly [string, string, Partial<ControlServerOptions>, string])[] = [
    [check, 'msg', { checkMessage: () => Promise.resolve('committed') }, '200'],
    [check, 'msg', { checkMessage: () => Promise.resolve('rolled-back') }, '409'],
    [check, 'msg', { checkMessage: () => Promise.reject(inDoubt) }, '503'],
    [check, 'msg', {}, '404'],
    [check, 'workflow', { checkMessage: () => Promise.resolve('committed') }, '400'],
    [run, 'workflow', { runWorkflow: () => Promise.resolve('decided') }, '200'],
    [run, 'workflow', { runWorkflow: () => Promise.resolve('running') }, '425'],
    [run, 'workflow', { runWorkflow: () => Promise.reject(inDoubt) }, '503'],
    [run, 'workflow', {}, '404'],
  ];
  for (const [path, operation, more, wanted] of table) t.is(await asked(path, operation, none, more), wanted, path);
});

test('a path that is not one of those means nothing', (t) => {
  for (const url of [
    '/',
    '/v1/services/shop',
    `${DATABASE}/prepare`,
    `${DATABASE}/commit?run=0`,
    `${DATABASE}/commit?run=-1`,
    `${DATABASE}/commit?run=1&run=2`,
    '/v1/services/shop/messages/check?run=1',
    '/v1/services/SHOP/messages/check',
    '/v1/services/shop/workflows/run/',
  ]) {
    t.is(readTarget(url), undefined, url);
  }
});
