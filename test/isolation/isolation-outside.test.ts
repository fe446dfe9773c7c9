import type { Spec } from './spec.ts';
import { declareSpecs } from './suite.ts';

const QTY = 'SELECT qty FROM item WHERE id = 1';
const SHELVES = "SELECT string_agg(id || code, ' ' ORDER BY id) FROM shelf";
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
  {
    rule: `a writer outside frees no key to which a row that is taken back refers again, by the ${protocol} protocol`,
    sessions: {
      a: { gid: 'a', steps: ['BEGIN', 'DELETE FROM book WHERE id < 3', 'COMMIT', 'abort a'] },
      outside: { isThrough: true, protocol, steps: ['DELETE FROM shelf WHERE id = 1'] },
    },
    look: SHELVES,
    permitted: {
      'a: ok ok ok failed | outside: 23503 | 1x 2y': 'it is referred to still, or again',
      'a: ok ok ok failed | outside: 40001 | 1x 2y': 'it is given up while the foreign key waits',
    },
  },
  {
    rule: `a writer outside frees a key to which nobody refers any more, by the ${protocol} protocol`,
    sessions: {
      a: { gid: 'a', steps: ['UPDATE book SET shelf = 2 WHERE id < 3', 'submit a'] },
      outside: { isThrough: true, protocol, steps: ['BEGIN', 'UPDATE shelf SET id = 9 WHERE id = 1', 'COMMIT'] },
    },
    look: SHELVES,
    permitted: {
      'a: ok succeed | outside: ok ok ok | 2y 9x': 'behind the end',
      'a: ok succeed | outside: ok 23503 rollback | 1x 2y': 'it is referred to still',
    },
  },
]);

declareSpecs({
  major: 18,
  mode: 'undo',
  specs: SPECS,
  database: { writersOutside: 'wait' },
  kept: [/^a writer outside waits/, /^a block outside/],
});
