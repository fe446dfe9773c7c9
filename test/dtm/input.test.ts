import test from 'ava';
import { beginTcc, message, saga, startBranches, startDtm, STORES } from './dtm.ts';

const SUCCESS = '{"dtm_result":"SUCCESS"}';

for (const [title, change] of [
  [
    'null in every field that is not needed',
    {
      query_prepared: null,
      protocol: null,
      custom_data: null,
      rollback_reason: null,
      req_extra: null,
      branch_headers: null,
      timeout_to_fail: null,
      request_timeout: null,
      retry_interval: null,
      retry_limit: null,
      concurrent: null,
    },
  ],
  ['empty lists where an object belongs', { branch_headers: [], req_extra: [] }],
  ['unknown fields of old clients', { passthrough_headers: [], subType: 1, dtm: { nested: [null] }, idGenerator: 'x' }],
  [
    'zeros for options that are not set',
    { timeout_to_fail: 0, request_timeout: 0, retry_interval: 0, retry_limit: 0, custom_data: '' },
  ],
  ['fractions of a second', { timeout_to_fail: 30.5, request_timeout: 1.5, retry_interval: 0.25 }],
  ['custom data that is no concern of ours', { custom_data: '{"concurrent":null,"orders":[]}' }],
  ['an order that is null, as Go writes an empty list', { custom_data: '{"concurrent":true,"orders":{"1":null}}' }],
  ['a gid with characters that DTM takes out', { gid: 'to\r\nle;rant' }],
] as const) {
  test(`a saga is taken with ${title}`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm();
    t.is((await dtm.post('submit', saga('tolerant', branches.url, change))).text, SUCCESS);
    t.is((await dtm.state('tolerant')).status, 'succeed');
    t.is(branches.calls.length, 2);
  });
}

test('names of fields are taken in any case, and any content type', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  const shouted = Object.fromEntries(
    Object.entries(saga('case', branches.url)).map(([name, value]) => [name.toUpperCase(), value]),
  );
  const answer = await dtm.request('POST', '/api/dtmsvr/submit', JSON.stringify(shouted), {
    'content-type': 'text/plain',
  });
  t.is(answer.text, SUCCESS);
  t.is(branches.requests[1]?.body, '{"amount":30}');
});

test('the payload of an old client stands in its steps', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  const steps = ['a', 'b'].map((data) => ({ action: `${branches.url}/${data}`, compensate: '', data }));
  t.is((await dtm.post('submit', saga('legacy', branches.url, { steps, payloads: null }))).text, SUCCESS);
  t.deepEqual(
    branches.requests.map(({ body }) => body),
    ['a', 'b'],
  );
});

test('a step without a URL is passed over, and one without a payload is called with GET', async (t) => {
  await using branches = await startBranches();
  await using dtm = await startDtm();
  const steps = [{ action: '', compensate: '' }, { action: `${branches.url}/get` }];
  t.is((await dtm.post('submit', saga('empty', branches.url, { steps, payloads: ['', ''] }))).text, SUCCESS);
  t.deepEqual(
    branches.requests.map(({ method }) => method),
    ['GET'],
  );
});

test('a TCC branch without a URL for its operation has nothing to do', async (t) => {
  await using dtm = await startDtm();
  await dtm.post('prepare', { gid: 'no-url', trans_type: 'tcc' });
  const branch = {
    gid: 'no-url',
    trans_type: 'tcc',
    branch_id: '01',
    confirm: '',
    try: 'x',
    subType: 'y',
    status: 'prepared',
  };
  t.is((await dtm.post('registerTccBranch', branch)).text, SUCCESS);
  t.is((await dtm.post('submit', { gid: 'no-url', trans_type: 'tcc', wait_result: true })).text, SUCCESS);
});

/** Requests that are refused: status, and the message. */
const REFUSED: readonly (readonly [title: string, api: string, body: unknown, status: number, message: RegExp])[] = [
  ['no JSON', 'submit', '{"gid":', 500, /^invalid JSON/],
  ['no body', 'submit', '', 500, /^unexpected end of JSON input$/],
  ['a text', 'submit', '"gid"', 500, /^json: cannot unmarshal string into Go value of type object/],
  [
    'a gid that is a number',
    'submit',
    { gid: 1 },
    500,
    /^json: cannot unmarshal number into Go field \.gid of type string/,
  ],
  ['steps that are a text', 'submit', { gid: 'g', steps: 'x' }, 500, /field \.steps of type \[\]map\[string\]string/],
  ['a payload that is an object', 'submit', { gid: 'g', payloads: [{}] }, 500, /field \.payloads of type \[\]string/],
  [
    'headers that are numbers',
    'submit',
    { gid: 'g', branch_headers: { a: 1 } },
    500,
    /field \.branch_headers of type map\[string\]string/,
  ],
  [
    'a duration that is a text',
    'submit',
    { gid: 'g', timeout_to_fail: '35' },
    500,
    /field \.timeout_to_fail of type int64/,
  ],
  ['an unknown type', 'submit', { gid: 'g', trans_type: 'foo' }, 500, /^unknow trans type: foo$/],
  ['no gid', 'submit', saga('', 'http://x'), 500, /^key required/],
  ['a gid of 129 characters', 'submit', saga('g'.repeat(129), 'http://x'), 500, /^gid: expected 1 to 128 characters/],
  ['a gid with a space', 'prepare', { gid: 'a b', trans_type: 'tcc' }, 500, /^gid: expected/],
  [
    'fewer payloads than steps',
    'submit',
    saga('g', 'http://x', { payloads: ['1'] }),
    500,
    /^index out of range \[1\] with length 1/,
  ],
  [
    'an unknown protocol',
    'submit',
    saga('g', 'http://x', { protocol: 'smtp' }),
    500,
    /^protocol: expected one of http, grpc, json-rpc/,
  ],
  ['a metadata address', 'submit', saga('g', 'http://169.254.169.254'), 500, /^step 01: .*link-local/],
  ['a path for a URL', 'submit', saga('g', '/out'), 500, /^step 01: expected an absolute http or https URL/],
  [
    'a callback that is no URL',
    'prepare',
    message('g', 'http://x', { query_prepared: 'ftp://x' }),
    500,
    /^query_prepared: /,
  ],
  [
    'a gRPC target without a method',
    'submit',
    saga('g', 'x:1/pkg', { protocol: 'grpc' }),
    500,
    /host:port\/package\.Service\/Method/,
  ],
  [
    'a header that is none',
    'submit',
    saga('g', 'http://x', { branch_headers: { 'a b': 'c' } }),
    500,
    /^branch_headers: "a b"/,
  ],
  [
    'a header that holds a line',
    'submit',
    saga('g', 'http://x', { branch_headers: { a: 'b\r\nc: d' } }),
    500,
    /^branch_headers/,
  ],
  ['custom data that is no JSON', 'submit', saga('g', 'http://x', { custom_data: '{' }), 500, /^custom_data: not JSON/],
  [
    'a workflow whose data is no base64',
    'prepareWorkflow',
    { gid: 'g', custom_data: '{"name":"w","data":"{}"}' },
    500,
    /^custom_data\.data: expected base64$/,
  ],
  [
    'orders whose key is no number as JSON writes it',
    'submit',
    saga('g', 'http://x', { custom_data: '{"concurrent":true,"orders":{"":[1]}}' }),
    500,
    /^orders: there is no step ""$/,
  ],
  [
    'orders that are lists in lists',
    'submit',
    saga('g', 'http://x', {
      custom_data: `{"concurrent":true,"orders":{"0":${'['.repeat(90_000)}${']'.repeat(90_000)}}}`,
    }),
    500,
    /^orders: expected a list of steps for step 0/,
  ],
  [
    'orders in a circle',
    'submit',
    saga('g', 'http://x', { custom_data: '{"concurrent":true,"orders":{"0":[1],"1":[0]}}' }),
    500,
    /^orders: .*circle/,
  ],
  [
    'orders of no step',
    'submit',
    saga('g', 'http://x', { custom_data: '{"concurrent":true,"orders":{"7":[0]}}' }),
    500,
    /^orders: there is no step "7"/,
  ],
  [
    'orders after no step',
    'submit',
    saga('g', 'http://x', { custom_data: '{"concurrent":true,"orders":{"1":[7]}}' }),
    500,
    /^orders: .*does not exist/,
  ],
  [
    'a topic that nobody knows',
    'submit',
    message('g', 'topic:', { steps: [{ action: 'topic://none' }] }),
    500,
    /^topic not found$/,
  ],
  ['a saga that is prepared', 'prepare', saga('g', 'http://x'), 500, /cannot be prepared/],
  [
    'more steps than allowed',
    'submit',
    saga('g', 'http://x', { steps: Array.from({ length: 1001 }, () => ({})), payloads: Array(1001).fill('') }),
    409,
    /1000 branches.*FAILURE$/,
  ],
  [
    'an end that is none',
    'submit',
    { gid: 'g', trans_type: 'workflow', req_extra: { status: 'done' } },
    500,
    /^req_extra\.status: expected succeed or failed/,
  ],
  ['an abort of nobody', 'abort', { gid: 'nobody', trans_type: 'tcc' }, 500, /^no TransGlobal with gid: nobody found$/],
  ['a stop of nobody', 'forceStop', { gid: 'nobody' }, 500, /^no TransGlobal with gid: nobody found$/],
  [
    'a gid that is a number, of one to be stopped',
    'forceStop',
    { gid: 7 },
    500,
    /^json: cannot unmarshal number into Go field \.gid of type string$/,
  ],
  [
    'a branch with a number',
    'registerBranch',
    { gid: 'g', status: 1 },
    400,
    /^json: cannot unmarshal number into Go value of type string$/,
  ],
  [
    'a branch of nobody',
    'registerBranch',
    { gid: 'nobody', trans_type: 'tcc', branch_id: '01' },
    409,
    /^no trans with gid: nobody status: prepared found FAILURE$/,
  ],
];

test('what cannot be done is refused in DTM’s shapes, and leaves nothing behind', async (t) => {
  await using dtm = await startDtm();
  for (const [title, api, body, status, message] of REFUSED) {
    const answer = await dtm.post(api, body);
    t.is(answer.status, status, title);
    t.regex(answer.body.message, message, title);
    t.is(answer.body.dtm_result, status === 409 ? 'FAILURE' : undefined, title);
    t.is(answer.type, status === 400 ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8', title);
  }
  t.deepEqual((await dtm.get('/api/dtmsvr/all')).body, { transactions: [], next_position: '' });
});

for (const store of STORES) {
  test(`${store}: DTM’s words for what comes at the wrong time`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    const text = async (api: string, body: unknown): Promise<unknown> => {
      const answer = await dtm.post(api, body);
      return [answer.status, answer.body.message ?? answer.body.dtm_result];
    };
    await beginTcc(dtm, 'tcc', branches.url);
    const again = {
      gid: 'tcc',
      trans_type: 'tcc',
      branch_id: '01',
      confirm: `${branches.url}/confirm`,
      cancel: `${branches.url}/cancel`,
    };
    t.deepEqual(await text('registerBranch', { ...again, data: '{"amount":30}' }), [200, 'SUCCESS']);
    t.deepEqual(await text('registerBranch', { ...again, data: '{"amount":31}' }), [500, 'storage: UniqueKeyConflict']);
    t.deepEqual(await text('registerBranch', { ...again, trans_type: 'foo' }), [500, 'unknow trans type: foo']);
    t.deepEqual(await text('submit', { gid: 'tcc', trans_type: 'tcc', wait_result: true }), [200, 'SUCCESS']);
    t.deepEqual(await text('registerBranch', { ...again, branch_id: '03' }), [
      409,
      'no trans with gid: tcc status: prepared found FAILURE',
    ]);
    t.deepEqual(await text('prepare', { gid: 'tcc', trans_type: 'tcc' }), [
      409,
      "current status 'succeed', cannot prepare. FAILURE",
    ]);
    t.deepEqual(await text('abort', { gid: 'tcc', trans_type: 'tcc' }), [
      409,
      "trans type: 'tcc' current status 'succeed', cannot abort. FAILURE",
    ]);
    t.deepEqual(await text('forceStop', { gid: 'tcc' }), [
      409,
      'global transaction force stop error. status: succeed. error: FAILURE',
    ]);
    await text('submit', saga('saga', branches.url));
    t.deepEqual(await text('abort', { gid: 'saga', trans_type: 'saga' }), [
      409,
      "trans type: 'saga' current status 'succeed', cannot abort. FAILURE",
    ]);
    await beginTcc(dtm, 'gone', branches.url);
    t.deepEqual(await text('abort', { gid: 'gone', trans_type: 'tcc' }), [200, 'SUCCESS']);
    t.deepEqual(await text('abort', { gid: 'gone', trans_type: 'tcc' }), [200, 'SUCCESS']);
    const [status, message] = (await text('submit', { gid: 'gone', trans_type: 'tcc' })) as [number, string];
    t.is(status, 409);
    t.regex(message, /^current status '(aborting|failed)', cannot sumbmit\. FAILURE$/);
  });

  test(`${store}: what names another type than its transaction has is refused, and changes nothing`, async (t) => {
    await using dtm = await startDtm(store);
    const text = async (api: string, body: unknown): Promise<unknown> => {
      const answer = await dtm.post(api, body);
      return [answer.status, answer.body.message ?? answer.body.dtm_result];
    };
    await dtm.post('prepare', { gid: 'tcc', trans_type: 'tcc' });
    await dtm.post('prepareWorkflow', { gid: 'wf' });
    t.deepEqual(await text('abort', { gid: 'tcc', trans_type: 'xa' }), [
      409,
      "trans type: 'xa' current status 'prepared', cannot abort. FAILURE",
    ]);
    t.is((await dtm.post('submit', { gid: 'tcc', trans_type: 'xa' })).status, 409);
    t.deepEqual(await text('abort', { gid: 'wf', trans_type: 'workflow' }), [
      409,
      "trans type: 'workflow' current status 'prepared', cannot abort. FAILURE",
    ]);
    const step = { trans_type: 'workflow', branch_id: '01', op: 'action', status: 'succeed' };
    t.deepEqual(await text('registerBranch', { ...step, gid: 'tcc' }), [
      500,
      "trans type: no branch of type 'workflow' can join a transaction of type 'tcc'",
    ]);
    const branch = { trans_type: 'tcc', branch_id: '01', confirm: '', cancel: '' };
    t.deepEqual(await text('registerBranch', { ...branch, gid: 'wf' }), [
      500,
      "trans type: no branch of type 'tcc' can join a transaction of type 'workflow'",
    ]);
    t.deepEqual(await dtm.state('tcc'), { status: 'prepared', branches: [] });
    t.deepEqual(await dtm.state('wf'), { status: 'prepared', branches: [] });
  });

  test(`${store}: forceStop ends a transaction of any type without a call`, async (t) => {
    await using dtm = await startDtm(store);
    await dtm.post('prepare', { gid: 'stopped', trans_type: 'tcc' });
    await dtm.post('registerBranch', {
      gid: 'stopped',
      trans_type: 'tcc',
      branch_id: '01',
      confirm: 'http://127.0.0.1:1',
      cancel: 'http://127.0.0.1:1',
    });
    t.is((await dtm.post('forceStop', { gid: 'stopped' })).text, SUCCESS);
    t.deepEqual(await dtm.state('stopped'), { status: 'failed', branches: ['cancel: prepared', 'confirm: prepared'] });
  });
}

test('below /api a wrong path or method is DTM’s 404, a body too large its JSON, and no token its 401', async (t) => {
  await using dtm = await startDtm('memory', { limits: { body: '64KiB' }, token: 'secret' });
  const headers = { authorization: 'Bearer secret' };
  for (const [method, path] of [
    ['GET', '/api/dtmsvr/submit'],
    ['POST', '/api/dtmsvr/query'],
    ['GET', '/api/none'],
  ] as const) {
    const answer = await dtm.request(method, path, undefined, headers);
    t.deepEqual([answer.status, answer.text, answer.type], [404, '404 page not found', 'text/plain'], path);
  }
  const large = await dtm.request('POST', '/api/dtmsvr/submit', 'x'.repeat(100_000), headers);
  t.deepEqual([large.status, Object.keys(large.body)], [413, ['message']]);
  for (const path of ['newGid', 'subscribe?topic=a&url=http://x', 'resetCronTime']) {
    const refused = await dtm.get(`/api/dtmsvr/${path}`);
    t.is(refused.status, 401, path);
    t.regex(refused.body.message, /token/);
  }
  for (const method of ['GET', 'POST', 'PUT']) t.is((await dtm.request(method, '/api/ping')).text, '{"msg":"pong"}');
  t.is((await dtm.request('GET', '/api/dtmsvr/newGid', undefined, headers)).body.dtm_result, 'SUCCESS');
});
