import test from 'ava';
import fc from 'fast-check';
import { orderFault } from '../../src/engine/order.ts';
import { happened, reply, started, stepsOf } from './sample.ts';

test('an order without faults has none', (t) => {
  for (const [order, steps] of [
    [[], 0],
    [[], 3],
    [[[], [0], [0, 1]], 3],
    [[[2], [2]], 3],
    [[[], [0, 0]], 2],
  ] as const) {
    t.is(orderFault(order, steps), undefined, JSON.stringify(order));
  }
});

test('circles, strangers and too many entries are named', (t) => {
  for (const [order, steps, fault] of [
    [[[0]], 1, /step 0 waits in a circle/],
    [[[1], [0]], 2, /step 0 waits in a circle/],
    [[[], [2], [3], [1]], 4, /step 1 waits in a circle/],
    [[[], [2]], 2, /step 1 comes after step 2, which does not exist/],
    [[[-1]], 1, /after step -1/],
    [[[0.5]], 1, /after step 0.5/],
    [[[], [], []], 2, /step 2 has an order, and the last step is 1/],
  ] as const) {
    t.regex(orderFault(order, steps) ?? '', fault);
  }
});

const order = fc.array(fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }), { maxLength: 6 });

test('an order has no fault exactly when a saga of such steps comes to its end', (t) => {
  fc.assert(
    fc.property(order, (wanted) => {
      let state = started('saga', 'submitted', { steps: stepsOf('a', 'a', 'a', 'a', 'a', 'a'), order: wanted });
      for (let round = 0; round < 6; round += 1) {
        state = happened(
          state,
          state.branches.map(({ id }) => reply(id, 'action', 'success')),
        );
      }
      return (state.status === 'succeed') === (orderFault(wanted, 6) === undefined);
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('an order of ten thousand steps is judged at once', (t) => {
  const chain = Array.from({ length: 10_000 }, (_, index) => (index === 0 ? [] : [index - 1]));
  t.is(orderFault(chain, 10_000), undefined);
});
