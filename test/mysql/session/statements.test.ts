import test from 'ava';
import { ANYTHING, NOTHING, type Lasting } from '../../../proxy/mysql/inside/past/lasting.ts';
import { Statements } from '../../../proxy/mysql/session/statements.ts';
import { COMMAND } from '../../../proxy/mysql/wire/commands.ts';
import { LAST_STATEMENT } from '../../../proxy/mysql/wire/execute.ts';

const PLAIN = Buffer.from('select ?');
const NAMING = Buffer.from("select ? /*atomesh_gid='g1'*/");

function prepared(...texts: readonly Buffer[]): Statements {
  const statements = new Statements();
  for (const [index, text] of texts.entries()) {
    statements.preparing(text);
    statements.remember(index + 1, text, 1);
  }
  return statements;
}

function command(code: number, statement: number, rest: readonly number[] = []): Buffer {
  const bytes = Buffer.from([code, 0, 0, 0, 0, ...rest]);
  bytes.writeUInt32LE(statement, 1);
  return bytes;
}

test('only statements whose text may name a gid concern one', (t) => {
  t.false(prepared(PLAIN).mayConcern);
  const statements = prepared(PLAIN, NAMING);
  t.true(statements.mayConcern);
  t.deepEqual(
    [1, 2, 3].map((id) => statements.concerns(id)),
    [false, true, false],
  );
  statements.passed(COMMAND.stmtClose, command(COMMAND.stmtClose, 2));
  t.false(statements.mayConcern);
});

test('the one that was prepared last is known by its own number, and before it is answered', (t) => {
  const statements = prepared(PLAIN);
  t.is(statements.get(LAST_STATEMENT)?.id, 1);
  statements.preparing(NAMING);
  t.is(statements.get(LAST_STATEMENT), undefined);
  t.true(statements.mayConcern);
  t.true(statements.concerns(LAST_STATEMENT));
  statements.failed();
  t.false(statements.mayConcern);
  statements.preparing(NAMING);
  statements.remember(2, NAMING, 1);
  t.is(statements.get(LAST_STATEMENT)?.id, 2);
});

test('what is kept is bounded, and of what is not kept any may name a gid that one has named', (t) => {
  const statements = new Statements();
  statements.remember(1, NAMING, 0);
  t.false(statements.hasLostSome);
  for (let id = 2; id < 3_000; id += 1) statements.remember(id, PLAIN, 1);
  t.is(statements.get(1), undefined);
  t.true(statements.hasLostSome);
  t.true(statements.concerns(1));
  t.false(statements.concerns(2_999));
  const large = new Statements();
  for (let id = 1; id <= 10; id += 1) large.remember(id, Buffer.alloc(1 << 20, 32), 0);
  t.is(large.get(1), undefined);
  t.not(large.get(10), undefined);
  t.true(large.hasLostSome);
  t.false(large.mayConcern);
  large.forgetAll();
  t.false(large.hasLostSome);
});

test('values that were sent ahead are remembered up to the next run', (t) => {
  const statements = prepared(PLAIN);
  statements.passed(COMMAND.stmtSendLongData, command(COMMAND.stmtSendLongData, 1, [0, 0, 65]));
  t.deepEqual([...(statements.get(1)?.long.keys() ?? [])], [0]);
  statements.passed(COMMAND.stmtExecute, command(COMMAND.stmtExecute, 1, [0, 1, 0, 0, 0]));
  t.deepEqual([...(statements.get(1)?.long ?? [])], []);
  statements.passed(COMMAND.stmtSendLongData, command(COMMAND.stmtSendLongData, 1));
  statements.passed(COMMAND.stmtSendLongData, command(COMMAND.stmtSendLongData, 99, [0, 0]));
  statements.passed(COMMAND.stmtClose, Buffer.from([COMMAND.stmtClose]));
  t.not(statements.get(1), undefined);
});

test('what a run may leave behind is told', (t) => {
  const execute = (id: number): Buffer => command(COMMAND.stmtExecute, id, [0, 1, 0, 0, 0]);
  const ran = (statements: Statements, id: number): Lasting | undefined => statements.ranUnseen(execute(id), 0, 10);
  const harmless = prepared(PLAIN);
  t.is(ran(harmless, 1), undefined);
  t.is(ran(harmless, 7), undefined, 'of a number that is not known');
  const statements = prepared(PLAIN, Buffer.from('set names latin1'), Buffer.from('call p()'));
  t.deepEqual(
    [1, 2, 3].map((id) => ran(statements, id)),
    [NOTHING, { ...NOTHING, reading: true }, { ...NOTHING, level: true, calls: true }],
  );
  t.is(ran(statements, 7), ANYTHING, 'of a number that is not known');
  t.is(statements.ranUnseen(execute(1), 0, 3), ANYTHING, 'of a number that is not here yet');
  statements.forgetAll();
  t.is(ran(statements, 2), undefined);
  const lost = prepared(PLAIN);
  lost.lose(false);
  t.deepEqual([ran(lost, 1), ran(lost, 2)], [NOTHING, ANYTHING], 'of a text that was too large to be kept');
  lost.forgetAll();
  t.is(ran(lost, 2), undefined);
  const many = new Statements();
  for (let id = 1; id < 3_000; id += 1) {
    many.preparing(PLAIN);
    many.remember(id, PLAIN, 1);
  }
  t.is(ran(many, 1), undefined, 'of a text that was harmless, and is no longer kept');
});
