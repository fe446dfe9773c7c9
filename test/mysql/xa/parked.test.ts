import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import { ParkedBranches } from '../../../proxy/mysql/xa/parked.ts';
import type { ParkedConnection, Said } from '../../../proxy/mysql/xa/parked-connection.ts';

interface Stub extends ParkedConnection {
  readonly said: readonly string[];
  answer(said: Said): void;
}

function connection(): Stub {
  const said: string[] = [];
  const answered = Promise.withResolvers<Said>();
  const closed = Promise.withResolvers<void>();
  return {
    said,
    answer: answered.resolve,
    say(sql) {
      said.push(sql);
      return answered.promise;
    },
    close: () => closed.resolve(),
    closed: closed.promise,
  };
}

test('of a commit and a rollback at once one is carried out, and none while the branch is being prepared', async (t) => {
  const parked = new ParkedBranches();
  const own = connection();
  const place = parked.reserve('x');
  t.is(await parked.end('COMMIT', 'x'), 'busy');
  place.park(own);
  place.giveUp();
  const [commit, rollback] = [parked.end('COMMIT', 'x'), parked.end('ROLLBACK', 'x')];
  t.is(await rollback, 'busy');
  own.answer('ok');
  t.is(await commit, 'ended');
  t.deepEqual(own.said, ['XA COMMIT x']);
  await own.closed;
  t.is(await parked.end('ROLLBACK', 'x'), 'elsewhere');
});

test('a branch that something of the server is in the way of stays where it is, another error closes its connection', async (t) => {
  const parked = new ParkedBranches();
  for (const [errno, size] of [
    [1205, 1],
    [1399, 0],
  ] as const) {
    const own = connection();
    parked.reserve('x').park(own);
    own.answer({ errno });
    t.is(await parked.end('COMMIT', 'x'), 'busy');
    t.is(parked.size, size);
    parked.close();
    await own.closed;
  }
});

test('a branch whose connection was closed just now is left until the server has let go of it', async (t) => {
  const parked = new ParkedBranches();
  const own = connection();
  parked.reserve('x').park(own);
  own.close();
  await own.closed;
  const from = performance.now();
  let ended: string | undefined;
  void parked.end('COMMIT', 'x').then((how) => (ended = how));
  t.is(await until('it is free', () => Promise.resolve(ended)), 'elsewhere');
  // Timers are a little early.
  t.true(performance.now() - from > 250);
  t.deepEqual(own.said, []);
});

test('of more than may be kept the oldest are closed', async (t) => {
  const parked = new ParkedBranches();
  const own = Array.from({ length: 60 }, connection);
  for (const [index, each] of own.entries()) parked.reserve(String(index)).park(each);
  t.is(parked.size, 50);
  await Promise.all(own.slice(0, 10).map((each) => each.closed));
  parked.close();
  await Promise.all(own.map((each) => each.closed));
  t.is(parked.size, 0);
});
