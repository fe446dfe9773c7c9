import test from 'ava';
import {
  forget,
  forgetNamed,
  forgetClueless,
  noStatements,
  recall,
  remember,
  settle,
  touch,
  type Statement,
  type Statements,
} from '../../proxy/postgres/session/statements.ts';
import { encodeParse } from '../../proxy/postgres/wire/parse.ts';
import { HEADER_BYTES } from '../../proxy/postgres/wire/frames.ts';

const WITH_CLUE = "select set_config($1, 'x', true)";

function prepare(statements: Statements, name: string, text: string, types: readonly number[] = []): Statement {
  const frame = encodeParse({
    kind: 'parse',
    statement: Buffer.from(name),
    text: Buffer.from(text),
    parameterTypes: types,
  });
  const statement = remember(statements, frame.subarray(HEADER_BYTES));
  if ('kind' in statement) throw new Error(statement.message);
  return statement;
}

test('a statement is remembered as it was sent, byte for byte', (t) => {
  for (const text of ['select 1', "select 'é €'", '']) {
    const statement = prepare(noStatements(), 'ä', text, [23, 0]);
    t.is(statement.text, text);
    t.deepEqual(
      statement.frame,
      encodeParse({
        kind: 'parse',
        statement: Buffer.from('ä'),
        text: Buffer.from(text),
        parameterTypes: [23, 0],
      }),
    );
  }
});

test('a million prepared statements take no more than a few megabytes, and what is used stays', (t) => {
  const statements = noStatements();
  const used = prepare(statements, 'used', 'commit');
  prepare(statements, '', 'select 1');
  for (let count = 0; count < 1_000_000; count += 1) {
    if (count % 1000 === 0) touch(statements, used);
    prepare(statements, `s${count}`, `select ${count}`);
  }
  t.true(statements.byName.size <= 2_000);
  t.true(statements.byName.has('used'));
  t.true(statements.byName.has(''), 'the server does not tell the unnamed one');
  t.true(statements.byName.has('s999999'));
  t.false(statements.hasLostClues);
});

test('large texts take no more either, and one of them does not displace all others', (t) => {
  const statements = noStatements();
  prepare(statements, 'small', 'select 1');
  prepare(statements, 'huge', `select '${'x'.repeat(3_000_000)}'`);
  t.deepEqual([...statements.byName.keys()], ['small']);
  for (let count = 0; count < 100; count += 1) prepare(statements, `s${count}`, `select '${'x'.repeat(500_000)}'`);
  t.true(statements.byName.size < 10);
  t.true(statements.bytes <= 4 * 1024 * 1024);
  forgetClueless(statements);
  t.is(statements.bytes, 0);
});

test('that a statement with a clue was forgotten is not forgotten', (t) => {
  const byCap = noStatements();
  prepare(byCap, 'clue', WITH_CLUE);
  for (let count = 0; count < 3_000; count += 1) prepare(byCap, `s${count}`, 'select 1');
  t.false(byCap.byName.has('clue'));
  t.true(byCap.hasLostClues);

  const bySize = noStatements();
  prepare(bySize, 'clue', `${WITH_CLUE} -- ${'x'.repeat(2_000_000)}`);
  t.true(bySize.hasLostClues);

  const byDiscard = noStatements();
  prepare(byDiscard, 'clue', WITH_CLUE);
  prepare(byDiscard, 'other', 'select 1');
  forgetClueless(byDiscard);
  t.deepEqual([...byDiscard.byName.keys()], ['clue']);
  t.false(byDiscard.hasLostClues);
  forgetNamed(byDiscard);
  t.is(byDiscard.byName.size, 0);
  t.true(byDiscard.hasLostClues);

  const byClose = noStatements();
  prepare(byClose, 'clue', WITH_CLUE);
  forget(byClose, 'clue');
  t.false(byClose.hasLostClues, 'the server does not have it');
  t.is(byClose.withClue, 0);
});

test('of two texts under one name none is believed, and neither is a clue', (t) => {
  const statements = noStatements();
  const first = prepare(statements, 's', WITH_CLUE);
  t.true(first.isDoubtful, 'the server has not answered yet');
  settle(statements, first, true);
  t.false(first.isDoubtful);
  const second = prepare(statements, 's', 'select 1');
  t.true(second.isDoubtful);
  t.true(second.hasClue, 'the server may have kept the first');
  const told = recall(statements, 's', [['select 1', '{}']]);
  t.like(told, { text: 'select 1', isDoubtful: false, hasClue: false, types: [] });
  t.is(statements.withClue, 0);
  t.true(prepare(statements, 's', 'select 1', [23]).isDoubtful, 'types make a difference');
  t.deepEqual(recall(statements, 's', [['select $1, $2', '{23,25}']])?.types, [23, 25]);
  t.is(recall(statements, 's', []), undefined);
  t.is(statements.byName.size, 0);
});
