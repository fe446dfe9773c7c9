/** Whatever comes in: a clear answer in DTM's shapes, and the next valid request works. */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { saga, startBranches, startDtm, STORES, type DtmAnswer } from './dtm.ts';

const SEED = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
console.log(`SEED=${SEED}`);

const SUCCESS = '{"dtm_result":"SUCCESS"}';
/** Nobody listens there. */
const NOWHERE = 'http://127.0.0.1:1';
const POSTS = [
  'submit',
  'prepare',
  'abort',
  'registerBranch',
  'registerXaBranch',
  'registerTccBranch',
  'prepareWorkflow',
  'forceStop',
  'resetNextCronTime',
].map((api) => `/api/dtmsvr/${api}`);
const GETS = [
  'newGid',
  'version',
  'query',
  'all',
  'resetCronTime',
  'subscribe',
  'unsubscribe',
  'scanKV',
  'queryKV',
].map((api) => `/api/dtmsvr/${api}`);

const word = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '',
    'g',
    'saga',
    'tcc',
    'xa',
    'msg',
    'workflow',
    'grpc',
    'json-rpc',
    '01',
    '00',
    '0101',
    '\u0000',
    '\ud800',
  ),
  fc.constantFrom(
    'succeed',
    'failed',
    'topic://t',
    `${NOWHERE}/a`,
    '127.0.0.1:1/a.B/C',
    '{"concurrent":true}',
    'FAILURE',
  ),
);
const value = fc.oneof(
  { weight: 4, arbitrary: word },
  { weight: 1, arbitrary: fc.jsonValue() },
  { weight: 1, arbitrary: fc.double() },
  { weight: 1, arbitrary: fc.array(fc.oneof(word, fc.dictionary(word, word)), { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.dictionary(word, fc.oneof(word, fc.array(fc.integer()))) },
);
const NAMES = (
  'gid trans_type steps payloads query_prepared protocol custom_data rollback_reason req_extra branch_headers wait_result ' +
  'concurrent timeout_to_fail request_timeout retry_interval retry_limit branch_id op data confirm cancel url status GID __proto__'
).split(' ');
const fields = fc.array(fc.tuple(fc.constantFrom(...NAMES), value), { maxLength: 8 });
/** Written field by field, so that names can come twice. */
const written = fields.map(
  (entries) => `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${JSON.stringify(item) ?? 'null'}`).join()}}`,
);
/** A valid request with a few fields changed. */
const almost = fields.map((entries) =>
  JSON.stringify({ ...saga('almost', NOWHERE, { wait_result: false }), ...Object.fromEntries(entries) }),
);
const call = fc.record({
  jsonrpc: fc.constantFrom('2.0', '1.0', 2, null),
  id: value,
  method: fc.oneof(fc.constantFrom('newGid', 'prepare', 'submit', 'abort', 'registerBranch'), value),
  params: fc.oneof(fields.map(Object.fromEntries), value),
});
const body = fc.oneof(
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  fc.json(),
  written,
  almost,
  call.map((request) => JSON.stringify(request)),
);
const query = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        'gid',
        'position',
        'limit',
        'status',
        'transType',
        'timeout',
        'topic',
        'url',
        'remark',
        'cat',
        'key',
      ),
      fc.oneof(
        word.map((text) => encodeURIComponent(text.toWellFormed())),
        fc.constantFrom('%', '%zz', '%00', '%ff', '1', '0', '-1', '1e9', '99999999999999999999'),
      ),
    ),
    { maxLength: 4 },
  )
  .map((parts) => parts.map((part) => part.join('=')).join('&'));
const request: fc.Arbitrary<[method: string, path: string, body: string | undefined]> = fc.oneof(
  fc.tuple(fc.constant('POST'), fc.constantFrom(...POSTS, '/api/json-rpc'), body),
  fc.tuple(
    fc.constant('GET'),
    fc.tuple(fc.constantFrom(...GETS), query).map((parts) => parts.join('?')),
    fc.constant(undefined),
  ),
  fc.tuple(
    fc.constant('DELETE'),
    word.map((text) => `/api/dtmsvr/topic/${encodeURIComponent(text.toWellFormed()) || 'x'}`),
    fc.constant(undefined),
  ),
);

for (const store of STORES) {
  test(`${store}: whatever comes to whichever endpoint is answered in DTM’s shapes, and is no defect of ours`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store, { dtm: { retryInterval: '1h' } });
    let count = 0;
    const property = fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 10 }), async (requests) => {
      const answers = await Promise.all(requests.map((parts) => dtm.request(...parts)));
      for (const [index, answer] of answers.entries()) inShape(t, answer, JSON.stringify(requests[index]));
      const good = await dtm.post('submit', saga(`good-${(count += 1)}`, branches.url));
      t.is(good.text, SUCCESS);
    });
    const runs = { seed: SEED, numRuns: store === 'memory' ? 150 : 50, endOnFailure: true };
    await t.notThrowsAsync(fc.assert(property, runs));
    t.is(Object.keys(Object.prototype).length, 0);
  });
}

/** Answers of the protocol, and none that tells of a fault on our side. */
function inShape(t: ExecutionContext, { status, body: answer, text }: DtmAnswer, asked: string): void {
  if (![200, 400, 404, 409, 425, 500].includes(status)) throw new Error(`${asked}: ${status} ${text}`);
  if (/a defect|the store failed/.test(text)) throw new Error(`${asked}: ${text}`);
  if (status === 404) return;
  if (typeof answer !== 'object') throw new Error(`${asked}: no JSON: ${text}`);
  if (Object.hasOwn(answer, 'jsonrpc')) return;
  const wanted = status === 409 ? 'FAILURE' : status === 425 ? 'ONGOING' : undefined;
  if (status !== 200 && (answer.dtm_result !== wanted || typeof answer.message !== 'string')) {
    throw new Error(`${asked}: ${status} ${text}`);
  }
  if (status !== 409 && text.includes('FAILURE')) throw new Error(`${asked}: the word stands in ${text}`);
  t.pass();
}

const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const RAW: readonly (readonly [title: string, body: string, status: number, message: RegExp | undefined])[] = [
  ['a hundred thousand open brackets', '['.repeat(100_000), 500, /^invalid JSON/],
  ['lists in lists, in a field that nobody knows', `{"gid":"g","x":${deep(100_000)}}`, 500, /^unknow trans type: $/],
  ['lists in lists for a gid', `{"gid":${deep(100_000)}}`, 500, /^json: cannot unmarshal array .*\.gid/],
  ['a NUL byte', '{"gid":"g\0"}', 500, /^invalid JSON/],
  ['a NUL in a gid', '{"gid":"g\\u0000","trans_type":"saga"}', 500, /^gid: expected/],
  ['half a character in a gid', '{"gid":"\\ud800","trans_type":"saga"}', 500, /^gid: expected/],
  ['a mark of byte order', '\ufeff{"gid":"g"}', 500, /^invalid JSON/],
  [
    'numbers beyond all bounds',
    '{"gid":"bounds","trans_type":"saga","retry_limit":1e400,"timeout_to_fail":1e400}',
    200,
    undefined,
  ],
  ['a name twice, of which the last counts', '{"gid":"a b","gid":"twice","trans_type":"saga"}', 200, undefined],
];

test('JSON that is broken, deep, doubled or full of strange characters is refused with what is wrong, or read as Go reads it', async (t) => {
  await using dtm = await startDtm('sqlite');
  for (const [title, text, status, message] of RAW) {
    const answer = await dtm.post('submit', text);
    t.is(answer.status, status, title);
    if (message !== undefined) t.regex(answer.body.message, message, title);
  }
  t.is((await dtm.state('twice')).status, 'succeed', 'a saga without steps');
});

test('a body of any content type and encoding is JSON, or refused as none', async (t) => {
  await using dtm = await startDtm();
  const send = (headers: Record<string, string>, gid: string): Promise<DtmAnswer> =>
    dtm.request('POST', '/api/dtmsvr/submit', JSON.stringify({ gid, trans_type: 'saga' }), headers);
  for (const type of [
    '',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/html; charset=latin1',
  ]) {
    t.is((await send({ 'content-type': type }, 'type')).text, SUCCESS, type);
  }
  const zipped = await dtm.request('POST', '/api/dtmsvr/submit', '\u001f\u008b\u0008', { 'content-encoding': 'gzip' });
  t.is(zipped.status, 500);
  t.regex(zipped.body.message, /^invalid JSON/);
});

const HEADERS: readonly (readonly [
  title: string,
  headers: Record<string, string>,
  protocol: string,
  message: RegExp,
])[] = [
  ['an empty name', { '': 'x' }, 'http', /^branch_headers: "" is no name of a header$/],
  ['a name with a colon', { 'a:b': 'x' }, 'http', /"a:b" is no name of a header$/],
  ['a line in a value', { a: 'b\r\nc: d' }, 'http', /the value of "a" holds control characters$/],
  ['a NUL in a value', { a: '\0' }, 'http', /the value of "a" holds control characters$/],
  ['more than any server takes', { a: 'x'.repeat(70_000) }, 'http', /^branch_headers: more than 65536 bytes in all$/],
  ['a name that gRPC does not know', { 'a!b': 'x' }, 'grpc', /"a!b" is no name of a header$/],
  ['a value that gRPC does not carry', { a: 'ü' }, 'grpc', /^branch_headers: the value of "a" is not printable ASCII/],
];

test('headers that cannot be sent are refused: a branch that can never be called would hold the saga up for ever', async (t) => {
  await using dtm = await startDtm();
  for (const [title, branch_headers, protocol, message] of HEADERS) {
    const answer = await dtm.post('submit', saga('g', NOWHERE, { branch_headers, protocol }));
    t.is(answer.status, 500, title);
    t.regex(answer.body.message, message, title);
  }
  const mixed = saga('g', NOWHERE, {
    branch_headers: { a: 'ü' },
    steps: [{ action: 'grpc://x:1/a.B/C' }],
    payloads: [''],
  });
  t.is((await dtm.post('submit', mixed)).status, 500, 'one step over gRPC is enough');
});

test('headers with characters beyond ASCII reach the branch as UTF-8, as Go sends them', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm('sqlite');
  await dtm.post('submit', saga('utf8', branches.url, { branch_headers: { 'x-name': 'Zoë 张三' } }));
  const received = String(branches.requests[0]?.headers['x-name']);
  t.is(Buffer.from(received, 'latin1').toString(), 'Zoë 张三');
});

test('a transaction that would outgrow its limits is refused, and goes on with what it has', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm('memory', { limits: { branches: 2, body: '16MiB' } });
  const branch = (gid: string, branch_id: string, data = ''): Promise<DtmAnswer> =>
    dtm.post('registerBranch', { gid, trans_type: 'tcc', branch_id, confirm: `${branches.url}/c`, cancel: '', data });
  await dtm.post('prepare', { gid: 'many', trans_type: 'tcc' });
  for (const id of ['01', '02']) t.is((await branch('many', id)).text, SUCCESS);
  const third = await branch('many', '03');
  t.deepEqual([third.status, third.body.dtm_result], [409, 'FAILURE']);
  t.regex(third.body.message, /has 2 branches, the most that it may have/);
  t.is((await dtm.post('submit', { gid: 'many', trans_type: 'tcc', wait_result: true })).text, SUCCESS);
  t.is(branches.calls.length, 2);
  await dtm.post('prepare', { gid: 'large', trans_type: 'tcc' });
  t.is((await branch('large', '01', 'x'.repeat(8_000_000))).text, SUCCESS);
  const second = await branch('large', '02', 'x'.repeat(8_000_000));
  t.is(second.status, 409);
  t.regex(second.body.message, /^data: the branches of large have more than 16777216 characters/);
  for (const [index, status] of [200, 200, 409].entries()) {
    const step = { gid: 'steps', trans_type: 'workflow', branch_id: `0${index + 1}`, op: 'action', status: 'succeed' };
    if (index === 0) await dtm.post('prepareWorkflow', { gid: 'steps' });
    t.is((await dtm.post('registerBranch', step)).status, status);
  }
});

test('a topic with more subscribers than a message can have branches is refused before anything is stored', async (t) => {
  await using dtm = await startDtm('memory', { limits: { branches: 2 } });
  for (const n of [1, 2, 3]) await dtm.get(`/api/dtmsvr/subscribe?topic=t&url=http://host-${n}/`);
  const steps = [{ action: 'topic://t' }];
  const message = { gid: 'wide', trans_type: 'msg', steps, payloads: [''] };
  t.is((await dtm.post('submit', message)).status, 409);
  const endless = {
    ...message,
    steps: Array.from({ length: 40_000 }, () => steps[0]),
    payloads: Array(40_000).fill(''),
  };
  const answer = await dtm.post('submit', endless);
  t.regex(answer.body.message, /^steps: more than 100000 with all subscribers$/);
  t.deepEqual((await dtm.get('/api/dtmsvr/query?gid=wide')).body.transaction, null);
});

test('a message to more topics than anybody needs is refused before they are looked up', async (t) => {
  await using dtm = await startDtm('memory');
  const steps = Array.from({ length: 30_000 }, (_, n) => ({ action: `topic://t${n}` }));
  const answer = await dtm.post('submit', { gid: 'many', trans_type: 'msg', steps, payloads: steps.map(() => '') });
  t.is(answer.status, 500);
  t.is(answer.body.message, 'steps: more than 1000 topics');
});
