/** References that are given up, and rows that go meanwhile to which they led. */
import type { Spec } from './spec.ts';

const LOOK =
  "SELECT concat_ws(' ', (SELECT string_agg(id || code, ' ' ORDER BY id) FROM shelf), (SELECT string_agg(id || '→' || coalesce(shelf::text, code, '?'), ' ' ORDER BY id) FROM book))";
const GONE = 'DELETE FROM book WHERE id < 3';
const SHELF_GONE = 'DELETE FROM shelf WHERE id = 1';

export const REFERENCE_SPECS: readonly Spec[] = [
  {
    rule: 'whoever deletes a row waits until it is known whether a row that was deleted refers to it again',
    sessions: {
      a: { gid: 'a', steps: ['BEGIN', GONE, 'COMMIT', 'abort a'] },
      b: { gid: 'b', steps: [SHELF_GONE, 'end b'] },
    },
    look: LOOK,
    permitted: {
      'a: ok ok ok failed | b: 23503 failed | 1x 2y 1→1 2→1 3→y': 'it is referred to still, or again',
    },
  },
  {
    rule: 'whoever deletes a row does so in the end where the row that referred to it is gone for good',
    sessions: {
      a: { gid: 'a', steps: [GONE, 'submit a'] },
      b: { gid: 'b', steps: ['BEGIN', SHELF_GONE, 'COMMIT', 'end b'] },
    },
    look: LOOK,
    permitted: {
      'a: ok succeed | b: ok ok ok succeed | 2y 3→y': 'nobody refers to it any more',
      'a: ok succeed | b: ok 23503 rollback failed | 1x 2y 3→y': 'it is referred to still',
    },
  },
  {
    rule: 'a key is not changed before it is known whether a row that was moved refers to it again',
    sessions: {
      a: { gid: 'a', steps: ['UPDATE book SET shelf = 2 WHERE id < 3', 'abort a'] },
      b: { gid: 'b', steps: ['UPDATE shelf SET id = 9 WHERE id = 1', 'end b'] },
    },
    look: LOOK,
    permitted: { 'a: ok failed | b: 23503 failed | 1x 2y 1→1 2→1 3→y': 'it is referred to still, or again' },
  },
  {
    rule: 'a key is not freed while an upsert that gave up a reference to it can be taken back',
    sessions: {
      a: {
        gid: 'a',
        steps: [
          'INSERT INTO book VALUES (1), (2), (4) ON CONFLICT (id) DO UPDATE SET shelf = excluded.shelf',
          'abort a',
        ],
      },
      b: { gid: 'b', steps: ['BEGIN', SHELF_GONE, 'COMMIT', 'end b'] },
    },
    look: LOOK,
    permitted: {
      'a: ok failed | b: ok 23503 rollback failed | 1x 2y 1→1 2→1 3→y': 'it is referred to still, or again',
    },
  },
  {
    rule: 'where the foreign key is looked at late, the key is not free at COMMIT either',
    sessions: {
      a: { gid: 'a', steps: ['DELETE FROM book WHERE id = 3', 'abort a'] },
      b: { gid: 'b', steps: ['BEGIN', "UPDATE shelf SET code = 'z' WHERE id = 2", 'COMMIT', 'end b'] },
    },
    look: LOOK,
    permitted: {
      'a: ok failed | b: ok ok 23503 failed | 1x 2y 1→1 2→1 3→y': 'it is referred to still, or again',
      'a: ok failed | b: ok ok 40001 failed | 1x 2y 1→1 2→1 3→y':
        'given up behind the change: only its COMMIT finds out',
    },
  },
  {
    rule: 'those who give up a reference to one row exclude neither each other nor a new reference nor an ordinary change of it',
    sessions: {
      a: { gid: 'a', steps: ['BEGIN', 'DELETE FROM book WHERE id = 1', 'COMMIT', 'abort a'] },
      b: { gid: 'b', steps: ['UPDATE book SET shelf = NULL WHERE id = 2', 'end b'] },
      c: { gid: 'c', steps: ['INSERT INTO book VALUES (4, 1)', 'end c'] },
      d: { gid: 'd', steps: ["UPDATE shelf SET id = 1, code = 'w' WHERE id = 1", 'end d'] },
    },
    orders: ['a a b c d a b c d a', 'c a a a b d d c a b', 'a b a c c d a b a d'],
    look: LOOK,
    permitted: {
      'a: ok ok ok failed | b: ok succeed | c: ok succeed | d: ok succeed | 1w 2y 1→1 2→? 3→y 4→1': 'nobody waits',
    },
  },
  {
    rule: 'under REPEATABLE READ a reference that was given up since the snapshot keeps its row too',
    sessions: {
      a: { gid: 'a', steps: [GONE, 'abort a'] },
      b: {
        gid: 'b',
        steps: ['BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM book', SHELF_GONE, 'COMMIT', 'end b'],
      },
    },
    look: LOOK,
    permitted: {
      'a: ok failed | b: ok 3 23503 rollback failed | 1x 2y 1→1 2→1 3→y': 'it is referred to still, or again',
      'a: ok failed | b: ok 1 23503 rollback failed | 1x 2y 1→1 2→1 3→y': 'it is referred to again',
      'a: ok failed | b: ok 3 ok 40001 failed | 1x 2y 1→1 2→1 3→y':
        'it is not, and the snapshot does not show the claim',
    },
  },
];
