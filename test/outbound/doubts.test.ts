import test from 'ava';
import type { EnlistRequest } from '../../src/contract/messages.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { ask, codeOf, until } from '../proxy-http/support.ts';
import { service, world } from './world.ts';

const UNREACHABLE = new CodedError('COORDINATOR_UNREACHABLE', 'no answer', { retry: 'safe' });

function tccOf(url: string): object {
  return { match: `POST ${url}/try`, tcc: { confirm: `POST ${url}/confirm`, cancel: `POST ${url}/cancel` } };
}

test('an enlistment whose answer is lost is repeated as the same branch, and the call leaves once', async (t) => {
  const hotel = await service(t);
  let lost = 0;
  const { outbound, client, begin, over } = await world(t, [tccOf(hotel.url)], {
    wrap: (real) => ({
      enlist: async (gid, request) => {
        const answer = await real.enlist(gid, request);
        lost += 1;
        if (lost <= 2) throw UNREACHABLE;
        return answer;
      },
    }),
    patienceMs: 5_000,
  });
  const gid = await begin();
  const headers = { 'atomesh-gid': gid };
  const answer = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '{}' });
  t.is(answer.status, 200);
  await client.submit(gid);
  t.is(await over(gid), 'succeed');
  t.deepEqual(hotel.lines(), ['POST /try try', 'POST /confirm confirm']);
});

test('when nobody knows whether a branch stands, the call must not be repeated and the transaction is rolled back', async (t) => {
  const hotel = await service(t);
  const { outbound, client, begin, over } = await world(t, [tccOf(hotel.url)], {
    wrap: (real) => ({
      enlist: async (gid, request) => {
        await real.enlist(gid, request);
        throw UNREACHABLE;
      },
    }),
  });
  const gid = await begin();
  const headers = { 'atomesh-gid': gid };
  const answer = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '{}' });
  t.is(answer.status, 503);
  t.is(codeOf(answer), 'COORDINATOR_UNREACHABLE');
  const { error } = JSON.parse(answer.body) as { error: { retry: string; hint: string } };
  t.is(error.retry, 'never');
  t.regex(error.hint, /Roll back/);
  t.is(await over(gid), 'failed');
  t.regex((await client.read(gid))?.reason ?? '', /nobody knows whether a branch/);
  t.deepEqual(hotel.lines(), ['POST /cancel cancel']);
});

test('a try that is refused for good is not confirmed when its program goes on, and is cancelled as ever', async (t) => {
  for (const [status, end, lines] of [
    [409, 'succeed', ['POST /try try']],
    [404, 'failed', ['POST /try try', 'POST /cancel cancel']],
    [503, 'succeed', ['POST /try try', 'POST /confirm confirm']],
  ] as const) {
    const hotel = await service(t, ({ url }, response) => response.writeHead(url === '/try' ? status : 200).end('{}'));
    const requests: EnlistRequest[] = [];
    const { outbound, client, begin, over } = await world(t, [tccOf(hotel.url)], {
      wrap: (real) => ({
        enlist: (gid, request) => {
          requests.push(request);
          return real.enlist(gid, request);
        },
      }),
    });
    const gid = await begin();
    const headers = { 'atomesh-gid': gid };
    const answer = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '{}' });
    t.is(answer.status, status);
    t.is(requests.length, status === 503 ? 1 : 2);
    await (end === 'succeed' ? client.submit(gid) : client.abort(gid, {}));
    t.is(await over(gid), end);
    t.deepEqual(hotel.lines(), lines);
  }
});

test('a refusal that the coordinator cannot be told of is not given to the program', async (t) => {
  const hotel = await service(t, (_seen, response) => response.writeHead(409).end('{}'));
  let calls = 0;
  const { outbound, begin } = await world(t, [tccOf(hotel.url)], {
    wrap: (real) => ({
      enlist: (gid, request) => {
        calls += 1;
        return calls === 1 ? real.enlist(gid, request) : Promise.reject(UNREACHABLE);
      },
    }),
  });
  const headers = { 'atomesh-gid': await begin() };
  const answer = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/try`, headers, body: '{}' });
  await until(() => hotel.seen.length === 1, 'the try');
  t.is(answer.status, 503);
  t.regex(answer.body, /Roll back/);
});
