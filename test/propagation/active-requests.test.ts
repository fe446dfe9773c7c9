import test from 'ava';
import { openActiveRequests } from '../../proxy/binding/active-requests.ts';
import type { Gid, Instant } from '../../src/contract/transaction.ts';

const at = (ms: number): Instant => ms as Instant;
const A = 'a' as Gid;
const B = 'b' as Gid;

test('a trace names its gid until the last of its requests has ended', (t) => {
  const active = openActiveRequests();
  const first = active.add('t', A, at(0));
  const second = active.add('t', A, at(1));
  first?.();
  first?.();
  t.is(active.gidOf('t', at(2)), A);
  second?.();
  t.is(active.gidOf('t', at(3)), undefined);
  t.is(active.size, 0);
});

test('a trace that carries two gids at once names none, and one again when the other has ended', (t) => {
  const active = openActiveRequests();
  active.add('t', A, at(0));
  const other = active.add('t', B, at(0));
  t.is(active.gidOf('t', at(1)), undefined);
  other?.();
  t.is(active.gidOf('t', at(2)), A);
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
  t.is(active.gidOf('used', at(900)), B);
  t.is(active.gidOf('old', at(1000)), undefined);
  t.is(active.gidOf('used', at(1500)), B);
  active.add('old', B, at(1501));
  release?.();
  t.is(active.gidOf('old', at(1502)), B);
});
