import test from 'ava';
import { CodedError } from '../../src/contract/errors.ts';
import { ask, codeOf, inboundTo, RawClient, startApp, until } from './support.ts';

const ROUTE = { transactions: [{ match: 'POST /orders', begin: { timeout: '20s' } }] };
const ORDER = { method: 'POST', path: '/orders?x=1', body: '{}' };
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

test('a request on a route begins, carries the gid everywhere, and its 2xx commits before the head goes out', async (t) => {
  const inboundReady = Promise.withResolvers<Awaited<ReturnType<typeof inboundTo>>>();
  const app = await startApp(t, (request, response) => {
    void inboundReady.promise.then(({ activeRequests, coordinator }) => {
      const gid = coordinator.single().gid;
      t.is(request.headers['atomesh-gid'], gid);
      // A trace of its own: what else comes in the outside one is not in this transaction.
      t.is(request.headers['tracestate'], `atomesh=g:${gid};o:${TRACE}-00f067aa0ba902b7`);
      t.is(request.headers['baggage'], `atomesh.gid=${gid}`);
      const [, own = ''] = String(request.headers['traceparent']).split('-');
      t.not(own, TRACE);
      t.like(activeRequests.markOf(own, Date.now() as never), { gid });
      t.is(activeRequests.markOf(TRACE, Date.now() as never), undefined);
      response.writeHead(201, { 'content-length': '2' }).end('ok');
    });
  });
  const inbound = await inboundTo(t, app.port, ROUTE);
  inboundReady.resolve(inbound);
  const submit = Promise.withResolvers<void>();
  inbound.coordinator.gates.set('submit', submit.promise);
  const headers = { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, tracestate: 'other=1' };
  let isAnswered = false;
  const answering = ask(inbound.port, { ...ORDER, headers }).then((answer) => {
    isAnswered = true;
    return answer;
  });
  await until(() => inbound.coordinator.calls.includes('submit'), 'submit');
  t.false(isAnswered);
  submit.resolve();
  const answer = await answering;
  t.is(answer.status, 201);
  t.is(answer.body, 'ok');
  t.is(answer.headers['atomesh-outcome'], 'committed');
  const kept = inbound.coordinator.single();
  t.is(answer.headers['atomesh-gid'], kept.gid);
  t.is(kept.status, 'submitted');
  t.deepEqual(kept.begun, { timeoutMs: 20_000, initiator: 'orders POST /orders' });
  t.is(inbound.activeRequests.size, 0);
});

test('any other answer rolls back and is passed on as it is', async (t) => {
  for (const status of [199 + 101, 302, 400, 500]) {
    const app = await startApp(t, (_request, response) => response.writeHead(status).end('mine'));
    const inbound = await inboundTo(t, app.port, ROUTE);
    const answer = await ask(inbound.port, ORDER);
    t.is(answer.status, status);
    t.is(answer.body, 'mine');
    t.is(answer.headers['atomesh-outcome'], 'rolled-back');
    t.is(inbound.coordinator.single().status, 'failed');
    t.is(inbound.coordinator.single().reason, `the application answered ${status}`);
  }
});

test('no answer rolls back: nobody there, a broken connection, silence', async (t) => {
  const dead = await startApp(t, (request) => void request.socket.destroy());
  const silent = await startApp(t, () => {});
  for (const [port, status] of [
    [1, 502],
    [dead.port, 502],
    [silent.port, 504],
  ] as const) {
    const inbound = await inboundTo(t, port, { ...ROUTE, timeout: '1s' });
    const answer = await ask(inbound.port, ORDER);
    t.is(answer.status, status);
    t.is(answer.headers['atomesh-outcome'], 'rolled-back');
    t.is(answer.headers['atomesh-error-source'], 'sidecar');
    t.is(inbound.coordinator.single().status, 'failed');
  }
});

test('when begin fails the application is not called', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, ROUTE);
  inbound.coordinator.lose('begin', 'request', 1);
  const answer = await ask(inbound.port, ORDER);
  t.is(answer.status, 503);
  t.is(codeOf(answer), 'COORDINATOR_UNREACHABLE');
  t.is(app.seen.length, 0);
  t.is((await ask(inbound.port, ORDER)).status, 200);
});

test('a submit that the coordinator refuses replaces the application’s answer by 409', async (t) => {
  const app = await startApp(t, (_request, response) => {
    inbound.coordinator.expire();
    response.writeHead(200, { 'content-length': '100000' }).end('x'.repeat(100_000));
  });
  const inbound = await inboundTo(t, app.port, ROUTE);
  const answer = await ask(inbound.port, ORDER);
  t.is(answer.status, 409);
  t.is(codeOf(answer), 'TRANSACTION_ROLLED_BACK');
  t.is(answer.headers['atomesh-outcome'], 'rolled-back');
});

test('a lost submit, or a lost answer to it, is repeated until the coordinator has answered', async (t) => {
  const app = await startApp(t, (_request, response) => response.end('ok'));
  for (const loss of ['request', 'answer'] as const) {
    const inbound = await inboundTo(t, app.port, ROUTE);
    inbound.coordinator.lose('submit', loss, 3);
    const answer = await ask(inbound.port, ORDER);
    t.is(answer.status, 200);
    t.is(answer.headers['atomesh-outcome'], 'committed');
    t.is(inbound.coordinator.calls.filter((verb) => verb === 'submit').length, 4);
  }
});

test('a submit that is never answered ends as OUTCOME_UNKNOWN after the deadline, with the gid', async (t) => {
  const app = await startApp(t, (_request, response) => response.end('ok'));
  const inbound = await inboundTo(t, app.port, {
    transactions: [{ match: 'POST /orders', begin: { timeout: '300ms' } }],
  });
  inbound.coordinator.lose('submit', 'answer', 1000);
  const startedAt = performance.now();
  const answer = await ask(inbound.port, ORDER);
  t.true(performance.now() - startedAt >= 300);
  t.is(answer.status, 503);
  t.is(codeOf(answer), 'OUTCOME_UNKNOWN');
  t.is(answer.headers['atomesh-gid'], inbound.coordinator.single().gid);
  t.is(answer.headers['atomesh-outcome'], undefined);
  t.true(answer.body.includes(`/v1/transactions/${inbound.coordinator.single().gid}`));
});

test('an abort that fails does not hold the answer up, and is repeated behind it', async (t) => {
  const app = await startApp(t, (_request, response) => response.writeHead(500).end());
  const inbound = await inboundTo(t, app.port, ROUTE);
  inbound.coordinator.lose('abort', 'request', 3);
  const answer = await ask(inbound.port, ORDER);
  t.is(answer.status, 500);
  t.is(answer.headers['atomesh-outcome'], undefined);
  t.is(answer.headers['atomesh-gid'], inbound.coordinator.single().gid);
  await until(() => inbound.coordinator.single().status === 'failed', 'the rollback');
  t.is(inbound.coordinator.calls.filter((verb) => verb === 'abort').length, 4);
});

test('an application that committed through the API and then answers 500 is told as committed', async (t) => {
  const app = await startApp(t, (_request, response) => {
    void inbound.coordinator.submit(inbound.coordinator.single().gid).then(() => response.writeHead(500).end());
  });
  const inbound = await inboundTo(t, app.port, ROUTE);
  t.is((await ask(inbound.port, ORDER)).headers['atomesh-outcome'], 'committed');
});

test('a client that leaves before the answer rolls back, in every phase before submit', async (t) => {
  const app = await startApp(t, () => {});
  for (const phase of ['begin', 'application'] as const) {
    const inbound = await inboundTo(t, app.port, ROUTE);
    const gate = Promise.withResolvers<void>();
    if (phase === 'begin') inbound.coordinator.gates.set('begin', gate.promise);
    const before = app.seen.length;
    const client = await RawClient.open(t, inbound.port);
    client.send('POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n');
    await until(() => (phase === 'begin' ? inbound.coordinator.calls.length : app.seen.length - before) > 0, phase);
    client.socket.destroy();
    await client.closed();
    gate.resolve();
    await until(() => inbound.coordinator.calls.includes('abort'), 'the abort');
    t.is(inbound.coordinator.single().status, 'failed');
    t.is(app.seen.length - before, phase === 'begin' ? 0 : 1);
    t.is(inbound.activeRequests.size, 0);
  }
});

test('a client that leaves while submit is under way changes nothing', async (t) => {
  const app = await startApp(t, (_request, response) => response.end('ok'));
  const inbound = await inboundTo(t, app.port, ROUTE);
  const gate = Promise.withResolvers<void>();
  inbound.coordinator.gates.set('submit', gate.promise);
  const client = await RawClient.open(t, inbound.port);
  client.send('POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n');
  await until(() => inbound.coordinator.calls.includes('submit'), 'submit');
  client.socket.destroy();
  await until(async () => /in_flight\{direction="inbound"\} 0/.test(await inbound.registry.metrics()), 'the end');
  gate.resolve();
  await until(() => inbound.coordinator.single().status === 'submitted', 'the commit');
  t.false(inbound.coordinator.calls.includes('abort'));
});

test('wait: finished answers when the coordinator says that it is over', async (t) => {
  const app = await startApp(t, (_request, response) => response.end('ok'));
  const inbound = await inboundTo(t, app.port, {
    transactions: [{ match: 'POST /orders', begin: { timeout: '20s', wait: 'finished' } }],
  });
  let isAnswered = false;
  const answering = ask(inbound.port, ORDER).then((answer) => {
    isAnswered = true;
    return answer;
  });
  await until(() => inbound.coordinator.calls.includes('read'), 'the question');
  t.false(isAnswered);
  const [kept] = inbound.coordinator.transactions.values();
  if (kept !== undefined) kept.status = 'succeed';
  t.is((await answering).headers['atomesh-outcome'], 'committed');
});

test('a large streamed body follows its head once the decision is durable', async (t) => {
  const app = await startApp(t, (_request, response) => {
    response.write('x'.repeat(1_000_000));
    setTimeout(() => response.end('end'), 50);
  });
  const inbound = await inboundTo(t, app.port, ROUTE);
  inbound.coordinator.gates.set('submit', new Promise((resolve) => setTimeout(resolve, 100)));
  const answer = await ask(inbound.port, ORDER);
  t.is(answer.body.length, 1_000_003);
  t.is(answer.headers['atomesh-outcome'], 'committed');
});

test('an application that dies after a 2xx head has committed, and its client sees a broken answer', async (t) => {
  const app = await startApp(t, (_request, response) => {
    response.writeHead(200, { 'content-length': '10' });
    response.write('part', () => response.destroy());
  });
  const inbound = await inboundTo(t, app.port, ROUTE);
  await t.throwsAsync(ask(inbound.port, ORDER));
  t.is(inbound.coordinator.single().status, 'submitted');
});

test('a request that asks before it sends its body begins and commits like any other', async (t) => {
  const app = await startApp(t, (request, response) => request.pipe(response));
  app.server.on('checkContinue', (request, response) => {
    response.writeContinue();
    response.setHeader('trailer', 'x-sum');
    request.on('end', () => response.addTrailers({ 'x-sum': '1' }));
    request.pipe(response);
  });
  const inbound = await inboundTo(t, app.port, ROUTE);
  const client = await RawClient.open(t, inbound.port);
  client.send(
    'POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n',
  );
  await client.until(/100 Continue\r\n\r\n$/);
  t.is(inbound.coordinator.single().status, 'prepared');
  client.send('body');
  t.regex(await client.closed(), /HTTP\/1.1 200 [^]*atomesh-outcome: committed[^]*body[^]*x-sum: 1\r\n/);
  t.is(inbound.coordinator.single().status, 'submitted');
});

test('a request that brings a gid joins it, on a begin route too', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, ROUTE);
  const answer = await ask(inbound.port, { ...ORDER, headers: { tracestate: 'atomesh=g:their{1}' } });
  t.is(answer.status, 200);
  t.deepEqual(inbound.coordinator.calls, []);
  const headers = app.seen[0]?.headers ?? {};
  t.is(headers['atomesh-gid'], 'their{1}');
  t.is(headers['baggage'], 'atomesh.gid=their%7B1%7D');
  t.regex(String(headers['traceparent']), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  t.is(answer.headers['atomesh-outcome'], undefined);
});

test('a gid that is none, or two, is refused before the application is called', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, ROUTE);
  for (const headers of [{ 'atomesh-gid': 'no gid' }, { 'atomesh-gid': 'a', TX_XID: 'b' }]) {
    const answer = await ask(inbound.port, { ...ORDER, headers });
    t.is(answer.status, 400);
    t.is(codeOf(answer), 'BAD_GID');
  }
  t.is(app.seen.length, 0);
});

test('with trustGid false carriers from outside go away, and the route begins its own', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, { ...ROUTE, trustGid: false });
  const headers = {
    'atomesh-gid': 'theirs',
    tracestate: 'atomesh=g:theirs,a=1',
    baggage: 'atomesh.gid=theirs',
    'atomesh-op': 'commit',
  };
  await ask(inbound.port, { path: '/other', headers });
  const seen = app.seen[0]?.headers ?? {};
  t.deepEqual(
    [seen['atomesh-gid'], seen['tracestate'], seen['baggage'], seen['atomesh-op']],
    [undefined, 'a=1', undefined, undefined],
  );
  await ask(inbound.port, { ...ORDER, headers });
  t.is(app.seen[1]?.headers['atomesh-gid'], inbound.coordinator.single().gid);
});

test('a path cannot be written so that it slips past its route', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, ROUTE);
  const paths = ['//orders', '/./orders', '/x/../orders', '/x/%2e%2e/orders', '/%6frders', '/orders?a#b'];
  for (const path of paths) {
    const client = await RawClient.open(t, inbound.port);
    client.send(`POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    await client.closed();
  }
  t.is(inbound.coordinator.transactions.size, paths.length);
  for (const { url } of app.seen) t.regex(String(url), /^\/orders(?:\?a#b)?$/);
});

test('a request that no route matches reaches the application byte for byte', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, ROUTE);
  const paths = ['/fetch/https://example.com/x', '/a%7Eb', '/a\\b', '/a/./b/../c', '/%6f?x=%7e'];
  for (const path of paths) {
    const client = await RawClient.open(t, inbound.port);
    client.send(`POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    t.regex(await client.closed(), /^HTTP\/1.1 200 /, path);
  }
  t.deepEqual(
    app.seen.map(({ url }) => url),
    paths,
  );
  t.is(inbound.coordinator.transactions.size, 0);
});

test('what the application says about gid and outcome gives way to what is so', async (t) => {
  const app = await startApp(t, (request, response) => {
    response.setHeader('Atomesh-Gid', String(request.headers['atomesh-gid']));
    response.setHeader('Atomesh-Outcome', 'rolled-back');
    response.end();
  });
  const inbound = await inboundTo(t, app.port, ROUTE);
  const answer = await ask(inbound.port, ORDER);
  t.is(answer.headers['atomesh-gid'], inbound.coordinator.single().gid);
  t.is(answer.headers['atomesh-outcome'], 'committed');
});

test('an error code of the coordinator itself reaches the client', async (t) => {
  const app = await startApp(t, (_request, response) => response.end());
  const inbound = await inboundTo(t, app.port, ROUTE);
  inbound.coordinator.begin = () => Promise.reject(new CodedError('TOO_MANY_TRANSACTIONS', 'full', { retry: 'safe' }));
  const answer = await ask(inbound.port, ORDER);
  t.is(answer.status, 429);
  t.is(codeOf(answer), 'TOO_MANY_TRANSACTIONS');
});
