import test from 'ava';
import { parseMark, type Mark } from '../../../src/contract/transaction.ts';
import { Binding } from '../../../proxy/mysql/session/binding.ts';
import type { Effect } from '../../../proxy/mysql/session/transaction.ts';
import { STATUS } from '../../../proxy/mysql/wire/outcome.ts';

/** A session, told in one line what is named, what is done, and what the server says. */
class Story {
  readonly binding: Binding;
  readonly #autocommit: number;

  constructor(hasAutocommit = true) {
    this.#autocommit = hasAutocommit ? STATUS.autocommit : 0;
    this.binding = new Binding(this.#autocommit);
  }

  /** `gid`: named in a comment of the statement. */
  does(effect: Effect, isOpen: boolean, gid?: string): string | undefined {
    if (gid !== undefined) this.names(gid, 'local');
    else this.binding.claim({ kind: 'none', reason: 'none' });
    const status = this.#autocommit | (isOpen ? STATUS.inTransaction : 0);
    this.binding.heard(effect, { kind: 'ok', status });
    this.binding.answered();
    return this.binding.mark?.gid;
  }

  fails(effect: Effect, errno: number): string | undefined {
    this.binding.claim({ kind: 'none', reason: 'none' });
    this.binding.heard(effect, { kind: 'error', errno });
    this.binding.answered();
    return this.binding.mark?.gid;
  }

  names(gid: string | undefined, scope: 'local' | 'session'): void {
    const mark = gid === undefined ? undefined : (parseMark(gid) as Mark);
    const refusal = this.binding.claim({ kind: 'mark', scope, mark });
    if (refusal !== undefined) throw new Error(refusal.message);
  }
}

test('a comment binds one statement, and a local transaction where it is one’s beginning', (t) => {
  const story = new Story();
  t.is(story.does('inside', false, 'g1'), undefined);
  t.is(story.does('begins', true, 'g1'), 'g1');
  t.is(story.does('inside', true), 'g1');
  t.is(story.does('ends', false), undefined);
  t.true(story.binding.isFree);
});

test('BEGIN inside a local transaction ends its binding, and keeps the one that it names itself', (t) => {
  const story = new Story();
  story.does('begins', true, 'g1');
  t.is(story.does('begins', true), undefined);
  story.does('inside', true, 'g2');
  t.is(story.does('begins', true, 'g3'), 'g3');
  t.is(story.does('inside', true), 'g3');
});

test('COMMIT AND CHAIN ends the binding, though the flag stays on', (t) => {
  const story = new Story();
  story.does('begins', true, 'g1');
  t.is(story.does('chains', true), undefined);
});

test('a deadlock ends the binding, and an error of a statement does not', (t) => {
  const story = new Story();
  story.does('begins', true, 'g1');
  t.is(story.fails('inside', 1062), 'g1');
  t.is(story.fails('inside', 1213), undefined);
});

test('without autocommit a binding stays up to COMMIT or ROLLBACK, though no table was touched', (t) => {
  const story = new Story(false);
  t.is(story.does('inside', false, 'g1'), 'g1');
  t.is(story.does('inside', true), 'g1');
  t.is(story.does('ends', false), undefined);
  t.is(story.does('inside', false, 'g2'), 'g2');
  t.is(story.does('ends', false), undefined);
});

test('the variable binds every local transaction until it is taken away', (t) => {
  const story = new Story();
  story.names('g1', 'session');
  t.is(story.does('begins', true), 'g1');
  t.is(story.does('ends', false), 'g1');
  story.names(undefined, 'session');
  t.is(story.does('inside', false), undefined);
  t.true(story.binding.isFree);
});

test('a session that is reset belongs to nobody', (t) => {
  const story = new Story();
  story.names('g1', 'session');
  story.binding.heard('unknown', { kind: 'reset', status: STATUS.autocommit });
  t.is(story.binding.mark, undefined);
  t.true(story.binding.isFree);
});

test('an operation is named for a local transaction, and not for the session', (t) => {
  const { binding } = new Story();
  const mark = parseMark('g1/01/confirm') as Mark;
  t.is(binding.claim({ kind: 'mark', scope: 'session', mark })?.errno, 1105);
  t.is(binding.claim({ kind: 'mark', scope: 'local', mark }), undefined);
});

test('a text of several statements is for one gid, also behind the end of a local transaction', (t) => {
  for (const effect of ['ends', 'chains'] as const) {
    const story = new Story(false);
    story.names('g1', 'local');
    story.binding.namesAll();
    const isOpen = effect === 'chains';
    story.binding.heard('inside', { kind: 'ok', status: STATUS.inTransaction });
    story.binding.heard(effect, { kind: 'ok', status: isOpen ? STATUS.inTransaction : 0 });
    t.is(story.binding.mark, undefined);
    story.binding.goesOn();
    t.deepEqual(story.binding.mark, parseMark('g1'));
    t.is(story.does('ends', false), undefined);
  }
});

test('a text that names none is for the gid of the local transaction in which it comes', (t) => {
  const story = new Story();
  story.does('begins', true, 'g1');
  story.binding.claim({ kind: 'none', reason: 'none' });
  story.binding.namesAll();
  story.binding.heard('ends', { kind: 'ok', status: STATUS.autocommit });
  story.binding.goesOn();
  t.deepEqual(story.binding.mark, parseMark('g1'));
});

test('a local transaction that is engaged is not free, and nothing is said in it where its mark is lost', (t) => {
  const story = new Story();
  story.does('begins', true);
  t.true(story.binding.isFree);
  story.binding.engage();
  t.false(story.binding.isFree);
  t.throws(() => story.binding.claim({ kind: 'none', reason: 'none' }), { message: /has its mark/ });
  t.throws(() => story.names('g2', 'local'), { message: /has its mark/ });
});

test('what is over cannot be engaged, and the next local transaction is free', (t) => {
  const story = new Story();
  story.does('begins', true, 'g1');
  story.fails('inside', 1213);
  story.binding.engage();
  story.does('begins', true);
  t.true(story.binding.isFree);
});
