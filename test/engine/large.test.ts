/** Transactions of very many steps: what one event costs grows with their number, not with its square. */
import test from 'ava';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { happened, reply, started, stepsOf } from './sample.ts';

const STEPS = 20_000;
/** With the square of the number it would be minutes. */
const MS_MAX = 5000;

function many(step: string, order?: readonly (readonly number[])[]): () => GlobalTransaction {
  const steps = stepsOf(...Array.from({ length: STEPS }, () => step));
  return () => started('saga', 'submitted', { steps, ...(order === undefined ? {} : { order }) });
}

const indexes = Array.from({ length: STEPS }, (_, index) => index);
const backwards = indexes.map((index) => (index === STEPS - 1 ? [] : [index + 1]));
const funnel = indexes.map((index) => (index === STEPS - 1 ? indexes.slice(0, -1) : []));

for (const [name, order] of [
  ['one after another', undefined],
  ['from the last to the first', backwards],
  ['one after all others', funnel],
] as const) {
  test(`steps without an action are passed at once, ${name}`, (t) => {
    const begin = performance.now();
    t.is(many('c', order)().status, 'succeed');
    t.true(performance.now() - begin < MS_MAX, `${performance.now() - begin} ms`);
  });

  test(`steps without a compensation are passed at once, ${name}`, (t) => {
    const first = many('a', order)();
    const last = name === 'from the last to the first' ? 0 : STEPS - 1;
    const state = {
      ...first,
      branches: first.branches.map((branch, index) =>
        index === last ? branch : { ...branch, status: 'succeed' as const, action: 'succeed' as const },
      ),
    };
    const begin = performance.now();
    t.is(happened(state, [reply(first.branches[last]?.id ?? '', 'action', 'failure')]).status, 'failed');
    t.true(performance.now() - begin < MS_MAX, `${performance.now() - begin} ms`);
  });
}
