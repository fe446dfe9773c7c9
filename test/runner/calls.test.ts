import test from 'ava';
import type { Instant } from '../../src/contract/transaction.ts';
import { CallQueue } from '../../src/runner/calls.ts';
import { Time } from '../simulation/time.ts';
import { Wakes } from '../../src/runner/wakes.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { Random } from '../simulation/random.ts';

/** A queue whose calls end when the test says so. */
function open(total: number) {
  const started: string[] = [];
  const ends: (() => void)[] = [];
  const queue = new CallQueue<string>(total, (item) => {
    started.push(item);
    return new Promise((resolve) => ends.push(resolve));
  });
  const end = async (index: number): Promise<void> => {
    ends[index]?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { queue, started, end };
}

test('no destination gets more than a quarter of the calls', async (t) => {
  const { queue, started, end } = open(8);
  for (let call = 0; call < 5; call += 1) queue.add('http://dead/commit', `dead ${call}`);
  queue.add('http://well/commit', 'well');
  t.deepEqual(started, ['dead 0', 'dead 1', 'well']);
  t.is(queue.inFlight, 3);
  await end(2);
  t.is(queue.inFlight, 2, 'a place elsewhere is none for it');
  await end(0);
  t.deepEqual(started, ['dead 0', 'dead 1', 'well', 'dead 2']);
});

test('a destination is a host, however its calls are addressed', async (t) => {
  const { queue, started } = open(4);
  for (const url of [
    'a:1/pkg.Service/In',
    'a:1/pkg.Service/Out',
    'b:1/pkg.Service/In',
    'http://b:1/in',
    'http://c:1?x=/y/z',
  ]) {
    queue.add(url, url);
  }
  t.deepEqual(started, ['a:1/pkg.Service/In', 'b:1/pkg.Service/In', 'http://c:1?x=/y/z']);
});

test('a free place goes to each destination in its turn, within one in order', async (t) => {
  const { queue, started, end } = open(4);
  for (const host of ['a', 'b', 'c', 'd', 'e']) {
    for (const number of [1, 2]) queue.add(`http://${host}/x`, `${host}${number}`);
  }
  for (let index = 0; index < 9; index += 1) await end(index);
  t.deepEqual(started.slice(0, 4), ['a1', 'b1', 'c1', 'd1']);
  t.is(new Set(started.slice(4, 8).map((item) => item[0])).size, 4);
  t.is(started.length, 10);
  for (const host of ['a', 'b', 'c', 'd', 'e']) t.true(started.indexOf(`${host}1`) < started.indexOf(`${host}2`));
});

test('a closed queue starts nothing more', async (t) => {
  const { queue, started, end } = open(1);
  queue.add('http://a/x', 'first');
  queue.add('http://a/x', 'second');
  t.deepEqual(queue.close(), ['second'], 'and says what it has not started');
  queue.add('http://b/x', 'third');
  await end(0);
  t.deepEqual(started, ['first']);
  t.is(queue.inFlight, 0);
});

test('wakes come in the order of their instants; set again they move, removed they do not come', async (t) => {
  const time = new Time();
  const random = new Random(7);
  const rung: (readonly [Gid, number])[] = [];
  const wakes = new Wakes({ now: () => time.now as Instant, at: (at, run) => time.at(at, run) }, (gid) =>
    rung.push([gid, time.now]),
  );
  const expected = new Map<Gid, number>();
  for (let step = 0; step < 3000; step += 1) {
    const gid = `g${random.between(0, 400)}` as Gid;
    if (random.chance(0.3)) {
      wakes.remove(gid);
      expected.delete(gid);
    } else {
      const at = time.now + random.between(1, 100_000);
      wakes.set(gid, at as Instant);
      expected.set(gid, at);
    }
  }
  await time.run(time.now + 200_000, () => false);
  t.is(rung.length, expected.size);
  t.deepEqual(Object.fromEntries(rung), Object.fromEntries(expected));
  t.deepEqual(
    rung.map(([, at]) => at),
    [...expected.values()].sort((a, b) => a - b),
  );
});
