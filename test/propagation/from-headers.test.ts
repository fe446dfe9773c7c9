import test from 'ava';
import { openCarriers } from '../../proxy/binding/from-headers.ts';
import { parseMark, type Gid, type Mark } from '../../src/contract/transaction.ts';

let ids = 0;
const carriers = openCarriers({ header: 'atomesh-gid', aliases: ['dtm-gid', 'TX_XID'] }, () => {
  ids += 1;
  return ids.toString(16).padStart(16, '0');
});
const GID: Mark = { gid: 'g1' as Gid };
const TRY: Mark = parseMark('g1/01/try') ?? GID;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${TRACE}-00f067aa0ba902b7-00`;

function valuesOf(headers: readonly string[], wanted: string): string[] {
  return headers.filter((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === wanted);
}

test('each carrier alone names the gid', (t) => {
  for (const headers of [
    ['Atomesh-Gid', 'g1'],
    ['DTM-GID', 'g1'],
    ['tx_xid', 'g1'],
    ['tracestate', 'a=1', 'Tracestate', 'atomesh=g:g1'],
    ['baggage', 'x=1,atomesh.gid=g1'],
  ]) {
    t.deepEqual(carriers.read(headers, 'outside'), { kind: 'bound', mark: GID }, headers.join(' '));
  }
  t.deepEqual(carriers.read(['accept', '*/*', 'tracestate', 'a=1'], 'outside'), { kind: 'none' });
});

test('carriers that agree are one gid, and two gids are a fault that names both places', (t) => {
  t.deepEqual(carriers.read(['atomesh-gid', 'g1', 'dtm-gid', 'g1', 'baggage', 'atomesh.gid=g1'], 'outside'), {
    kind: 'bound',
    mark: GID,
  });
  const fault = carriers.read(['atomesh-gid', 'g1', 'tracestate', 'atomesh=g:g2'], 'outside');
  t.deepEqual(fault, { kind: 'fault', message: 'atomesh-gid and tracestate name different gids' });
  t.is(carriers.read(['atomesh-gid', 'g1', 'atomesh-gid', 'g2'], 'outside').kind, 'fault');
});

test('a header that carries no gid is a fault, an empty one is absent, a malformed tracestate is absent', (t) => {
  t.is(carriers.read(['atomesh-gid', 'a b'], 'outside').kind, 'fault');
  t.is(carriers.read(['atomesh-gid', 'x'.repeat(129)], 'outside').kind, 'fault');
  t.is(carriers.read(['atomesh-gid', ''], 'outside').kind, 'none');
  t.is(carriers.read(['tracestate', 'atomesh=g:a b'], 'outside').kind, 'none');
});

test('all carriers are set once, and what other parties put into them stays', (t) => {
  const { headers, traceId } = carriers.set(
    [
      'Accept',
      '*/*',
      'traceparent',
      PARENT,
      'tracestate',
      'a=1',
      'baggage',
      'x=1',
      'ATOMESH-GID',
      'g1',
      'dtm-gid',
      'g1',
    ],
    GID,
  );
  t.is(traceId, TRACE);
  t.deepEqual(valuesOf(headers, 'atomesh-gid'), ['g1']);
  t.deepEqual(valuesOf(headers, 'dtm-gid'), ['g1']);
  t.deepEqual(valuesOf(headers, 'traceparent'), [PARENT]);
  t.deepEqual(valuesOf(headers, 'tracestate'), ['atomesh=g:g1,a=1']);
  t.deepEqual(valuesOf(headers, 'baggage'), ['atomesh.gid=g1,x=1']);
});

test('without exactly one valid traceparent a new trace begins, and the old tracestate ends with the old trace', (t) => {
  for (const before of [[], ['traceparent', 'rubbish'], ['traceparent', PARENT, 'traceparent', PARENT]]) {
    const { headers, traceId } = carriers.set([...before, 'tracestate', 'a=1'], GID);
    const [parent = ''] = valuesOf(headers, 'traceparent');
    t.is(valuesOf(headers, 'traceparent').length, 1);
    t.regex(parent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
    t.deepEqual(valuesOf(headers, 'tracestate'), ['atomesh=g:g1']);
  }
});

test('stripping removes every carrier of ours and nothing else', (t) => {
  t.deepEqual(
    carriers.strip(
      // prettier-ignore
      ['Accept', '*/*', 'atomesh-gid', 'g1', 'TX_XID', 'g1', 'atomesh-branch', '01', 'atomesh-op', 'commit',
        'tracestate', 'atomesh=g:g1', 'tracestate', 'atomesh=g:g1,a=1', 'baggage', 'atomesh.gid=g1,x=1', 'x-empty', ''],
    ),
    ['Accept', '*/*', 'tracestate', 'a=1', 'baggage', 'x=1', 'x-empty', ''],
  );
});

test('a mark from outside is its gid, and from inside it is read whole', (t) => {
  const headers = ['atomesh-gid', 'g1/01/try', 'tracestate', 'atomesh=g:g1'];
  t.deepEqual(carriers.read(headers, 'outside'), { kind: 'bound', mark: GID });
  t.deepEqual(carriers.read(headers, 'inside'), { kind: 'bound', mark: TRY });
  const two = ['atomesh-gid', 'g1/01/try', 'baggage', 'atomesh.gid=g1%2F02%2Ftry'];
  t.deepEqual(carriers.read(two, 'outside'), { kind: 'bound', mark: GID });
  t.deepEqual(carriers.read(two, 'inside'), {
    kind: 'fault',
    message: 'atomesh-gid and baggage name different operations',
  });
});

test('a mark is set in every carrier, aliases that are there included', (t) => {
  const { headers } = carriers.set(['dtm-gid', 'g1', 'TX_XID', ''], TRY);
  t.deepEqual(valuesOf(headers, 'atomesh-gid'), ['g1/01/try']);
  t.deepEqual(valuesOf(headers, 'dtm-gid'), ['g1/01/try']);
  t.deepEqual(valuesOf(headers, 'tx_xid'), ['']);
  t.deepEqual(valuesOf(headers, 'tracestate'), ['atomesh=g:g1/01/try']);
  t.deepEqual(carriers.read(headers, 'inside'), { kind: 'bound', mark: TRY });
  const left = carriers.set(headers, GID).headers;
  for (const name of ['atomesh-gid', 'dtm-gid']) t.deepEqual(valuesOf(left, name), ['g1']);
  t.false(left.some((text) => text.includes('try')));
});

test('the quick look never misses a carrier', (t) => {
  t.false(carriers.mayBeIn(['Accept', '*/*', 'tracestate', 'a=1', 'baggage', 'x=1', 'user-agent', 'x']));
  for (const headers of [
    ['Atomesh-Gid', 'g'],
    ['tx_xid', 'g'],
    ['x', '1', 'Tracestate', 'a=1, atomesh=g:g'],
    ['baggage', 'atomesh.gid=g'],
    ['ATOMESH-BRANCH', '01'],
    ['atomesh-op', 'commit'],
  ]) {
    t.true(carriers.mayBeIn(headers), headers.join(' '));
  }
});

test('the usual header is read and stripped also where another one is configured', (t) => {
  const own = openCarriers({ header: 'x-gid', aliases: [] }, () => '0'.repeat(15) + '1');
  t.true(own.mayBeIn(['Atomesh-Gid', 'g1']));
  t.deepEqual(own.read(['atomesh-gid', 'g1'], 'outside'), { kind: 'bound', mark: GID });
  t.is(own.read(['atomesh-gid', 'g1', 'x-gid', 'g2'], 'outside').kind, 'fault');
  t.deepEqual(own.strip(['atomesh-gid', 'g1', 'x-gid', 'g2', 'a', 'b']), ['a', 'b']);
  t.deepEqual(valuesOf(own.set(['atomesh-gid', 'g1'], TRY).headers, 'atomesh-gid'), ['g1/01/try']);
  t.deepEqual(valuesOf(own.set([], TRY).headers, 'x-gid'), ['g1/01/try']);
});

test('who begins goes on in a trace of its own, which names the outside one and keeps what was decided about sampling', (t) => {
  const before = ['traceparent', PARENT, 'tracestate', 'a=1,atomesh=g:old', 'baggage', 'x=1', 'dtm-gid', 'g1'];
  const { headers, traceId } = carriers.begin(before, TRY);
  t.not(traceId, TRACE);
  t.regex(valuesOf(headers, 'traceparent').join(), new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  t.deepEqual(valuesOf(headers, 'tracestate'), [`atomesh=g:g1/01/try;o:${TRACE}-00f067aa0ba902b7`]);
  t.deepEqual(valuesOf(headers, 'baggage'), ['atomesh.gid=g1%2F01%2Ftry,x=1']);
  t.deepEqual(carriers.read(headers, 'inside'), { kind: 'bound', mark: TRY });
  const fresh = carriers.begin(['tracestate', 'a=1'], GID).headers;
  t.deepEqual(valuesOf(fresh, 'tracestate'), ['atomesh=g:g1']);
  t.regex(valuesOf(fresh, 'traceparent').join(), /-01$/);
});

test('headers of no mark that start a trace anew stay headers of no mark', (t) => {
  const headers = carriers.restart(['Accept', '*/*', 'Traceparent', PARENT, 'Tracestate', 'a=1', 'baggage', 'x=1']);
  t.deepEqual(valuesOf(headers, 'tracestate'), [`atomesh=o:${TRACE}-00f067aa0ba902b7`]);
  t.is(valuesOf(headers, 'traceparent').length, 1);
  t.false(headers.some((text) => text.includes(`${TRACE}-00f067aa0ba902b7-`)));
  t.deepEqual([valuesOf(headers, 'accept'), valuesOf(headers, 'baggage')], [['*/*'], ['x=1']]);
  t.deepEqual(carriers.read(headers, 'inside'), { kind: 'none' });
});
