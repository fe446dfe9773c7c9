import { gzipSync } from 'node:zlib';
import test from 'ava';
import { CodedError } from '../../src/contract/errors.ts';
import { ask, codeOf } from '../proxy-http/support.ts';
import { service, world, type Seen } from './world.ts';
import type { ServerResponse } from 'node:http';

type Answer = (seen: Seen, response: ServerResponse) => void;

/** A hotel whose cancel is made of what its try answers. */
const cancelBy = (url: string): object => ({
  match: `POST ${url}/try`,
  tcc: {
    confirm: `POST ${url}/confirm`,
    cancel: {
      request: `POST ${url}/bookings/\${response.json.booking.id}/cancel`,
      headers: { 'x-lock': '${response.header.x-lock} ${response.status}' },
      body: '{"booking":${response.json.booking}}',
    },
  },
});

test('an operation that is made of the answer is completed before the application gets it', async (t) => {
  let completed = 0;
  const answer: Answer = ({ url, headers }, response) => {
    if (url !== '/try') return void response.end('{}');
    t.is(headers['accept-encoding'], undefined);
    response.writeHead(201, { 'x-lock': 'l 1' });
    response.write('{"booking":{"id":"b/7",');
    response.end('"n":12345678901234567890}}');
  };
  const hotel = await service(t, answer);
  const { outbound, client, begin, over } = await world(t, [cancelBy(hotel.url)], {
    wrap: (real) => ({
      enlist: async (gid, request) => {
        const enlisted = await real.enlist(gid, request);
        completed += 1;
        return enlisted;
      },
    }),
  });
  const gid = await begin();
  const headers = { 'atomesh-gid': gid, 'accept-encoding': 'gzip' };
  const tried = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '' });
  t.is(completed, 2);
  t.is(tried.status, 201);
  t.is(tried.body, '{"booking":{"id":"b/7","n":12345678901234567890}}');
  await client.abort(gid, {});
  t.is(await over(gid), 'failed');
  const cancel = hotel.seen[1];
  t.is(cancel?.url, '/bookings/b%2F7/cancel');
  t.is(cancel?.headers['x-lock'], 'l 1 201');
  t.is(cancel?.body, '{"booking":{"id":"b/7","n":12345678901234567890}}');
  t.is(cancel?.headers['atomesh-response'], undefined);
});

test('a call that was refused, or never answered, is cancelled without what its answer would have said', async (t) => {
  const answer: Answer = ({ url, body }, response) => {
    if (url !== '/try') response.end('{}');
    else if (body === 'refuse') response.writeHead(409).end('{"booking":{"id":"b"}}');
    else response.destroy();
  };
  for (const [body, status] of [
    ['refuse', 409],
    ['die', 502],
  ] as const) {
    const hotel = await service(t, answer);
    const { outbound, client, begin, over } = await world(t, [cancelBy(hotel.url)]);
    const gid = await begin();
    const headers = { 'atomesh-gid': gid };
    const tried = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body });
    t.is(tried.status, status);
    await client.abort(gid, {});
    t.is(await over(gid), 'failed');
    t.is(hotel.seen[1]?.url, '/bookings//cancel');
    t.is(hotel.seen[1]?.body, '{"booking":null}');
    t.is(hotel.seen[1]?.headers['atomesh-response'], 'missing');
  }
});

test('an answer without what an operation needs fails the call, so that the application rolls back', async (t) => {
  const bodies = [
    Buffer.from('{}'),
    Buffer.from('{"booking":{"id":".."}}'),
    gzipSync('{"booking":{"id":"b"}}'),
    Buffer.from(`{"booking":{"id":"b","x":"${'x'.repeat(2000)}"}}`),
  ];
  for (const body of bodies) {
    const answer: Answer = (_seen, response) => response.writeHead(200, { 'x-lock': '1' }).end(body);
    const hotel = await service(t, answer);
    const { outbound, begin } = await world(t, [cancelBy(hotel.url)], { body: '1KiB' });
    const headers = { 'atomesh-gid': await begin() };
    const tried = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '' });
    t.is(tried.status, 422, body.toString('latin1', 0, 60));
    t.is(codeOf(tried), 'TEMPLATE_UNFILLED');
    t.regex(tried.body, /Roll back/);
  }
});

test('an answer that cannot be completed at the coordinator does not reach the application as a success', async (t) => {
  const answer: Answer = (_seen, response) => response.writeHead(200, { 'x-lock': '1' }).end('{"booking":{"id":"b"}}');
  const hotel = await service(t, answer);
  let calls = 0;
  const { outbound, begin } = await world(t, [cancelBy(hotel.url)], {
    wrap: (real) => ({
      enlist: (gid, request) => {
        calls += 1;
        if (calls > 1) return Promise.reject(new CodedError('COORDINATOR_UNREACHABLE', 'gone', { retry: 'safe' }));
        return real.enlist(gid, request);
      },
    }),
  });
  const headers = { 'atomesh-gid': await begin() };
  const tried = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '' });
  t.is(tried.status, 503);
  t.regex(tried.body, /Roll back/);
});

test('a branch call is tried again: not answered in time, broken off, 503, 425; other statuses are the answer', async (t) => {
  let tries = 0;
  const answer: Answer = ({ url, body }, response) => {
    tries += 1;
    if (url === '/final') return void response.writeHead(500).end();
    if (body !== 'x') return void response.writeHead(400).end();
    if (tries === 1) return; // silence
    if (tries === 2) return void response.destroy();
    if (tries === 3) return void response.writeHead(503).end('not yet');
    if (tries === 4) return void response.writeHead(425).end('an earlier try is still being served');
    response.end('done');
  };
  const hotel = await service(t, answer);
  const saga = { compensate: `POST ${hotel.url}/undo` };
  const retry = { attempts: 5, interval: '10ms' };
  const { outbound, asked, begin } = await world(t, [
    { match: `POST ${hotel.url}/do`, saga, retry, timeout: '1s' },
    { match: `POST ${hotel.url}/final`, saga, retry },
  ]);
  const headers = { 'atomesh-gid': await begin() };
  const done = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/do`, headers, body: 'x' });
  t.is(done.body, 'done');
  t.is(tries, 5);
  t.deepEqual(asked, ['enlist'], 'every try is the same branch');
  t.deepEqual([...new Set(hotel.seen.map((seen) => seen.headers['atomesh-branch']))], ['01']);
  tries = 0;
  const final = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/final`, headers, body: 'x' });
  t.is(final.status, 500);
  t.is(tries, 1);
});

test('the limit of a route ends the wait, and the last try’s end is what the application hears', async (t) => {
  const hotel = await service(t, () => undefined);
  const { outbound, begin } = await world(t, [
    { match: `GET ${hotel.url}/slow`, timeout: '800ms', retry: { attempts: 2, interval: '10ms' } },
  ]);
  const headers = { 'atomesh-gid': await begin() };
  const answer = await ask(outbound.port, { path: `${hotel.url}/slow`, headers });
  t.is(answer.status, 504);
  t.is(codeOf(answer), 'UPSTREAM_TIMEOUT');
  t.is(hotel.seen.length, 2);
});

test('results say what the statuses of the operations mean to the coordinator', async (t) => {
  let asked = 0;
  const answer: Answer = ({ url }, response) => {
    if (url !== '/undo') return void response.end();
    asked += 1;
    response.writeHead(asked === 1 ? 202 : 404).end();
  };
  const hotel = await service(t, answer);
  const { outbound, client, begin, over } = await world(t, [
    {
      match: `POST ${hotel.url}/do`,
      saga: { compensate: `POST ${hotel.url}/undo` },
      results: { success: [404, '200-201'], failure: [409], ongoing: [202] },
    },
  ]);
  const gid = await begin();
  const headers = { 'atomesh-gid': gid };
  await ask(outbound.port, { method: 'POST', path: `${hotel.url}/do`, headers, body: '' });
  await client.abort(gid, {});
  await client.retry(gid);
  t.is(await over(gid), 'failed');
  t.is(asked, 2);
});
