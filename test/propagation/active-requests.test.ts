import test from 'ava';
import { openActiveRequests } from '../../proxy/binding/active-requests.ts';
import type { BranchId, Gid, Instant, Mark } from '../../src/contract/transaction.ts';

const at = (ms: number): Instant => ms as Instant;
const A: Mark = { gid: 'a' as Gid };
const B: Mark = { gid: 'a' as Gid, operation: { branch: '01' as BranchId, task: 'try' } };

test('a trace names its mark until the last of its requests has ended', (t) => {
  const active = openActiveRequests();
  const first = active.add('t', A, at(0));
  const second = active.add('t', A, at(1));
  first?.();
  first?.();
  t.is(active.markOf('t', at(2)), A);
  second?.();
  t.is(active.markOf('t', at(3)), undefined);
  t.is(active.size, 0);
});

test('a trace that stands for two marks at once, though of one gid, is ambiguous, and names one again when the other has ended', (t) => {
  const active = openActiveRequests();
  active.add('t', A, at(0));
  const other = active.add('t', B, at(0));
  t.is(active.markOf('t', at(1)), 'ambiguous');
  other?.();
  t.is(active.markOf('t', at(2)), A);
});

test('a full map refuses another trace and still takes another request of a known one', (t) => {
  const active = openActiveRequests(2, 1000);
  active.add('t1', A, at(0));
  active.add('t2', A, at(0));
  t.is(active.add('t3', A, at(1)), undefined);
  t.not(active.add('t2', A, at(1)), undefined);
  t.is(active.size, 2);
});

test('a trace that nobody took back expires, unless it is used', (t) => {
  const active = openActiveRequests(2, 1000);
  const release = active.add('old', A, at(0));
  active.add('used', B, at(1));
  t.is(active.markOf('used', at(900)), B);
  t.is(active.markOf('old', at(1000)), undefined);
  t.is(active.markOf('used', at(1500)), B);
  active.add('old', B, at(1501));
  release?.();
  t.is(active.markOf('old', at(1502)), B);
});
