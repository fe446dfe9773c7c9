import type { Spec } from './spec.ts';
import { declareSpecs } from './suite.ts';

const LOOK = "SELECT string_agg(id || code, ' ' ORDER BY id) FROM shelf";
const GONE = 'DELETE FROM book WHERE id < 3';
/** Of a function that is volatile nobody knows what it changes: the local transaction is prepared. */
const SHELF_GONE = 'DELETE FROM shelf WHERE id = 1 AND calm()';

/** Changes without row images, and references that are given up. */
const SPECS: readonly Spec[] = [
  {
    rule: 'a change that escalates frees no key to which a row that is taken back refers again',
    sessions: {
      a: { gid: 'a', steps: ['BEGIN', GONE, 'COMMIT', 'abort a'] },
      b: { gid: 'b', steps: [SHELF_GONE, 'end b'] },
    },
    look: LOOK,
    permitted: {
      'a: ok ok ok failed | b: 23503 failed | 1x 2y': 'it is referred to still, or again',
      'a: ok ok ok failed | b: 40001 failed | 1x 2y':
        'it was given up while the foreign key waited: preparing finds out',
    },
  },
  {
    rule: 'a change that escalates frees a key to which nobody refers any more',
    sessions: {
      a: { gid: 'a', steps: ['UPDATE book SET shelf = NULL WHERE id < 3', 'submit a'] },
      b: { gid: 'b', steps: ['BEGIN', SHELF_GONE, 'COMMIT', 'end b'] },
    },
    look: LOOK,
    permitted: {
      'a: ok succeed | b: ok ok ok succeed | 2y': 'behind the end',
      'a: ok succeed | b: ok 23503 rollback failed | 1x 2y': 'it is referred to still',
    },
  },
];

declareSpecs({ major: 18, mode: 'undo', specs: SPECS, database: { escalate: 'xa' }, kept: [] });
