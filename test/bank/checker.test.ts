import test from 'ava';
import { check } from './check.ts';
import type { Attempt, History, Operation } from './history.ts';

const move = (account: string, amount: number): Operation => ({ kind: 'move', account, amount });
const append = (key: string, value: number): Operation => ({ kind: 'append', key, value });
const read = (key: string, ...items: readonly number[]): Operation => ({ kind: 'read', key, items });

function attempt(gid: string, operations: readonly Operation[], told: Attempt['told'] = 'committed'): Attempt {
  return { gid, told, operations };
}

const GOOD: History = {
  attempts: [
    attempt('pay', [move('a', -5), move('b', 5)]),
    attempt('no', [move('a', -9), append('x', 9)], 'rolled back'),
    attempt('look', [{ kind: 'total', total: 20 }], 'unknown'),
    attempt('one', [read('x'), append('x', 1), read('x', 1), append('y', 1)]),
    attempt('two', [read('x', 1), append('x', 2), append('y', 2)]),
    attempt('three', [read('y', 1, 2), read('x', 1, 2)], 'rolled back'),
  ],
  ended: new Map([
    ['pay', 'succeed'],
    ['no', 'failed'],
    ['look', 'succeed'],
    ['one', 'succeed'],
    ['two', 'succeed'],
    ['three', 'failed'],
  ]),
  balanceAtFirst: 10,
  accounts: [
    { account: 'a', version: 1, balance: 5 },
    { account: 'b', version: 1, balance: 15 },
  ],
  movements: [
    { gid: 'pay', account: 'a', amount: -5, version: 1, balance: 5 },
    { gid: 'pay', account: 'b', amount: 5, version: 1, balance: 15 },
  ],
  lists: new Map([
    ['x', [1, 2]],
    ['y', [1, 2]],
  ]),
  leftovers: [],
};

test('a history in which all is as promised has no fault', (t) => {
  t.deepEqual(check(GOOD), []);
});

function ending(...changes: readonly (readonly [string, string])[]): Partial<History> {
  return { ended: new Map([...GOOD.ended, ...changes]) };
}

function lists(changes: Readonly<Record<string, readonly number[]>>): Partial<History> {
  return { lists: new Map([...GOOD.lists, ...Object.entries(changes)]) };
}

function also(...attempts: readonly Attempt[]): Partial<History> {
  return {
    attempts: [...GOOD.attempts, ...attempts],
    ended: new Map([...GOOD.ended, ...attempts.map(({ gid }) => [gid, 'succeed'] as const)]),
  };
}

/** What is wrong, and how the checker must say so. */
const BAD: Readonly<Record<string, readonly [Partial<History>, RegExp]>> = {
  'a global transaction that does not end': [ending(['look', 'dirty']), /look did not end: it is dirty/],
  'one that nobody knows any more': [{ ended: new Map([...GOOD.ended].slice(1)) }, /pay did not end: it is unknown/],
  'a commit that was promised': [ending(['two', 'failed']), /two is failed, and its client was told that it committed/],
  'a rollback that was promised': [ending(['three', 'succeed']), /three is succeed, and its client was told/],
  'a row lock that is left': [{ leftovers: ['1 row lock is left'] }, /1 row lock is left/],
  'half of a transfer': [
    { movements: GOOD.movements.slice(0, 1), accounts: GOOD.accounts.slice(0, 1) },
    /lost: pay b 5 was committed/,
  ],
  'a change that was rolled back': [
    { movements: [...GOOD.movements, { gid: 'no', account: 'a', amount: -9, version: 2, balance: -4 }] },
    /too much: no a -9/,
  ],
  'a change that was made twice': [
    { movements: [...GOOD.movements, { gid: 'pay', account: 'b', amount: 5, version: 2, balance: 20 }] },
    /too much: pay b 5/,
  ],
  'a balance that its movements do not lead to': [
    { accounts: [{ account: 'a', version: 1, balance: 6 }, ...GOOD.accounts.slice(1)] },
    /a holds 6 at version 1, and its history says 5 at 1/,
  ],
  'an update that was lost': [
    { movements: [{ gid: 'pay', account: 'a', amount: -5, version: 2, balance: 5 }, ...GOOD.movements.slice(1)] },
    /version 1 of a is missing/,
  ],
  'a balance that was read before it was final': [
    { movements: [{ gid: 'pay', account: 'a', amount: -5, version: 1, balance: -4 }, ...GOOD.movements.slice(1)] },
    /pay left -4 in a, where 5 should be/,
  ],
  'a total of half a transfer': [also(attempt('sum', [{ kind: 'total', total: 15 }])), /sum read a total of 15/],
  'an append that was lost': [lists({ y: [1] }), /lost append: y 2/],
  'an append that was rolled back': [lists({ x: [1, 2, 9] }), /dirty append: x 9/],
  'an append that is there twice': [lists({ x: [1, 2, 2] }), /dirty append: x 2/],
  'a read of what was rolled back later': [also(attempt('dirty', [read('x', 1, 9)])), /dirty read 1,9 of x/],
  'reads of two orders': [also(attempt('other', [read('x', 2, 1)])), /other read 2,1 of x/],
  'a read without an own append': [also(attempt('self', [append('z', 1), read('z')])), /self read .*of z/],
  'somebody between a read and an append': [
    lists({ x: [2, 1] }),
    /one read x up to undefined, and 1 is not behind that/,
  ],
  'writers before each other in two lists': [lists({ y: [2, 1] }), /a circle: /],
  'a reader before whoever it has read from': [
    {
      ...also(attempt('four', [append('u', 1), read('v', 1)]), attempt('five', [append('v', 1), read('u', 1)])),
      lists: new Map([...GOOD.lists, ['u', [1]], ['v', [1]]]),
    },
    /a circle: five before four before five/,
  ],
};

for (const [what, [change, reason]] of Object.entries(BAD)) {
  test(`the checker finds ${what}`, (t) => {
    const faults = check({ ...GOOD, ...change });
    t.true(
      faults.some((fault) => reason.test(fault)),
      faults.join('\n'),
    );
  });
}
