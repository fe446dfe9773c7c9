import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import {
  branchListener,
  branchOfRequest,
  type BranchRequest,
  CodedError,
  type ErrorCode,
  FailureError,
  OngoingError,
  serveBranch,
} from '../../src/client/index.ts';
import { httpStatusOf } from '../../src/contract/errors.ts';

const QUERY = 'gid=g&branch_id=01&op=action&trans_type=saga';
const BRANCH = { gid: 'g', branchId: '01', op: 'action', transType: 'saga' } as ReturnType<typeof branchOfRequest>;

test('a branch is known by its query in every form, by DTM’s metadata, or by Atomesh’s headers', (t) => {
  const parameters = Object.fromEntries(new URLSearchParams(QUERY));
  const requests: readonly BranchRequest[] = [
    { query: QUERY },
    { query: `/pay?x=1&${QUERY}` },
    { query: new URLSearchParams(QUERY) },
    { query: parameters },
    { query: { ...parameters, gid: ['g', 'h'], nested: { a: 1 } } },
    { query: {}, headers: { 'dtm-gid': 'g', 'dtm-branch_id': '01', 'dtm-op': 'action', 'dtm-trans_type': 'saga' } },
  ];
  for (const request of requests) t.deepEqual(branchOfRequest(request), BRANCH);
  const headers = { 'atomesh-gid': 'g', 'atomesh-branch': '01', 'atomesh-op': 'commit' };
  t.deepEqual(branchOfRequest({ query: '', headers }), { ...BRANCH, op: 'commit', transType: 'mesh' });
});

test('a request that names no branch is refused, and its work is not done', async (t) => {
  for (const query of ['', 'gid=g', `${QUERY}&gid=`, QUERY.replace('action', 'destroy'), QUERY.replace('01', 'x')]) {
    const request = { query: query.endsWith('gid=') ? query.replace('gid=g&', '') : query };
    const reply = await serveBranch(request, () => t.fail());
    t.is(reply.status, 400, query);
  }
});

test('what work returns is the answer; FAILURE and ONGOING are its own words', async (t) => {
  const reply = async (work: () => unknown) => {
    const { status, body } = await serveBranch({ query: QUERY }, work);
    return [status, JSON.parse(body)];
  };
  t.deepEqual(await reply(() => undefined), [200, { dtm_result: 'SUCCESS' }]);
  t.deepEqual(await reply(() => Promise.resolve({ left: 3 })), [200, { left: 3 }]);
  t.deepEqual(await reply(() => null), [200, null]);
  t.deepEqual(await reply(() => Promise.reject(new FailureError('no money'))), [
    409,
    { dtm_result: 'FAILURE', message: 'no money' },
  ]);
  t.deepEqual(await reply(() => Promise.reject(new OngoingError('later'))), [
    425,
    { dtm_result: 'ONGOING', message: 'later' },
  ]);
});

test('no other error says FAILURE or ONGOING, by status or by word; and no success does', async (t) => {
  const codes: readonly ErrorCode[] = ['GID_CONFLICT', 'TRANSACTION_DECIDED', 'BRANCH_DIRTY', 'OUTCOME_UNKNOWN'];
  t.true(codes.some((code) => httpStatusOf(code) === 409));
  const text = fc.array(fc.constantFrom('FAILURE', 'ONGOING', 'x', '\\', '"', '\ud800')).map((parts) => parts.join(''));
  const thrown = fc.oneof(
    fc.tuple(fc.constantFrom(...codes), text).map(([code, message]) => new CodedError(code, message)),
    text.map((message) => new Error(message)),
    text,
  );
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        thrown.map((error) => ({ error })),
        text.map((value) => ({ value })),
      ),
      async (end) => {
        const seen: unknown[] = [];
        const work = (): unknown => ('error' in end ? Promise.reject(end.error) : { said: end.value });
        const { status, body } = await serveBranch({ query: QUERY }, work, { onError: (error) => seen.push(error) });
        if ('error' in end) {
          t.true(status >= 400 && status !== 409 && status !== 425);
          t.deepEqual(seen, [end.error]);
        } else {
          t.is(status, 200);
          t.deepEqual(JSON.parse(body), JSON.parse(JSON.stringify({ said: end.value })));
        }
        t.notRegex(body, /FAILURE|ONGOING/);
      },
    ),
    { numRuns: 300 },
  );
});

test('bodies arrive as JSON, whether the framework has parsed them or not', async (t) => {
  const seen: unknown[] = [];
  for (const body of ['{"a":1}', Buffer.from('{"a":1}'), { a: 1 }, 'no json', '', undefined]) {
    await serveBranch({ query: QUERY, body }, (_, parsed) => void seen.push(parsed));
  }
  t.deepEqual(seen, [{ a: 1 }, { a: 1 }, { a: 1 }, 'no json', undefined, undefined]);
});

test('a listener of node:http answers what is too large or too slow, and goes on', async (t) => {
  const listener = branchListener((request) => serveBranch(request, (_, body) => ({ body })), {
    bodyBytesMax: 100,
    bodyMs: 150,
  });
  const server = createServer((request, response) => void listener(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/?${QUERY}`;
  const post = (body: string) => fetch(url, { method: 'POST', body });
  t.deepEqual(await (await post('{"a":1}')).json(), { body: { a: 1 } });
  t.is((await post('x'.repeat(101))).status, 413);

  const slow = connect(port, '127.0.0.1');
  slow.write(`POST /?${QUERY} HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\nhalf`);
  slow.on('error', () => undefined);
  await once(slow, 'close');
  t.is((await fetch(url)).status, 200);
  server.closeAllConnections();
  server.close();
});
