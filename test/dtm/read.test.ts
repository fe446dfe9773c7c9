import test from 'ava';
import fc from 'fast-check';
import { branchOf, readBranchRequest, readTransaction, transactionOf } from '../../src/http/dtm/read.ts';
import { dtmJson } from '../../src/http/dtm/replies.ts';
import { createTargetCheck } from '../../src/dtm/target.ts';
import { readNewTransaction } from '../../src/dtm/new-transaction.ts';

const SEED = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
console.log(`SEED=${SEED}`);
const RUNS = { seed: SEED, numRuns: 500 };

const NAMES = [
  'gid',
  'trans_type',
  'steps',
  'payloads',
  'query_prepared',
  'protocol',
  'custom_data',
  'rollback_reason',
  'req_extra',
  'wait_result',
  'timeout_to_fail',
  'request_timeout',
  'retry_interval',
  'retry_limit',
  'concurrent',
  'branch_headers',
];

const words = fc.string({ maxLength: 12 });
const transaction = fc.record(
  {
    gid: words,
    trans_type: fc.constantFrom('saga', 'msg', 'tcc', 'xa', 'workflow'),
    steps: fc.array(fc.record({ action: words, compensate: fc.option(words) }), { maxLength: 3 }),
    payloads: fc.array(words, { maxLength: 3 }),
    custom_data: words,
    protocol: words,
    wait_result: fc.boolean(),
    timeout_to_fail: fc.double({ noNaN: true, noDefaultInfinity: true }),
    branch_headers: fc.dictionary(words, words),
    req_extra: fc.dictionary(words, words),
  },
  { requiredKeys: [] },
);

test('case of names, nulls in the rest and unknown fields make no difference to what is read', (t) => {
  const property = fc.property(transaction, fc.infiniteStream(fc.boolean()), fc.jsonValue(), (plain, coins, noise) => {
    const name = (text: string): string => text.replace(/[a-z]/g, (c) => (coins.next().value ? c.toUpperCase() : c));
    const nulls = NAMES.filter((field) => !Object.hasOwn(plain, field)).map((field) => [name(field), null]);
    const varied = Object.fromEntries([
      ...Object.entries(plain).map(([key, value]) => [name(key), value]),
      ...nulls,
      ['some_field', noise],
    ]);
    t.deepEqual(readTransaction(JSON.stringify(varied)), transactionOf(JSON.parse(JSON.stringify(plain))));
  });
  t.notThrows(() => fc.assert(property, RUNS));
});

test('no JSON from outside makes the readers throw, and what they accept can be judged', (t) => {
  const fields = fc.dictionary(
    fc.constantFrom(...NAMES, '__proto__', 'GID', 'branch_id', 'op', 'data'),
    fc.jsonValue(),
  );
  const property = fc.property(fc.oneof(fc.jsonValue(), fields, transaction), (value) => {
    const read = readTransaction(JSON.stringify(value));
    if (read.ok) {
      const defaults = { timeoutToFailMs: 1, retryIntervalMs: 1, requestTimeoutMs: 1 };
      readNewTransaction(read.value, defaults, createTargetCheck(), new Map());
    }
    readBranchRequest(JSON.stringify(value));
  });
  t.notThrows(() => fc.assert(property, RUNS));
  t.is(Object.keys(Object.prototype).length, 0);
});

test('a branch keeps what belongs to its type, and its payload as it came', (t) => {
  const read = branchOf({
    gid: 'g;',
    trans_type: 'tcc',
    branch_id: '01',
    data: '€',
    confirm: 'c',
    cancel: null,
    try: 'x',
  });
  t.deepEqual(read, {
    ok: true,
    value: {
      gid: 'g',
      transType: 'tcc',
      branchId: '01',
      op: '',
      data: { confirm: 'c', cancel: '', try: 'x' },
      payload: Buffer.from('€').toString('base64'),
    },
  });
});

test('whatever is written says the same, and neither word stands in it', (t) => {
  const tricky = fc.array(fc.constantFrom('FAILURE', 'ONGOING', '\\', '"', 'u', 'FA', 'ILURE', '\u0001', 'é', '00'));
  const property = fc.property(
    tricky.map((parts) => parts.join('')),
    (text) => {
      const json = dtmJson({ [text]: [text] });
      t.deepEqual(JSON.parse(json), { [text]: [text] });
      t.false(json.includes('FAILURE') || json.includes('ONGOING'));
    },
  );
  t.notThrows(() => fc.assert(property, RUNS));
});
