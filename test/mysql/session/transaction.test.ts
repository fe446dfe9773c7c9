import test from 'ava';
import fc from 'fast-check';
import {
  heard,
  loggedIn,
  type Effect,
  type Heard,
  type Step,
  type TransactionState,
} from '../../../proxy/mysql/session/transaction.ts';
import { STATUS } from '../../../proxy/mysql/wire/outcome.ts';

const AUTOCOMMIT = STATUS.autocommit;
const IDLE: TransactionState = { block: 'idle', hasAutocommit: true };
const OPEN: TransactionState = { block: 'open', hasAutocommit: true };
const UNKNOWN: TransactionState = { block: 'unknown', hasAutocommit: true };
/** Without autocommit. */
const WAITING: TransactionState = { block: 'idle', hasAutocommit: false };

const ok = (flags: number): Heard => ({ kind: 'ok', status: AUTOCOMMIT | flags });
const inside: Heard = ok(STATUS.inTransaction);
const outside: Heard = ok(0);
const error = (errno: number): Heard => ({ kind: 'error', errno });

/** What is before, what is done, what the server says; what is then, and whether what was open has ended. */
const TABLE: readonly (readonly [string, TransactionState, Effect, Heard, TransactionState['block'], Step['ended']])[] =
  [
    ['BEGIN opens', IDLE, 'begins', inside, 'open', 'no'],
    ['a statement without a transaction leaves none', IDLE, 'unknown', outside, 'idle', 'no'],
    ['without autocommit the first statement opens', WAITING, 'unknown', { kind: 'ok', status: 1 }, 'open', 'no'],
    ['COMMIT ends', OPEN, 'ends', outside, 'idle', 'yes'],
    ['DDL that nobody looked at ends', OPEN, 'unknown', outside, 'idle', 'yes'],
    ['BEGIN inside a transaction commits it, and the flag stays on', OPEN, 'begins', inside, 'open', 'yes'],
    ['so does COMMIT AND CHAIN', OPEN, 'chains', inside, 'open', 'yes'],
    ['and COMMIT where completion_type chains', OPEN, 'ends', inside, 'open', 'yes'],
    ['what neither begins nor ends leaves it open', OPEN, 'inside', inside, 'open', 'no'],
    ['of what nobody looked at the flag does not say', OPEN, 'unknown', inside, 'open', 'maybe'],
    ['an error of a statement leaves the transaction as it is', OPEN, 'inside', error(1062), 'open', 'no'],
    ['a deadlock ends it', OPEN, 'inside', error(1213), 'idle', 'yes'],
    ['a full lock table ends it', OPEN, 'inside', error(1206), 'idle', 'yes'],
    ['a deadlock outside of one ends none', IDLE, 'inside', error(1213), 'idle', 'no'],
    ['a lock wait may end it, by a setting of the server', OPEN, 'inside', error(1205), 'unknown', 'maybe'],
    ['a COMMIT that fails may have ended it', OPEN, 'ends', error(1180), 'unknown', 'maybe'],
    ['DDL that fails has committed before', OPEN, 'unknown', error(1050), 'unknown', 'maybe'],
    ['a procedure that fails may have begun one', IDLE, 'unknown', error(1644), 'unknown', 'no'],
    ['without autocommit a read that fails may have begun one', WAITING, 'inside', error(1054), 'unknown', 'no'],
    ['BEGIN that fails begins none', IDLE, 'begins', error(1568), 'idle', 'no'],
    ['behind an error the next OK tells that it is open', UNKNOWN, 'inside', inside, 'open', 'maybe'],
    ['or that it is not', UNKNOWN, 'inside', outside, 'idle', 'yes'],
    ['session tracking is as good as the flag', IDLE, 'unknown', { ...ok(0), isTracked: true } as Heard, 'open', 'no'],
    ['COM_RESET_CONNECTION rolls back', OPEN, 'unknown', { kind: 'reset', status: AUTOCOMMIT }, 'idle', 'yes'],
  ];

for (const [title, before, effect, what, block, ended] of TABLE) {
  test(title, (t) => {
    const step = heard(before, effect, what);
    t.is(step.state.block, block);
    t.is(step.ended, ended);
  });
}

test('the OK of the login says how a session begins', (t) => {
  t.deepEqual(loggedIn(AUTOCOMMIT), IDLE);
  t.deepEqual(loggedIn(0), WAITING);
});

const effects = fc.constantFrom<Effect>('unknown', 'inside', 'begins', 'ends', 'chains');
const states = fc.constantFrom(IDLE, OPEN, UNKNOWN, WAITING);

test('an OK always leaves a state that is known, and it is what the flag says', (t) => {
  fc.assert(
    fc.property(states, effects, fc.nat(0xffff), (before, effect, status) => {
      const { state, ended } = heard(before, effect, { kind: 'ok', status });
      t.is(state.block === 'open', (status & STATUS.inTransaction) !== 0);
      t.not(state.block, 'unknown');
      if (before.block !== 'idle' && state.block === 'idle') t.is(ended, 'yes');
    }),
  );
  t.pass();
});

test('what was not open cannot have ended, and what is open ends unseen only where that is said', (t) => {
  const any = fc.oneof(
    fc.record({ kind: fc.constant('ok' as const), status: fc.nat(0xffff) }),
    fc.record({ kind: fc.constant('error' as const), errno: fc.nat(0xffff) }),
  );
  fc.assert(
    fc.property(states, effects, any, (before, effect, what) => {
      const { state, ended } = heard(before, effect, what);
      if (before.block === 'idle') t.is(ended, 'no');
      if (before.block === 'open' && state.block !== 'open') t.not(ended, 'no');
    }),
  );
  t.pass();
});
