import test from 'ava';
import fc from 'fast-check';
import {
  markFromBaggage,
  markFromTracestate,
  newTraceparent,
  parseTraceparent,
  withBaggage,
  withoutBaggage,
  withoutTracestate,
  withTracestate,
} from '../../src/contract/propagation.ts';
import { parseMark, type Gid, type Mark } from '../../src/contract/transaction.ts';

const GID: Mark = { gid: 'a{1}:b.c_d-e' as Gid };
const TRY = parseMark('a{1}/01/try');
const marks = fc
  .tuple(
    fc.stringMatching(/^[A-Za-z0-9._:{}-]{1,128}$/),
    fc.constantFrom('', '/01/try', '/0102/compensate', '/00/run12', '/00/msg'),
  )
  .map((parts) => parseMark(parts.join('')))
  .filter((mark) => mark !== undefined);

test('our tracestate entry is leftmost and an older one of ours is gone', (t) => {
  t.is(withTracestate(undefined, GID), 'atomesh=g:a{1}:b.c_d-e');
  t.is(withTracestate('other=1, atomesh=g:old ,x@y=2', GID), 'atomesh=g:a{1}:b.c_d-e,other=1,x@y=2');
});

test('inside a service the carriers hold the operation that is served', (t) => {
  if (TRY === undefined) return t.fail('a mark has this form');
  t.is(withTracestate('a=1', TRY), 'atomesh=g:a{1}/01/try,a=1');
  t.is(withBaggage(undefined, TRY), 'atomesh.gid=a%7B1%7D%2F01%2Ftry');
  t.deepEqual(markFromTracestate('atomesh=g:a{1}/01/try;x:1'), TRY);
  t.is(markFromTracestate('atomesh=g:a{1}/01/rollback'), undefined);
});

test('a tracestate never has more than 32 members, and the rightmost go first', (t) => {
  const full = Array.from({ length: 32 }, (_, index) => `k${index}=v`).join(',');
  const members = withTracestate(full, GID).split(',');
  t.is(members.length, 32);
  t.is(members.at(-1), 'k30=v');
});

test('a key that only looks like ours is left alone', (t) => {
  const value = 'atomeshx=g:1,xatomesh=g:2,tenant@atomesh=g:3';
  t.is(markFromTracestate(value), undefined);
  t.is(withoutTracestate(value), value);
  t.is(markFromBaggage('atomesh.gidx=1,xatomesh.gid=2'), undefined);
});

test('what does not parse in tracestate or baggage counts as absent', (t) => {
  for (const value of ['', ',,', '=', 'atomesh', 'atomesh=', 'atomesh=x', 'atomesh=g:', 'atomesh=g:a b', '\u0000']) {
    t.is(markFromTracestate(value), undefined, value);
  }
  for (const value of ['', 'atomesh.gid', 'atomesh.gid=', 'atomesh.gid=%', 'atomesh.gid=%ff', 'atomesh.gid=a%20b']) {
    t.is(markFromBaggage(value), undefined, value);
  }
});

test('baggage is percent-encoded, and its properties are ignored', (t) => {
  t.is(withBaggage('user=1;secret', GID), 'atomesh.gid=a%7B1%7D%3Ab.c_d-e,user=1;secret');
  t.deepEqual(markFromBaggage('user=1, atomesh.gid = a%7B1%7D%3Ab.c_d-e ; ttl=3'), GID);
  t.is(withoutBaggage('a=1,atomesh.gid=x,b=2'), 'a=1,b=2');
});

test('baggage stays within 64 members and 8192 bytes', (t) => {
  const many = Array.from({ length: 100 }, (_, index) => `k${index}=v`).join(',');
  t.is(withBaggage(many, GID).split(',').length, 64);
  const long = Array.from({ length: 10 }, (_, index) => `k${index}=${'v'.repeat(1000)}`).join(',');
  const cut = withBaggage(long, GID);
  t.true(cut.length <= 8192);
  t.deepEqual(markFromBaggage(cut), GID);
});

test('every mark survives both carriers, whatever else they hold', (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  fc.assert(
    fc.property(marks, fc.string(), (mark, noise) => {
      t.deepEqual(markFromTracestate(withTracestate(noise, mark)), mark);
      t.deepEqual(markFromBaggage(withBaggage(noise, mark)), mark);
      t.regex(withTracestate(undefined, mark), /^atomesh=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}$/);
      t.regex(withBaggage(undefined, mark), /^atomesh\.gid=[A-Za-z0-9._~%-]+$/);
      t.is(markFromTracestate(withoutTracestate(withTracestate(noise, mark))), undefined);
      t.is(markFromBaggage(withoutBaggage(withBaggage(noise, mark))), undefined);
    }),
    { seed },
  );
});

test('a traceparent is read as W3C Trace Context says', (t) => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const parent = '00f067aa0ba902b7';
  t.deepEqual(parseTraceparent(`00-${trace}-${parent}-01`), { traceId: trace, parentId: parent, sampled: true });
  t.is(parseTraceparent(`00-${trace}-${parent}-02`)?.sampled, false);
  t.is(parseTraceparent(`cc-${trace}-${parent}-01-what-the-future-holds`)?.traceId, trace);
  t.is(parseTraceparent(newTraceparent(trace, parent))?.parentId, parent);
  for (const bad of [
    '',
    `00-${trace}-${parent}`,
    `00-${trace}-${parent}-01-more`,
    `ff-${trace}-${parent}-01`,
    `00-${trace.toUpperCase()}-${parent}-01`,
    `00-${'0'.repeat(32)}-${parent}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace}-${parent}-1`,
  ]) {
    t.is(parseTraceparent(bad), undefined, bad);
  }
});
