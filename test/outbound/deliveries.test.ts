import test from 'ava';
import { until } from '../../examples/support/until.ts';
import { ask } from '../proxy-http/support.ts';
import { service, world } from './world.ts';

test('a message with a delay is delivered that much later, and not with the commit', async (t) => {
  const arrivals: number[] = [];
  const mail = await service(t, (_seen, response) => {
    arrivals.push(performance.now());
    response.end('{}');
  });
  const { outbound, client, begin, over } = await world(t, [
    { match: `POST ${mail.url}/later`, message: { delay: '600ms' } },
    { match: `POST ${mail.url}/now`, message: {} },
  ]);
  const gid = await begin();
  const headers = { 'atomesh-gid': gid };
  for (const path of ['/later', '/now']) {
    await ask(outbound.port, { method: 'POST', path: `${mail.url}${path}`, headers, body: 'x' });
  }
  const submittedAt = performance.now();
  await client.submit(gid);
  t.is(await over(gid), 'succeed');
  t.deepEqual(mail.lines(), ['POST /now action', 'POST /later action']);
  const [, later = 0] = arrivals;
  // The coordinator counts whole milliseconds of its own clock.
  t.true(later - submittedAt >= 550, `${later - submittedAt} ms`);
});

test('a delivery that is not answered within the timeout of its route is made again', async (t) => {
  const mail = await service(t, (_seen, response) => {
    if (mail.seen.length > 1) response.end('{}');
  });
  const message = { retryInterval: '20ms' };
  const { outbound, client, begin, over } = await world(t, [
    { match: `POST ${mail.url}/send`, message, timeout: '300ms' },
  ]);
  const gid = await begin();
  const headers = { 'atomesh-gid': gid };
  await ask(outbound.port, { method: 'POST', path: `${mail.url}/send`, headers, body: 'x' });
  await client.submit(gid);
  t.is(await over(gid), 'succeed');
  // On a slow machine the answer to the second one may be too late as well.
  t.true(mail.seen.length >= 2);
  const [branch] = (await client.read(gid))?.branches ?? [];
  t.is(`${branch?.status} ${branch?.attempts}`, `succeed ${mail.seen.length}`);
});

test('operations without a body of their own get that of the call, but for GET and DELETE', async (t) => {
  const hotel = await service(t);
  const route = (name: string, cancel: unknown): object => ({
    match: `POST ${hotel.url}/${name}`,
    tcc: { confirm: `POST ${hotel.url}/confirm`, cancel },
  });
  const { outbound, client, begin, over } = await world(t, [
    route('post', `POST ${hotel.url}/undo/post`),
    route('delete', `DELETE ${hotel.url}/undo/delete`),
    route('get', `GET ${hotel.url}/undo/get`),
    route('own', { request: `DELETE ${hotel.url}/undo/own`, body: '{"why":"own"}' }),
  ]);
  const gid = await begin();
  const headers = { 'atomesh-gid': gid, 'content-type': 'text/plain' };
  for (const name of ['post', 'delete', 'get', 'own']) {
    await ask(outbound.port, { method: 'POST', path: `${hotel.url}/${name}`, headers, body: name });
  }
  await client.abort(gid, {});
  t.is(await over(gid), 'failed');
  await until('all are cancelled', async () => (hotel.seen.length === 8 ? true : undefined));
  const cancels = hotel.seen.slice(4).map(({ method, body, headers: sent }) => {
    return `${method} ${body} ${sent['content-type'] ?? '-'}`;
  });
  t.deepEqual(cancels.toSorted(), [
    'DELETE  -',
    'DELETE {"why":"own"} application/json',
    'GET  -',
    'POST post text/plain',
  ]);
});
