import test, { type ExecutionContext } from 'ava';
import type { Ending, OperationDesk } from '../../proxy/http/admission.ts';
import type { OperationOf } from '../../proxy/branch/barrier.ts';
import { openOperations } from '../../proxy/inbound/operations.ts';
import { openLog } from '../../src/platform/log.ts';
import { ask, codeOf, inboundTo, startApp, type App, type Started } from './support.ts';

interface Recorded {
  readonly app: App;
  readonly inbound: Started;
  /** The operations that were handed to the desk. */
  readonly operations: OperationOf[];
}

/** An inbound listener whose desk lets every operation through, with `ending`. */
async function started(t: ExecutionContext, options: object = {}, ending: Ending = {}): Promise<Recorded> {
  const app = await startApp(t, (_request, response) => response.end('app'));
  const operations: OperationOf[] = [];
  const desk: OperationDesk = {
    admit: (operation, pass) => {
      operations.push(operation);
      return Promise.resolve(pass(ending));
    },
  };
  const inbound = await inboundTo(t, app.port, { ...options }, {}, desk);
  return { app, inbound, operations };
}

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

for (const task of ['try', 'action', 'confirm', 'cancel', 'compensate']) {
  test(`the operation ${task} of a branch is the desk’s, and its mark goes to the application`, async (t) => {
    let ended = 0;
    const { app, inbound, operations } = await started(t, {}, { ended: () => (ended += 1) });
    const headers = {
      'atomesh-gid': 'g1',
      'atomesh-branch': '01',
      'atomesh-op': task,
      traceparent: `00-${TRACE}-00f067aa0ba902b7-01`,
    };
    const answer = await ask(inbound.port, { method: 'POST', path: '/x', headers, body: '{}' });
    t.is(answer.body, 'app');
    t.deepEqual(operations as readonly unknown[], [{ gid: 'g1', branch: '01', task }]);
    const seen = app.seen[0]?.headers;
    t.is(seen?.['atomesh-gid'], `g1/01/${task}`);
    t.is(seen?.['atomesh-branch'], '01');
    t.is(seen?.['atomesh-op'], task);
    t.is(seen?.['tracestate'], `atomesh=g:g1/01/${task}`);
    t.is(seen?.['baggage'], `atomesh.gid=g1%2F01%2F${task}`);
    t.is(ended, 1);
    t.is(inbound.activeRequests.size, 0);
  });
}

test('the desk may answer by itself, and the application is not called', async (t) => {
  const app = await startApp(t, (_request, response) => response.end('app'));
  const desk: OperationDesk = {
    admit: () =>
      Promise.resolve({ kind: 'answer', answer: { status: 200, headers: ['x-own', '1'], body: Buffer.from('{}') } }),
  };
  const inbound = await inboundTo(t, app.port, {}, {}, desk);
  const headers = { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'cancel' };
  const answer = await ask(inbound.port, { method: 'POST', headers, body: '{"a":1}' });
  t.is(answer.status, 200);
  t.is(answer.headers['x-own'], '1');
  t.is(answer.headers['content-length'], '2');
  t.is(answer.body, '{}');
  t.is(app.seen.length, 0);
});

const UNCLEAR: Readonly<Record<string, Readonly<Record<string, string | string[]>>>> = {
  'a branch without an operation': { 'atomesh-gid': 'g', 'atomesh-branch': '01' },
  'an operation without a branch': { 'atomesh-gid': 'g', 'atomesh-op': 'try' },
  'an operation that is none': { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'commit' },
  'the operation of an initiator': { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'msg' },
  'a run': { 'atomesh-gid': 'g', 'atomesh-branch': '00', 'atomesh-op': 'run1' },
  'the initiator as branch': { 'atomesh-gid': 'g', 'atomesh-branch': '00', 'atomesh-op': 'try' },
  'a branch that is none': { 'atomesh-gid': 'g', 'atomesh-branch': 'x', 'atomesh-op': 'try' },
  'two branches': { 'atomesh-gid': 'g', 'atomesh-branch': ['01', '02'], 'atomesh-op': 'try' },
  'two operations': { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': ['try', 'cancel'] },
  'capitals': { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'TRY' }, // prettier-ignore
  'a branch of no transaction': { 'atomesh-branch': '01', 'atomesh-op': 'try' },
};

for (const [name, headers] of Object.entries(UNCLEAR)) {
  test(`refused and never forwarded: ${name}`, async (t) => {
    const { app, inbound, operations } = await started(t);
    const answer = await ask(inbound.port, { method: 'POST', headers });
    t.is(answer.status, 400, answer.body);
    t.is(codeOf(answer), 'BAD_REQUEST');
    t.is(app.seen.length, 0);
    t.is(operations.length, 0);
  });
}

test('empty headers name no branch, and a request of a gid alone is no operation', async (t) => {
  const { app, inbound, operations } = await started(t);
  for (const headers of [
    { 'atomesh-gid': 'g', 'atomesh-branch': '', 'atomesh-op': '' },
    { 'atomesh-branch': '' },
    { 'atomesh-gid': 'g' },
  ]) {
    t.is((await ask(inbound.port, { headers })).status, 200);
  }
  t.is(operations.length, 0);
  t.is(app.seen.length, 3);
});

const FORGED: readonly Readonly<Record<string, string>>[] = [
  { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'cancel' },
  { 'dtm-gid': 'g', 'Atomesh-Branch': '01', 'ATOMESH-OP': 'confirm' },
  { tracestate: 'atomesh=g:g/01/try,a=1', 'atomesh-op': 'try' },
  { baggage: 'atomesh.gid=g%2F01%2Ftry,a=1', 'atomesh-branch': '01' },
  { 'atomesh-gid': 'not a gid' },
  { 'atomesh-gid': 'g1', 'dtm-gid': 'g2' },
];

for (const headers of FORGED) {
  test(`where gids are not trusted, nothing of this gets in: ${JSON.stringify(headers)}`, async (t) => {
    const { app, inbound, operations } = await started(t, { trustGid: false });
    t.is((await ask(inbound.port, { method: 'POST', headers })).status, 200);
    t.is(operations.length, 0);
    const seen = app.seen[0]?.headers ?? {};
    for (const name of ['atomesh-gid', 'dtm-gid', 'tx_xid', 'atomesh-branch', 'atomesh-op']) t.false(name in seen);
    for (const name of ['tracestate', 'baggage']) t.is(seen[name] ?? 'a=1', 'a=1');
  });
}

test('a mark from outside is its gid: the application hears nothing of another service’s operation', async (t) => {
  const { app, inbound, operations } = await started(t);
  await ask(inbound.port, {
    headers: { 'atomesh-gid': 'g1/07/try', 'dtm-gid': 'g1', tracestate: 'atomesh=g:g1/00/run3' },
  });
  t.is(operations.length, 0);
  t.is(app.seen[0]?.headers['atomesh-gid'], 'g1');
  t.is(app.seen[0]?.headers['tracestate'], 'atomesh=g:g1');
  t.is(app.seen[0]?.headers['baggage'], 'atomesh.gid=g1');
});

test('an answer that goes on under another status announces no trailers, which it has not', async (t) => {
  const app = await startApp(t, (_request, response) => {
    response.writeHead(422, { trailer: 'x-sum' });
    response.write('no');
    response.addTrailers({ 'x-sum': '1' });
    response.end();
  });
  const desk = openOperations({
    results: { success: [], failure: [[422, 422]], ongoing: [] },
    log: openLog('test', 'silent'),
  });
  const inbound = await inboundTo(t, app.port, {}, {}, desk);
  const headers = { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'try' };
  const given = await ask(inbound.port, { method: 'POST', headers });
  t.deepEqual([given.status, given.body, given.headers['trailer']], [409, 'no', undefined]);
});
