import test from 'ava';
import type { CallResult } from '../../src/contract/transaction.ts';
import { type BranchAnswer, startTestBranch } from '../coordinator/started.ts';
import { base64, callOf, open, patient } from './calls.ts';

const protocol = 'json-rpc';

test('a call is a POST to the URL as it is, with the method from its query and the identity beside the payload', async (t) => {
  await using branch = await startTestBranch(() => ({ status: 200, body: '{"jsonrpc":"2.0","id":"1","result":null}' }));
  await using transports = open();
  const url = `${branch.url}/rpc?method=TransIn`;
  const { result } = await transports.call(callOf(url, { protocol, payload: base64('{"amount":30}') }), patient);
  t.is(result, 'success');
  t.like(branch.requests[0], { method: 'POST', path: '/rpc?method=TransIn' });
  t.like(JSON.parse(branch.requests[0]?.body ?? ''), {
    jsonrpc: '2.0',
    method: 'TransIn',
    params: { amount: 30, gid: 'a:{b}', trans_type: 'saga', branch_id: '01', op: 'action' },
  });
});

test('without a payload the identity is all there is', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  for (const payload of ['', base64(' {} \n')]) {
    await transports.call(callOf(`${branch.url}/?method=m`, { protocol, payload }), patient);
  }
  for (const { body } of branch.requests) {
    t.deepEqual(JSON.parse(body).params, { gid: 'a:{b}', trans_type: 'saga', branch_id: '01', op: 'action' });
  }
});

test('large numbers in a payload are not rounded, and fields named like the identity do not replace it', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  const payload = base64('{"amount":12345678901234567.89,"gid":"other"}');
  await transports.call(callOf(`${branch.url}/?method=m`, { protocol, payload }), patient);
  t.true(branch.requests[0]?.body.includes('12345678901234567.89'));
  t.is(JSON.parse(branch.requests[0]?.body ?? '').params.gid, 'a:{b}');
});

test('a payload that is no JSON object is not sent', async (t) => {
  await using branch = await startTestBranch();
  await using transports = open();
  for (const text of ['[1]', '1', 'null', '{', 'x']) {
    const answer = await transports.call(
      callOf(`${branch.url}/?method=m`, { protocol, payload: base64(text) }),
      patient,
    );
    t.is(answer.result, 'unknown', text);
    t.regex(answer.detail ?? '', /must be a JSON object/);
  }
  t.is(branch.requests.length, 0);
});

const error = (code: unknown, message = 'm'): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 'x', error: { code, message } });

const ANSWERS: readonly (readonly [BranchAnswer, CallResult])[] = [
  [{ status: 200, body: '{"jsonrpc":"2.0","id":"x","result":{}}' }, 'success'],
  [{ status: 200, body: '{"jsonrpc":"2.0","id":"x","result":{},"error":null}' }, 'success'],
  [{ status: 200, body: error(-32901) }, 'failure'],
  [{ status: 200, body: error(-32902) }, 'ongoing'],
  [{ status: 500, body: error(-32901) }, 'failure'],
  [{ status: 400, body: error(-32902) }, 'ongoing'],
  [{ status: 200, body: error(-32603, 'FAILURE') }, 'failure'],
  [{ status: 200, body: error(-32603, 'ONGOING') }, 'ongoing'],
  [{ status: 200, body: error(-32603) }, 'unknown'],
  [{ status: 200, body: error('-32901') }, 'unknown'],
  [{ status: 500, body: error(-32603, 'FAILURE') }, 'unknown'],
  [{ status: 409, body: '' }, 'failure'],
  [{ status: 425, body: '' }, 'ongoing'],
  [{ status: 200, body: 'hello' }, 'unknown'],
  [{ status: 200, body: '' }, 'unknown'],
];

for (const [answer, expected] of ANSWERS) {
  test(`status ${answer.status} with body ${answer.body} is ${expected}`, async (t) => {
    await using branch = await startTestBranch(() => answer);
    await using transports = open();
    t.is((await transports.call(callOf(`${branch.url}/?method=m`, { protocol }), patient)).result, expected);
  });
}
