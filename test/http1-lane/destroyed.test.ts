import { Readable } from 'node:stream';
import test from 'ava';
import { codeOf } from '../../proxy/http/errors.ts';
import { openOrigin } from '../../proxy/http1/open-origin.ts';
import type { AnswerHandler, OriginRequest } from '../../proxy/http1/origin.ts';
import { openHttp2Origin } from '../../proxy/http2/origin.ts';
import { startHttp2App } from '../http2/support.ts';
import { startApp } from '../proxy-http/support.ts';

/** What becomes of a request: the status of its answer, or the code of its error. */
function outcomeOf(send: (handler: AnswerHandler) => void): Promise<number | string | undefined> {
  return new Promise((resolve) => {
    send({
      onConnect: () => undefined,
      onHeaders: (status) => {
        resolve(status);
        return true;
      },
      onData: () => true,
      onComplete: () => undefined,
      onError: (error) => resolve(codeOf(error)),
    });
  });
}

/** One for each of the ways to an origin of HTTP/1. */
const WAYS: Readonly<Record<string, { readonly request: () => OriginRequest; readonly isRare: boolean }>> = {
  'without a body': { request: () => requestWith(null), isRare: false },
  'with a body that streams': { request: () => requestWith(Readable.from([Buffer.from('x')])), isRare: false },
  'of a rare form': { request: () => requestWith(null), isRare: true },
};

function requestWith(body: Readable | null): OriginRequest {
  return { method: 'POST', path: '/', headers: ['host', 'shop.example'], body };
}

for (const [what, { request, isRare }] of Object.entries(WAYS)) {
  test(`an origin that was destroyed connects no more: a request ${what}`, async (t) => {
    const app = await startApp(t, (_request, response) => response.end('ok'));
    const url = `http://127.0.0.1:${app.port}`;
    const alive = openOrigin({ url, timeoutMs: 10_000 });
    t.teardown(() => alive.destroy());
    t.is(await outcomeOf((handler) => alive.dispatch(request(), handler, isRare)), 200);
    const destroyed = openOrigin({ url, timeoutMs: 10_000 });
    t.teardown(() => destroyed.destroy());
    await destroyed.destroy();
    const outcome = await outcomeOf((handler) => destroyed.dispatch(request(), handler, isRare));
    t.is(outcome, 'UPSTREAM_UNREACHABLE');
    t.is(app.seen.length, 1);
  });
}

test('an origin over HTTP/2 that was destroyed connects no more', async (t) => {
  const app = await startHttp2App(t, (stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const origin = openHttp2Origin({ url: `http://127.0.0.1:${app.port}`, timeoutMs: 10_000 });
  t.teardown(() => origin.destroy());
  const head = {
    method: 'GET',
    path: '/',
    scheme: 'http',
    authority: 'shop.example',
    headers: [],
    sensitive: [],
  } as const;
  const ask = (): Promise<number | string | undefined> =>
    outcomeOf((handler) => origin.request({ head: { ...head, headers: [] }, body: null, timeoutMs: 10_000 }, handler));
  t.is(await ask(), 200);
  origin.destroy();
  t.is(await ask(), 'UPSTREAM_UNREACHABLE');
  t.is(app.heads.length, 1);
});
