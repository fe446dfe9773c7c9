import type { Spec } from './spec.ts';
import { declareSpecs } from './suite.ts';

const QTY = 'SELECT qty FROM item WHERE id = 1';
const ADD = 'UPDATE item SET qty = qty + 10 WHERE id = 1';
const ADD_100 = 'UPDATE item SET qty = qty + 100 WHERE id = 1';

/** Writers outside any global transaction that wait for row locks. */
const SPECS: readonly Spec[] = (['simple', 'extended'] as const).flatMap((protocol): readonly Spec[] => [
  {
    rule: `a writer outside waits for a rollback and goes on from what was there before, by the ${protocol} protocol`,
    sessions: {
      a: { gid: 'a', steps: [ADD, 'abort a'] },
      outside: { isThrough: true, protocol, steps: [ADD_100] },
    },
    look: QTY,
    permitted: { 'a: ok failed | outside: ok | 101': 'what was taken back was never added to' },
  },
  {
    rule: `a writer outside adds to what was committed, by the ${protocol} protocol`,
    sessions: {
      a: { gid: 'a', steps: [ADD, 'submit a'] },
      outside: { isThrough: true, protocol, steps: [ADD_100] },
    },
    look: QTY,
    permitted: { 'a: ok succeed | outside: ok | 111': 'one after the other' },
  },
  {
    rule: `a block outside keeps no rollback from its end, by the ${protocol} protocol`,
    sessions: {
      a: { gid: 'a', steps: ['BEGIN', ADD, 'COMMIT', 'abort a'] },
      outside: { isThrough: true, protocol, steps: ['BEGIN', ADD_100, 'COMMIT'] },
    },
    look: QTY,
    permitted: { 'a: ok ok ok failed | outside: ok ok ok | 101': 'one waits for the other, whichever comes first' },
  },
]);

declareSpecs({
  major: 18,
  mode: 'undo',
  specs: SPECS,
  database: { writersOutside: 'wait' },
  kept: [/^a writer outside waits/, /^a block outside/],
});
