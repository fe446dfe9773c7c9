/** Interleavings of global transactions with each other, with their own end, and with writers outside. */
import { emptied } from '../sql/emptied.ts';
import type { Spec } from './spec.ts';

export const SCHEMA = `
  CREATE TABLE item (id int PRIMARY KEY, code text UNIQUE, qty int NOT NULL);
  CREATE TABLE part (id int PRIMARY KEY, item int NOT NULL REFERENCES item);
  CREATE TABLE shelf (id int PRIMARY KEY, code text UNIQUE);
  CREATE TABLE book (id int PRIMARY KEY, shelf int REFERENCES shelf, code text REFERENCES shelf (code) DEFERRABLE INITIALLY DEFERRED);
  CREATE FUNCTION calm() RETURNS bool LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN true; END';`;

export const DATA = `
  ${emptied(['item', 'part', 'shelf', 'book'])}
  INSERT INTO item VALUES (1, 'a', 1), (2, 'b', 2);
  INSERT INTO shelf VALUES (1, 'x'), (2, 'y');
  INSERT INTO book VALUES (1, 1, NULL), (2, 1, NULL), (3, NULL, 'y');`;

const QTY = 'SELECT qty FROM item WHERE id = 1';
const ALL = "SELECT string_agg(id || code || qty, ' ' ORDER BY id) FROM item";
const ADD = 'UPDATE item SET qty = qty + 10 WHERE id = 1';
const ADD_100 = 'UPDATE item SET qty = qty + 100 WHERE id = 1';

const SUSPENSION: readonly Spec[] = (['simple', 'extended'] as const).map((protocol) => ({
  rule: `nothing of a block takes effect behind its rollback, by the ${protocol} protocol`,
  sessions: {
    app: { gid: 'g', protocol, steps: ['BEGIN', ADD, 'COMMIT'] },
    end: { steps: ['abort g'] },
  },
  look: QTY,
  permitted: {
    'app: ok ok ok | end: failed | 1': 'undone',
    'app: ok ok 40000 | end: failed | 1': 'the COMMIT comes too late',
    'app: ok 40000 rollback | end: failed | 1': 'the statement comes too late',
  },
}));

export const SPECS: readonly Spec[] = [
  ...SUSPENSION,
  {
    rule: 'nothing of a statement of its own takes effect behind its rollback',
    sessions: { app: { gid: 'g', steps: [ADD] }, end: { steps: ['abort g'] } },
    look: QTY,
    permitted: {
      'app: ok | end: failed | 1': 'undone',
      'app: 40000 | end: failed | 1': 'too late',
    },
  },
  {
    rule: 'a block that is open when its global transaction commits is not a part of it',
    sessions: { app: { gid: 'g', steps: ['BEGIN', ADD, 'COMMIT'] }, end: { steps: ['submit g'] } },
    look: QTY,
    permitted: {
      'app: ok ok ok | end: succeed | 11': 'committed before',
      'app: ok ok 40000 | end: succeed | 1': 'the COMMIT comes too late',
      'app: ok 40000 rollback | end: succeed | 1': 'the statement comes too late',
    },
  },
  {
    rule: 'a block waits for the end of another one on the same row, whichever comes first and however they end',
    sessions: { a: { gid: 'a', steps: ['BEGIN', ADD, 'COMMIT', 'end a'] }, b: { gid: 'b', steps: [ADD_100, 'end b'] } },
    look: QTY,
    permitted: {
      'a: ok ok ok succeed | b: ok succeed | 111': 'one after the other',
    },
  },
  {
    rule: 'a statement waits for the rollback of the holder of its row and goes on from what was there before',
    sessions: {
      a: { gid: 'a', steps: [ADD, 'abort a'] },
      b: { gid: 'b', steps: ['BEGIN', ADD_100, 'COMMIT', 'end b'] },
    },
    look: QTY,
    permitted: {
      'a: ok failed | b: ok ok ok succeed | 101': 'what was taken back was never added to',
    },
  },
  {
    rule: 'a rollback takes nothing back that another global transaction has written since',
    sessions: { a: { gid: 'a', steps: [ADD, 'submit a'] }, b: { gid: 'b', steps: [ADD_100, 'abort b'] } },
    look: QTY,
    permitted: {
      'a: ok succeed | b: ok failed | 11': 'what was committed stays',
    },
  },
  {
    rule: 'what a writer outside has changed is not overwritten by a rollback',
    sessions: {
      a: { gid: 'a', steps: [ADD, 'abort a'] },
      foreign: { steps: ['UPDATE item SET qty = 50 WHERE id = 1'] },
    },
    look: QTY,
    permitted: {
      'a: ok failed | foreign: ok | 50': 'written before or behind',
      'a: ok dirty | foreign: ok | 50': 'written in between: an operator decides',
    },
  },
  {
    rule: 'a dirty branch does not roll back by itself when the row is again as the branch has left it',
    sessions: {
      a: { gid: 'a', steps: [ADD, 'abort a'] },
      foreign: { steps: ['UPDATE item SET qty = 50 WHERE id = 1', 'UPDATE item SET qty = 11 WHERE id = 1'] },
    },
    look: QTY,
    permitted: {
      'a: ok failed | foreign: ok ok | 11': 'written before or behind',
      'a: ok dirty | foreign: ok ok | 11': 'an operator decides',
      'a: ok failed | foreign: ok ok | 1': 'written twice in between: it is as the branch has left it, or once before',
    },
  },
  {
    rule: 'a rollback waits for a writer outside, and goes on when that takes its change back',
    sessions: {
      a: { gid: 'a', steps: [ADD, 'abort a'] },
      foreign: { steps: ['BEGIN', 'UPDATE item SET qty = 50 WHERE id = 1', 'ROLLBACK'] },
    },
    look: QTY,
    permitted: { 'a: ok failed | foreign: ok ok ok | 1': 'as if it had not been there' },
  },
  {
    rule: 'local transactions of one global transaction on one row are taken back together',
    sessions: {
      one: { gid: 'g', steps: ['BEGIN', ADD, 'COMMIT'] },
      two: { gid: 'g', steps: [ADD_100] },
      end: { steps: ['abort g'] },
    },
    look: QTY,
    permitted: {
      'one: ok ok ok | two: ok | end: failed | 1': 'both undone',
      'one: ok ok ok | two: 40000 | end: failed | 1': 'the second comes too late',
      'one: ok ok 40000 | two: ok | end: failed | 1': 'the COMMIT comes too late',
      'one: ok ok 40000 | two: 40000 | end: failed | 1': 'both come too late',
      'one: ok 40000 rollback | two: ok | end: failed | 1': 'the block comes too late',
      'one: ok 40000 rollback | two: 40000 | end: failed | 1': 'both come too late',
    },
  },
  {
    rule: 'of two rows of a branch none is restored when one of them was changed outside',
    sessions: {
      a: { gid: 'a', steps: ['UPDATE item SET qty = qty + 10', 'abort a'] },
      foreign: { steps: ['UPDATE item SET qty = 50 WHERE id = 2'] },
    },
    look: ALL,
    permitted: {
      'a: ok failed | foreign: ok | 1a1 2b50': 'written before or behind',
      'a: ok dirty | foreign: ok | 1a11 2b50': 'all or nothing is restored',
    },
  },
  {
    rule: 'under REPEATABLE READ a row that changed since the snapshot is the error that the server has for it',
    sessions: {
      a: { gid: 'a', steps: ['BEGIN ISOLATION LEVEL REPEATABLE READ', QTY, ADD, 'COMMIT', 'end a'] },
      b: { gid: 'b', steps: [ADD_100, 'end b'] },
    },
    look: QTY,
    permitted: {
      'a: ok 1 ok ok succeed | b: ok succeed | 111': 'b comes behind',
      'a: ok 1 40001 rollback failed | b: ok succeed | 101': 'b comes in between',
      'a: ok 101 ok ok succeed | b: ok succeed | 111': 'b comes first',
    },
  },
  {
    rule: 'under SERIALIZABLE two blocks that read what the other writes do not both commit',
    sessions: {
      a: {
        gid: 'a',
        steps: [
          'BEGIN ISOLATION LEVEL SERIALIZABLE',
          'SELECT sum(qty) FROM item',
          'UPDATE item SET qty = 0 WHERE id = 1',
          'COMMIT',
          'end a',
        ],
      },
      b: {
        gid: 'b',
        steps: [
          'BEGIN ISOLATION LEVEL SERIALIZABLE',
          'SELECT sum(qty) FROM item',
          'UPDATE item SET qty = 0 WHERE id = 2',
          'COMMIT',
          'end b',
        ],
      },
    },
    orders: [
      'a b a b a b a b a b',
      'a b a b a a a b b b',
      'a b a b b b b a a a',
      'a a a a a b b b b b',
      'a a a b b b b a a b',
    ],
    look: ALL,
    permitted: {
      'a: ok 3 ok ok succeed | b: ok 3 ok 40001 failed | 1a0 2b2': 'a is first',
      'a: ok 3 ok ok succeed | b: ok 3 40001 rollback failed | 1a0 2b2': 'a is first',
      'a: ok 3 40001 rollback failed | b: ok 3 ok ok succeed | 1a1 2b0': 'b is first',
      'a: ok 3 ok 40001 failed | b: ok 3 ok ok succeed | 1a1 2b0': 'b is first',
      'a: ok 3 ok ok succeed | b: ok 2 ok ok succeed | 1a0 2b0': 'one after the other',
      'a: ok 3 ok 40001 failed | b: ok 3 ok 40001 failed | 1a1 2b2': 'maybe: a server may refuse more than it must',
      'a: ok 3 40001 rollback failed | b: ok 3 ok 40001 failed | 1a1 2b2': 'maybe: likewise',
      'a: ok 3 ok 40001 failed | b: ok 3 40001 rollback failed | 1a1 2b2': 'maybe: likewise',
      'a: ok 3 ok ok succeed | b: ok 2 ok 40001 failed | 1a0 2b2': 'maybe: likewise',
      'a: ok 3 ok ok succeed | b: ok 2 40001 rollback failed | 1a0 2b2': 'maybe: likewise',
    },
  },
  {
    rule: 'a unique value that was given up is free for nobody before the end',
    sessions: {
      a: { gid: 'a', steps: ["UPDATE item SET code = 'free' WHERE id = 1", 'abort a'] },
      b: { gid: 'b', steps: ["INSERT INTO item VALUES (3, 'a', 3)", 'end b'] },
    },
    look: ALL,
    permitted: {
      'a: ok failed | b: 23505 failed | 1a1 2b2': 'it was never free',
    },
  },
  {
    rule: 'the key of a deleted row is free for nobody before the end',
    sessions: {
      a: { gid: 'a', steps: ['DELETE FROM item WHERE id = 2', 'abort a'] },
      b: { gid: 'b', steps: ["INSERT INTO item VALUES (2, 'x', 3)", 'end b'] },
    },
    look: ALL,
    permitted: {
      'a: ok failed | b: 23505 failed | 1a1 2b2': 'it was never free',
    },
  },
  {
    rule: 'a row does not stay without the parent that is taken back',
    sessions: {
      a: { gid: 'a', steps: ["INSERT INTO item VALUES (3, 'c', 3)", 'abort a'] },
      b: { gid: 'b', steps: ['INSERT INTO part VALUES (1, 3)', 'end b'] },
    },
    look: "SELECT string_agg(p.id || '→' || coalesce(i.code, '?'), ' ') FROM part p LEFT JOIN item i ON i.id = p.item",
    permitted: {
      'a: ok failed | b: 23503 failed | null': 'it was not there yet, or is taken back',
    },
  },
  {
    rule: 'whoever refers to a deleted row waits until it is known whether it is gone',
    sessions: {
      a: { gid: 'a', steps: ['DELETE FROM item WHERE id = 2', 'abort a'] },
      b: { gid: 'b', steps: ['INSERT INTO part VALUES (1, 2)', 'end b'] },
    },
    look: "SELECT string_agg(p.id || '→' || coalesce(i.code, '?'), ' ') FROM part p LEFT JOIN item i ON i.id = p.item",
    permitted: {
      'a: ok failed | b: ok succeed | 1→b': 'it is back',
      'a: 23503 failed | b: ok succeed | 1→b': 'it is in use',
    },
  },
  {
    rule: 'blocks that want two rows crosswise do not wait for ever',
    sessions: {
      a: { gid: 'a', steps: ['BEGIN', ADD, 'UPDATE item SET qty = qty + 10 WHERE id = 2', 'COMMIT', 'end a'] },
      b: { gid: 'b', steps: ['BEGIN', 'UPDATE item SET qty = qty + 100 WHERE id = 2', ADD_100, 'COMMIT', 'end b'] },
    },
    orders: ['a b a b a b a b a b', 'a a b b a b a b a b', 'a b b a b a b a b a'],
    look: ALL,
    permitted: {
      'a: ok ok 40P01 rollback failed | b: ok ok ok ok succeed | 1a101 2b102': 'maybe the server chooses a',
      'a: ok ok ok ok succeed | b: ok ok 40P01 rollback failed | 1a11 2b12': 'maybe the server chooses b',
    },
  },
  {
    rule: 'a locking read inside a global transaction does not see what another one may yet take back',
    sessions: {
      a: { gid: 'a', steps: [ADD, 'abort a'] },
      b: { gid: 'b', steps: ['BEGIN', `${QTY} FOR UPDATE`, 'COMMIT', 'end b'] },
    },
    look: QTY,
    permitted: {
      'a: ok failed | b: ok 1 ok succeed | 1': 'what was taken back was never read',
    },
  },
];
