import test from 'ava';
import type { BranchId, Gid, Mark } from '../../src/contract/transaction.ts';
import {
  admit,
  bind,
  enteredOperation,
  markOf,
  markOfSetting,
  newSession,
  ready,
  succeeded,
  type SessionState,
} from '../../proxy/sql/session.ts';
import type { StatementPlan, TransactionVerb } from '../../proxy/sql/statement.ts';

const one: Mark = { gid: 'gid-1' as Gid };
const two: Mark = { gid: 'gid-2' as Gid };
const capture: StatementPlan = {
  kind: 'capture',
  capture: {
    command: 'UPDATE',
    sql: 'entering',
    sqlWhenEntered: 'entered',
    returnsRows: false,
    clientParameters: 0,
    ownParameters: [],
  },
};
const control = (verb: TransactionVerb, name?: string): StatementPlan => ({
  kind: 'control',
  verb,
  ...(name === undefined ? {} : { name }),
});
const bound = (state: SessionState, mark: Mark, scope: 'local' | 'session' = 'local'): SessionState => {
  const result = bind(state, mark, scope);
  if (result.kind === 'refused') throw new Error(result.refusal.message);
  return result.state;
};
const open = (state: SessionState): SessionState => ready(state, 'open');

test('a gid learned in a local transaction goes with it, one of the session stays', (t) => {
  t.is(markOf(ready(bound(open(newSession), one), 'idle')), undefined);
  t.is(markOf(ready(bound(open(newSession), one, 'session'), 'idle')), one);
});

test('the gid of the local transaction comes before that of the session', (t) => {
  t.is(markOf(bound(bound(newSession, one, 'session'), two)), two);
});

test('another gid is refused once the local transaction has changed rows, and taken before', (t) => {
  const inBlock = bound(open(newSession), one);
  t.is(markOf(bound(inBlock, two)), two);
  const changed = succeeded(inBlock, capture);
  const refused = bind(changed, two, 'local');
  t.is(refused.kind, 'refused');
  t.is(refused.kind === 'refused' && refused.refusal.code, '25000');
  t.is(bind(changed, undefined, 'local').kind, 'refused');
  t.deepEqual(bind(changed, one, 'local'), { kind: 'bound', state: changed });
});

test('a local transaction that began before its gid was known is checked for earlier writes at its first change only', (t) => {
  const late = bound(open(newSession), one);
  const first = admit(late, capture);
  t.true(first.kind === 'capture' && first.checkEarlierWrites);
  const second = admit(succeeded(late, capture), capture);
  t.true(second.kind === 'capture' && !second.checkEarlierWrites);
  const early = admit(open(bound(newSession, one)), capture);
  t.true(early.kind === 'capture' && !early.checkEarlierWrites);
});

test('the branch is entered by the first change of a local transaction, and again after a rollback to a savepoint', (t) => {
  const before = open(bound(newSession, one));
  const saved = succeeded(succeeded(before, control('savepoint', 's')), capture);
  const later = admit(saved, capture);
  t.true(later.kind === 'capture' && !later.enter);
  const rolledBack = admit(succeeded(saved, control('rollback-to', 's')), capture);
  t.true(rolledBack.kind === 'capture' && rolledBack.enter);
  const autocommit = admit({ ...bound(newSession, one, 'session'), entered: true }, capture);
  t.true(autocommit.kind === 'capture' && autocommit.enter && !autocommit.savepoint);
});

const change: StatementPlan = { kind: 'change', isPlain: true };
const operation: Mark = { gid: one.gid, operation: { branch: '01' as BranchId, task: 'try' } };

test('the row of an operation goes in once a local transaction, and again after whatever happened to a savepoint', (t) => {
  const before = open(bound(newSession, operation));
  t.deepEqual(admit(before, change), { kind: 'enter', isPlain: true, checkEarlierWrites: false });
  const entered = enteredOperation(succeeded(before, control('savepoint', 's')));
  t.deepEqual(admit(entered, change), { kind: 'entered', isPlain: true });
  for (const verb of ['rollback-to', 'release'] as const) {
    t.deepEqual(admit(succeeded(entered, control(verb, 's')), change), {
      kind: 'enter',
      isPlain: true,
      checkEarlierWrites: false,
    });
  }
  t.is(admit(entered, control('commit')).kind, 'forward');
  t.is(admit(ready(entered, 'failed'), change).kind, 'forward');
  t.is(bind(entered, one, 'local').kind, 'refused');
});

test('an operation whose mark came late is checked for earlier writes at its first change only', (t) => {
  const late = bound(open(newSession), operation);
  t.like(admit(late, change), { kind: 'enter', checkEarlierWrites: true });
  const again = succeeded(enteredOperation(late), control('rollback-to', 's'));
  t.like(admit(again, change), { kind: 'enter', checkEarlierWrites: false });
});

test('a savepoint is wanted inside a block, where a conflict would cost the whole local transaction', (t) => {
  const admission = admit(open(bound(newSession, one)), capture);
  t.true(admission.kind === 'capture' && admission.savepoint);
});

test('COMMIT waits for the enlistment only when something was captured', (t) => {
  const empty = open(bound(newSession, one));
  t.is(admit(empty, control('commit')).kind, 'forward');
  const changed = succeeded(empty, capture);
  t.is(admit(changed, control('commit')).kind, 'commit');
  t.is(admit(changed, control('commit-and-chain')).kind, 'commit');
  t.is(admit(changed, control('rollback')).kind, 'forward');
  t.is(admit({ ...changed, block: 'failed' }, control('commit')).kind, 'forward');
});

test('a chained transaction does not inherit the gid of the one before', (t) => {
  const changed = succeeded(open(bound(newSession, one)), capture);
  const chained = succeeded(open(changed), control('commit-and-chain'));
  t.is(markOf(chained), undefined);
  t.false(chained.changed);
});

test('in a failed block the server itself refuses, with the error that the client expects', (t) => {
  const failed = ready(open(bound(newSession, one)), 'failed');
  t.is(admit(failed, capture).kind, 'forward');
  t.is(admit(failed, { kind: 'refuse', refusal: { code: '0A000', message: '', hint: '' } }).kind, 'forward');
});

test('releasing a savepoint forgets it and those inside it; rolling back to it keeps it', (t) => {
  let state = open(bound(newSession, one));
  for (const name of ['a', 'b', 'c']) state = succeeded(state, control('savepoint', name));
  t.deepEqual(
    succeeded(state, control('release', 'b')).savepoints.map(({ name }) => name),
    ['a'],
  );
  t.deepEqual(
    succeeded(state, control('rollback-to', 'b')).savepoints.map(({ name }) => name),
    ['a', 'b'],
  );
});

test('behind a rollback to where there was no gid, changes may have been made without one', (t) => {
  let state = succeeded(open(newSession), control('savepoint', 'a'));
  state = succeeded(bound(state, one), capture);
  t.true(state.changed);
  state = bound(succeeded(state, control('rollback-to', 'a')), one);
  t.like(admit(state, capture), { kind: 'capture', enter: true, checkEarlierWrites: true });
});

test('a setting names a gid by literal or parameter, resets with nothing, and refuses what is no gid', (t) => {
  const parameter = (number: number): string | undefined => (number === 2 ? 'from-parameter' : undefined);
  t.deepEqual(markOfSetting({ scope: 'local', value: 'x' }, parameter), { kind: 'mark', mark: { gid: 'x' as Gid } });
  t.deepEqual(markOfSetting({ scope: 'local', value: 2 }, parameter), {
    kind: 'mark',
    mark: { gid: 'from-parameter' as Gid },
  });
  t.deepEqual(markOfSetting({ scope: 'session', value: undefined }, parameter), { kind: 'mark', mark: undefined });
  const refused = markOfSetting({ scope: 'local', value: "x'; drop table t" }, parameter);
  t.is(refused.kind === 'refused' && refused.refusal.code, '22023');
});
