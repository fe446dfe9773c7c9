import test from 'ava';
import { CodedError } from '../../src/contract/errors.ts';
import { ask, codeOf, RawClient, until } from '../proxy-http/support.ts';
import { service, world } from './world.ts';

const JSON_TYPE = { 'content-type': 'application/json' };

test('a TCC call is enlisted before it leaves, is told what it is, and is confirmed by the commit', async (t) => {
  const hotel = await service(t);
  const { outbound, client, asked, begin, over } = await world(t, [
    {
      match: `POST ${hotel.url}/rooms/{room}/try`,
      tcc: {
        confirm: `POST ${hotel.url}/rooms/\${path.room}/confirm`,
        cancel: {
          request: `DELETE ${hotel.url}/rooms/\${path.room}/\${request.json.guest.id}`,
          headers: { 'x-reason': 'cancelled ${request.header.x-why}' },
          body: '{"room":"${path.room}","gid":"${gid}"}',
        },
      },
    },
  ]);
  const gid = await begin();
  const body = '{"guest":{"id":9007199254740993}}';
  const headers = { 'atomesh-gid': gid, 'x-why': 'late', ...JSON_TYPE };
  const path = `${hotel.url}/rooms/7%2f8/try?x=1`;
  const answer = await ask(outbound.port, { method: 'POST', path, headers, body });
  t.is(answer.status, 200, answer.body);
  t.deepEqual(asked, ['enlist'], 'one round trip to the coordinator for each call');
  const [tried] = hotel.seen;
  t.is(tried?.url, '/rooms/7%2F8/try?x=1', 'the path that matched is the path that is forwarded');
  t.is(tried?.body, body);
  t.is(tried?.headers['atomesh-gid'], gid);
  t.is(tried?.headers['atomesh-branch'], '01');
  t.is(tried?.headers['atomesh-op'], 'try');

  await client.submit(gid);
  t.is(await over(gid), 'succeed');
  const confirmed = hotel.seen[1];
  t.is(`${confirmed?.method} ${confirmed?.url}`, 'POST /rooms/7%2F8/confirm');
  t.is(confirmed?.body, body, 'without a body of its own an operation gets that of the call');
  t.is(confirmed?.headers['content-type'], 'application/json');
  t.is(confirmed?.headers['atomesh-op'], 'confirm');
  t.is(confirmed?.headers['atomesh-branch'], '01');
  t.is(hotel.seen.length, 2);
});

test('a TCC call is cancelled by the rollback, as its templates say', async (t) => {
  const hotel = await service(t);
  const { outbound, client, begin, over } = await world(t, [
    {
      match: `POST ${hotel.url}/try`,
      tcc: {
        confirm: `POST ${hotel.url}/confirm`,
        cancel: {
          request: `DELETE ${hotel.url}/bookings/\${request.json.id}`,
          headers: { 'x-reason': 'guest ${request.header.x-guest}' },
          body: '{"id":${request.json.id},"gid":"${gid}"}',
        },
      },
    },
  ]);
  const gid = await begin();
  const headers = { 'atomesh-gid': gid, 'x-guest': 'Zoé', ...JSON_TYPE };
  await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '{"id":9007199254740993}' });
  await client.abort(gid, {});
  t.is(await over(gid), 'failed');
  const cancelled = hotel.seen[1];
  t.is(`${cancelled?.method} ${cancelled?.url}`, 'DELETE /bookings/9007199254740993');
  t.is(cancelled?.body, `{"id":9007199254740993,"gid":"${gid}"}`);
  t.is(cancelled?.headers['atomesh-op'], 'cancel');
  t.regex(String(cancelled?.headers['x-reason']), /^guest Zo%C3/);
});

test('a saga call takes effect at once, and only a rollback compensates it', async (t) => {
  const points = await service(t);
  const { outbound, client, begin, over } = await world(
    t,
    [{ match: `POST ${points.url}/api/grant`, saga: { compensate: `POST ${points.url}/api/revoke` } }],
    { upstreams: { points: { url: `${points.url}/api` } } },
  );
  const [committed, rolledBack] = [await begin(), await begin()];
  for (const gid of [committed, rolledBack]) {
    // An upstream that is called by its plain base URL is matched by where the call goes.
    const headers = { 'atomesh-gid': gid };
    const answer = await ask(outbound.port, { method: 'POST', path: '/points/grant', headers, body: '5' });
    t.is(answer.status, 200, answer.body);
  }
  await client.submit(committed);
  await client.abort(rolledBack, {});
  t.is(await over(committed), 'succeed');
  t.is(await over(rolledBack), 'failed');
  t.deepEqual(points.lines(), ['POST /api/grant action', 'POST /api/grant action', 'POST /api/revoke compensate']);
  t.is(points.seen[2]?.headers['atomesh-gid'], rolledBack);
  t.is(points.seen[2]?.body, '5');
});

test('a message is answered at once, delivered after the commit as it was sent, and never after a rollback', async (t) => {
  const mail = await service(t);
  const { outbound, client, asked, begin, over } = await world(t, [{ match: `PUT ${mail.url}/send/*`, message: {} }]);
  const [committed, rolledBack] = [await begin(), await begin()];
  const send = async (gid: string): Promise<void> => {
    const headers = {
      'atomesh-gid': gid,
      tracestate: `atomesh=g:${gid},a=1`,
      traceparent: PARENT,
      'x-a': '1',
      ...JSON_TYPE,
    };
    const answer = await ask(outbound.port, {
      method: 'PUT',
      path: `${mail.url}/send/a?b=c`,
      headers,
      body: '{"to":1}',
    });
    t.is(answer.status, 202);
    t.is(answer.headers['atomesh-gid'], gid);
  };
  await send(committed);
  await send(rolledBack);
  t.deepEqual(asked, ['enlist', 'enlist']);
  t.is(mail.seen.length, 0);
  await client.abort(rolledBack, {});
  await client.submit(committed);
  t.is(await over(rolledBack), 'failed');
  t.is(await over(committed), 'succeed');
  t.deepEqual(mail.lines(), ['PUT /send/a?b=c action']);
  const [delivered] = mail.seen;
  t.is(delivered?.body, '{"to":1}');
  t.is(delivered?.headers['content-type'], 'application/json');
  t.is(delivered?.headers['x-a'], '1');
  t.is(delivered?.headers['atomesh-gid'], committed);
  t.is(delivered?.headers['tracestate'], 'a=1');
});

const PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

test('a message that nobody takes is given up visibly after its tries, and the transaction ends well', async (t) => {
  const mail = await service(t, (_seen, response) => response.writeHead(500).end());
  const message = { attempts: 2, retryInterval: '20ms' };
  const { outbound, client, begin, over } = await world(t, [{ match: `POST ${mail.url}/send`, message }]);
  const gid = await begin();
  await ask(outbound.port, { method: 'POST', path: `${mail.url}/send`, headers: { 'atomesh-gid': gid }, body: 'x' });
  await client.submit(gid);
  t.is(await over(gid), 'succeed');
  t.is(mail.seen.length, 2);
  t.is((await client.read(gid))?.branches[0]?.status, 'abandoned');
});

test('nothing reaches the service before the coordinator has the branch, and nothing at all without it', async (t) => {
  const hotel = await service(t);
  let letGo = (): void => undefined;
  const slow = new Promise<void>((resolve) => (letGo = resolve));
  let isAway = false;
  const unreachable = new CodedError('COORDINATOR_UNREACHABLE', 'no answer', { retry: 'safe' });
  const { outbound, asked, begin } = await world(
    t,
    [{ match: `POST ${hotel.url}/try`, tcc: { confirm: `POST ${hotel.url}/c`, cancel: `POST ${hotel.url}/x` } }],
    {
      wrap: (client) => ({
        enlist: async (gid, request) => {
          if (isAway) throw unreachable;
          await slow;
          return client.enlist(gid, request);
        },
      }),
    },
  );
  const headers = { 'atomesh-gid': await begin() };
  const call = ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '{}' });
  await until(() => asked.includes('enlist'), 'the enlistment');
  t.is(hotel.seen.length, 0);
  letGo();
  t.is((await call).status, 200);
  t.deepEqual(hotel.lines(), ['POST /try try']);

  isAway = true;
  const refused = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '{}' });
  t.is(refused.status, 503);
  t.is(codeOf(refused), 'COORDINATOR_UNREACHABLE');
  t.regex(refused.body, /was not called/);
  const stranger = await ask(outbound.port, { path: `${hotel.url}/other`, headers });
  t.is(stranger.status, 200, 'a call without a route needs no coordinator');
  const called = hotel.lines().filter((line) => line !== 'POST /x cancel');
  t.deepEqual(called, ['POST /try try', 'GET /other -'], 'nothing but what the rollback cancels');
});

test('a transaction that is decided, or unknown, takes no more branches, and the call does not leave', async (t) => {
  const hotel = await service(t);
  const { outbound, client, begin } = await world(t, [
    { match: `POST ${hotel.url}/grant`, saga: { compensate: `POST ${hotel.url}/revoke` } },
  ]);
  const gid = await begin();
  await client.abort(gid, {});
  for (const [named, code] of [
    [gid, 'TRANSACTION_DECIDED'],
    ['never-begun', 'GID_UNKNOWN'],
  ]) {
    const headers = { 'atomesh-gid': named };
    const answer = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/grant`, headers, body: '' });
    t.is(codeOf(answer), code);
  }
  t.is(hotel.seen.length, 0);
});

test('without a gid a route does nothing', async (t) => {
  const hotel = await service(t);
  const { outbound, asked } = await world(t, [{ match: `POST ${hotel.url}/send`, message: {} }]);
  const answer = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/send`, body: 'x' });
  t.is(answer.status, 200);
  t.deepEqual(hotel.lines(), ['POST /send -']);
  t.deepEqual(asked, []);
});

test('a branch needs a body of known length within the limit; other calls stream as ever', async (t) => {
  const hotel = await service(t);
  const routes = [{ match: `POST ${hotel.url}/grant`, saga: { compensate: `POST ${hotel.url}/revoke` } }];
  const { outbound, asked, begin } = await world(t, routes, { body: '1KiB' });
  const headers = { 'atomesh-gid': await begin() };
  const post = (path: string, body: string, more: object = {}): Promise<Awaited<ReturnType<typeof ask>>> =>
    ask(outbound.port, { method: 'POST', path: hotel.url + path, headers: { ...headers, ...more }, body });
  const chunked = await post('/grant', 'x', { 'transfer-encoding': 'chunked' });
  t.is(chunked.status, 411);
  t.is(codeOf(chunked), 'LENGTH_REQUIRED');
  const large = await post('/grant', 'x'.repeat(1025));
  t.is(large.status, 413);
  t.is(codeOf(large), 'BODY_TOO_LARGE');
  t.is(hotel.seen.length, 0);
  t.deepEqual(asked, []);
  t.is((await post('/grant', 'x'.repeat(1024))).status, 200);
  t.is((await post('/other', 'x'.repeat(5000), { 'transfer-encoding': 'chunked' })).status, 200);
  t.is(hotel.seen[1]?.body.length, 5000);
});

test('Expect: 100-continue is answered by the sidecar where it keeps the body', async (t) => {
  const hotel = await service(t);
  const routes = [{ match: `POST ${hotel.url}/grant`, saga: { compensate: `POST ${hotel.url}/revoke` } }];
  const { outbound, begin } = await world(t, routes);
  const headers = { 'atomesh-gid': await begin(), expect: '100-continue', 'content-length': '2' };
  const answer = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/grant`, headers, body: 'ab' });
  t.is(answer.status, 200);
  t.is(hotel.seen[0]?.body, 'ab');
});

test('a call without any body is a branch as well', async (t) => {
  const hotel = await service(t);
  const routes = [{ match: `* ${hotel.url}/grant`, saga: { compensate: `POST ${hotel.url}/revoke` } }];
  const { outbound, client, begin, over } = await world(t, routes);
  const gid = await begin();
  for (const [method, framing] of [
    ['GET', ''],
    ['POST', ''],
    ['POST', 'Content-Length: 0\r\n'],
  ]) {
    const raw = await RawClient.open(t, outbound.port);
    raw.send(
      `${method} ${hotel.url}/grant HTTP/1.1\r\nHost: h\r\nAtomesh-Gid: ${gid}\r\n${framing}Connection: close\r\n\r\n`,
    );
    t.regex(await raw.closed(), /^HTTP\/1.1 200 /);
  }
  await client.abort(gid, {});
  t.is(await over(gid), 'failed');
  t.deepEqual(
    hotel.seen.slice(3).map(({ body, headers }) => `${body}|${String(headers['content-type'])}`),
    ['|undefined', '|undefined', '|undefined'],
  );
});

test('a value that the request does not have refuses the call before anything leaves', async (t) => {
  const hotel = await service(t);
  const { outbound, asked, begin } = await world(t, [
    {
      match: `POST ${hotel.url}/{room}`,
      saga: { compensate: `POST ${hotel.url}/\${path.room}/\${request.json.id}/\${request.header.x-a}` },
    },
  ]);
  const headers = { 'atomesh-gid': await begin(), 'x-a': '1' };
  for (const body of ['{}', 'no JSON', '{"id":null}', '{"id":{"a":1}}', '{"id":".."}', '{"id":""}', '']) {
    const answer = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/7`, headers, body });
    t.is(answer.status, 422, body);
    t.is(codeOf(answer), 'TEMPLATE_UNFILLED');
  }
  t.is(hotel.seen.length, 0);
  t.deepEqual(asked, []);
});

test('a branch may name its number in its operations: enlisted once more before the call leaves', async (t) => {
  const hotel = await service(t);
  const { outbound, client, asked, begin, over } = await world(t, [
    { match: `POST ${hotel.url}/grant`, saga: { compensate: `POST ${hotel.url}/revoke/\${gid}/\${branch}` } },
  ]);
  const gid = await begin();
  await ask(outbound.port, { method: 'POST', path: `${hotel.url}/grant`, headers: { 'atomesh-gid': gid }, body: '' });
  t.deepEqual(asked, ['enlist', 'enlist']);
  await client.abort(gid, {});
  t.is(await over(gid), 'failed');
  t.is(hotel.seen[1]?.url, `/revoke/${gid}/01`);
  t.is(hotel.seen[1]?.headers['atomesh-response'], undefined);
});

test('each call is a branch of its own', async (t) => {
  const hotel = await service(t);
  const { outbound, client, begin, over } = await world(t, [
    { match: `POST ${hotel.url}/grant`, saga: { compensate: `POST ${hotel.url}/revoke` } },
  ]);
  const gid = await begin();
  const headers = { 'atomesh-gid': gid };
  for (const body of ['1', '2', '2']) {
    await ask(outbound.port, { method: 'POST', path: `${hotel.url}/grant`, headers, body });
  }
  t.deepEqual(
    hotel.seen.map((seen) => seen.headers['atomesh-branch']),
    ['01', '02', '03'],
  );
  await client.abort(gid, {});
  await over(gid);
  t.deepEqual(
    hotel.seen.slice(3).map(({ headers, body }) => `${String(headers['atomesh-branch'])} ${body}`),
    ['03 2', '02 2', '01 1'],
  );
});

test('an application that copies the headers of the operation it serves does not ask for it elsewhere', async (t) => {
  const hotel = await service(t);
  const { outbound, begin } = await world(t, [
    { match: `POST ${hotel.url}/grant`, saga: { compensate: `POST ${hotel.url}/revoke` } },
  ]);
  const gid = await begin();
  const copied = { 'atomesh-gid': `${gid}/04/try`, 'atomesh-branch': '04', 'atomesh-op': 'try' };
  await ask(outbound.port, { path: `${hotel.url}/plain`, headers: copied });
  await ask(outbound.port, { method: 'POST', path: `${hotel.url}/grant`, headers: copied, body: '' });
  const own = { 'atomesh-gid': `${gid}/04/try`, 'atomesh-branch': '05', 'atomesh-op': 'action' };
  await ask(outbound.port, { path: `${hotel.url}/library`, headers: own });
  t.deepEqual(
    hotel.seen.map(({ url, headers }) => [
      url,
      headers['atomesh-gid'],
      headers['atomesh-branch'],
      headers['atomesh-op'],
    ]),
    [
      ['/plain', gid, undefined, undefined],
      ['/grant', gid, '01', 'action'],
      ['/library', gid, '05', 'action'],
    ],
  );
});

test('other services get the bare gid in every carrier, whatever carrier the mark came in', async (t) => {
  const hotel = await service(t);
  const { outbound, begin } = await world(t, []);
  const gid = await begin();
  for (const headers of [
    { 'atomesh-gid': `${gid}/01/try` },
    { 'dtm-gid': `${gid}/01/cancel`, traceparent: PARENT },
    { tracestate: `a=1,atomesh=g:${gid}/00/run2`, traceparent: PARENT },
    { baggage: `atomesh.gid=${gid}%2F00%2Fmsg,a=1` },
  ]) {
    await ask(outbound.port, { path: `${hotel.url}/x`, headers });
  }
  t.is(hotel.seen.length, 4);
  for (const { headers } of hotel.seen) {
    t.is(headers['atomesh-gid'], gid);
    t.regex(String(headers['tracestate']), new RegExp(`^atomesh=g:${gid}(,a=1)?$`));
    t.regex(String(headers['baggage']), new RegExp(`^atomesh.gid=${gid}(,a=1)?$`));
    t.false(JSON.stringify(headers).includes(`${gid}/`));
  }
});

test('a path that can be read in several ways takes no route and does not leave', async (t) => {
  const hotel = await service(t);
  const { outbound, asked, begin } = await world(t, [
    { match: `POST ${hotel.url}/grant`, saga: { compensate: `POST ${hotel.url}/revoke` } },
  ]);
  const headers = { 'atomesh-gid': await begin() };
  const post = (path: string): ReturnType<typeof ask> =>
    ask(outbound.port, { method: 'POST', path: hotel.url + path, headers, body: '' });
  t.is((await post('/x\\..\\grant')).status, 400);
  t.is(hotel.seen.length, 0);
  for (const path of ['//grant', '/./grant', '/x/../grant', '/gr%61nt']) t.is((await post(path)).status, 200, path);
  t.deepEqual([...new Set(hotel.lines())], ['POST /grant action'], 'one form of the path for matching and forwarding');
  t.is(asked.length, 4);
});
