import test, { type ExecutionContext } from 'ava';
import { createAnswers, type Answers, type PacketRole } from '../../../proxy/mysql/wire/answers.ts';
import { CAPABILITY, type Capabilities } from '../../../proxy/mysql/wire/capabilities.ts';
import { COMMAND } from '../../../proxy/mysql/wire/commands.ts';
import { NO_TYPE, PACKET_BYTES_MAX } from '../../../proxy/mysql/wire/frames.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const DEPRECATE = CAPABILITY.deprecateEof;
const CACHE = CAPABILITY.mariadbCacheMetadata;

const ok = hex('00 00 00 02 00 00 00');
const okMore = hex('00 00 00 0a 00 00 00');
const okRows = hex('fe 00 00 02 00 00 00');
const okRowsMore = hex('fe 00 00 0a 00 00 00');
const okCursor = hex('fe 00 00 42 00 00 00');
const eof = hex('fe 00 00 02 00');
const eofMore = hex('fe 00 00 0a 00');
const eofCursor = hex('fe 00 00 42 00');
const error = hex('ff 48 04 23 48 59 30 30 30 6e 6f');
const progress = hex('ff ff ff 01 01 02 39 30 00 04 63 6f 70 79');
const columns = hex('02');
const column = Buffer.from('\x03def rest');
const row = Buffer.from('\x011\x012');
const nullRow = hex('fb fb');
const binaryRow = hex('00 00 01');
const infile = Buffer.from('\xfbfile', 'latin1');

/** A packet, what it is, and whether it ends the answer. */
type Step = readonly [Buffer, PacketRole, 'end'?];

/** Plays packets into a machine, which must see them as the steps say. */
function play(t: ExecutionContext, answers: Answers<string>, steps: readonly Step[]): void {
  for (const [index, [payload, role, end]] of steps.entries()) {
    const isHeld = answers.holds(payload[0] ?? NO_TYPE, payload.length);
    t.is(isHeld ? answers.held(payload) : answers.passed(), role, `packet ${index}`);
    t.is(answers.isEnd, end === 'end', `the end at packet ${index}`);
  }
}

/** Plays the answer to one command, behind which another one waits. */
function answer(t: ExecutionContext, command: number, agreed: Capabilities, steps: readonly Step[]): void {
  const answers = createAnswers<string>(agreed);
  answers.push(command, 'this');
  answers.push(COMMAND.ping, 'next');
  t.is(answers.head(), 'this');
  play(t, answers, steps);
  t.is(answers.head(), 'next');
  play(t, answers, [[ok, 'end', 'end']]);
  t.is(answers.size, 0);
}

test('a query ends with OK, with ERR, or behind its rows', (t) => {
  for (const agreed of [0n, DEPRECATE]) {
    answer(t, COMMAND.query, agreed, [[ok, 'end', 'end']]);
    answer(t, COMMAND.query, agreed, [[error, 'error', 'end']]);
  }
  answer(t, COMMAND.query, 0n, [
    [columns, 'columns'],
    [column, 'definition'],
    [column, 'definition'],
    [eof, 'definitions-end'],
    [row, 'row'],
    [nullRow, 'row'],
    [eof, 'end', 'end'],
  ]);
  answer(t, COMMAND.query, DEPRECATE, [
    [columns, 'columns'],
    [column, 'definition'],
    [column, 'definition'],
    [row, 'row'],
    [okRows, 'end', 'end'],
  ]);
});

test('an error among the rows ends the answer', (t) => {
  const start: Step[] = [
    [hex('01'), 'columns'],
    [column, 'definition'],
  ];
  answer(t, COMMAND.query, DEPRECATE, [...start, [row, 'row'], [error, 'error', 'end']]);
  answer(t, COMMAND.query, 0n, [...start, [eof, 'definitions-end'], [error, 'error', 'end']]);
  answer(t, COMMAND.query, 0n, [
    [hex('01'), 'columns'],
    [error, 'error', 'end'],
  ]);
});

test('a row of a prepared statement may begin like OK, and a row of over 16 MB like the end', (t) => {
  answer(t, COMMAND.stmtExecute, DEPRECATE, [
    [hex('01'), 'columns'],
    [column, 'definition'],
    [binaryRow, 'row'],
    [okRows, 'end', 'end'],
  ]);
  for (const [agreed, length, isHeld] of [
    [DEPRECATE, PACKET_BYTES_MAX, false],
    [DEPRECATE, PACKET_BYTES_MAX - 1, true],
    [0n, 9, false],
    [0n, 8, true],
  ] as const) {
    const answers = createAnswers<string>(agreed);
    answers.push(COMMAND.stmtFetch, 'fetch');
    t.is(answers.holds(0xfe, length), isHeld);
  }
});

test('several results follow one another as long as the status says so, and an error ends them all', (t) => {
  answer(t, COMMAND.query, 0n, [
    [okMore, 'result-end'],
    [hex('01'), 'columns'],
    [column, 'definition'],
    [eof, 'definitions-end'],
    [row, 'row'],
    [eofMore, 'result-end'],
    [ok, 'end', 'end'],
  ]);
  answer(t, COMMAND.query, DEPRECATE, [
    [hex('01'), 'columns'],
    [column, 'definition'],
    [okRowsMore, 'result-end'],
    [error, 'error', 'end'],
  ]);
});

test('a cursor’s result ends behind its definitions, and its rows come with COM_STMT_FETCH', (t) => {
  answer(t, COMMAND.stmtExecute, 0n, [
    [hex('01'), 'columns'],
    [column, 'definition'],
    [eofCursor, 'end', 'end'],
  ]);
  answer(t, COMMAND.stmtExecute, DEPRECATE, [
    [hex('01'), 'columns'],
    [column, 'definition'],
    [okCursor, 'end', 'end'],
  ]);
  answer(t, COMMAND.stmtFetch, 0n, [
    [binaryRow, 'row'],
    [eofCursor, 'end', 'end'],
  ]);
  answer(t, COMMAND.stmtFetch, DEPRECATE, [[error, 'error', 'end']]);
  // The flag says nothing of a query.
  answer(t, COMMAND.query, 0n, [
    [hex('01'), 'columns'],
    [column, 'definition'],
    [eofCursor, 'definitions-end'],
    [row, 'row'],
    [eof, 'end', 'end'],
  ]);
});

test('MariaDB may leave the definitions out, but not the EOF behind them', (t) => {
  answer(t, COMMAND.stmtExecute, CACHE, [
    [hex('02 00'), 'columns'],
    [eof, 'definitions-end'],
    [binaryRow, 'row'],
    [eof, 'end', 'end'],
  ]);
  answer(t, COMMAND.stmtExecute, CACHE | DEPRECATE, [
    [hex('02 00'), 'columns'],
    [binaryRow, 'row'],
    [okRows, 'end', 'end'],
  ]);
  answer(t, COMMAND.stmtExecute, CACHE | DEPRECATE, [
    [hex('01 01'), 'columns'],
    [column, 'definition'],
    [okRows, 'end', 'end'],
  ]);
});

test('a prepared statement has definitions of parameters, of columns, of both, or of none', (t) => {
  const prepared = (columnCount: number, parameterCount: number): Buffer =>
    hex(`00 01000000 0${columnCount}00 0${parameterCount}00 00 0000`);
  answer(t, COMMAND.stmtPrepare, 0n, [[prepared(0, 0), 'prepared', 'end']]);
  answer(t, COMMAND.stmtPrepare, 0n, [[error, 'error', 'end']]);
  for (const one of [prepared(1, 0), prepared(0, 1)]) {
    answer(t, COMMAND.stmtPrepare, 0n, [
      [one, 'prepared'],
      [column, 'definition'],
      [eof, 'definitions-end', 'end'],
    ]);
    answer(t, COMMAND.stmtPrepare, DEPRECATE, [
      [one, 'prepared'],
      [column, 'definition', 'end'],
    ]);
  }
  answer(t, COMMAND.stmtPrepare, 0n, [
    [prepared(1, 2), 'prepared'],
    [column, 'definition'],
    [column, 'definition'],
    [eof, 'definitions-end'],
    [column, 'definition'],
    [eof, 'definitions-end', 'end'],
  ]);
  answer(t, COMMAND.stmtPrepare, DEPRECATE, [
    [prepared(2, 1), 'prepared'],
    [column, 'definition'],
    [column, 'definition'],
    [column, 'definition', 'end'],
  ]);
});

test('commands with a single packet, with fields, and with none', (t) => {
  for (const command of [COMMAND.ping, COMMAND.initDb, COMMAND.stmtReset, COMMAND.resetConnection]) {
    answer(t, command, 0n, [[ok, 'end', 'end']]);
    answer(t, command, 0n, [[error, 'error', 'end']]);
  }
  answer(t, COMMAND.setOption, 0n, [[eof, 'end', 'end']]);
  answer(t, COMMAND.setOption, DEPRECATE, [[okRows, 'end', 'end']]);
  answer(t, COMMAND.statistics, 0n, [[Buffer.from('Uptime: 1'), 'end', 'end']]);
  // A status that speaks of more results means nothing behind such a command.
  answer(t, COMMAND.ping, 0n, [[okMore, 'end', 'end']]);
  answer(t, COMMAND.fieldList, 0n, [
    [column, 'definition'],
    [eof, 'end', 'end'],
  ]);
  answer(t, COMMAND.fieldList, DEPRECATE, [[okRows, 'end', 'end']]);
  for (const command of [COMMAND.stmtClose, COMMAND.stmtSendLongData, COMMAND.quit]) {
    const answers = createAnswers<string>(0n);
    answers.push(command, 'unanswered');
    t.is(answers.size, 0);
  }
});

test('a file is sent up to an empty packet, whoever else waits', (t) => {
  const answers = createAnswers<string>(0n);
  answers.push(COMMAND.query, 'load');
  play(t, answers, [[infile, 'local-infile']]);
  t.is(answers.turn, 'file');
  answers.said(false);
  t.is(answers.turn, 'file');
  answers.said(true);
  t.is(answers.turn, 'command');
  play(t, answers, [
    [okMore, 'result-end'],
    [ok, 'end', 'end'],
  ]);
});

test('what a login says is answered by one packet each, but for the news of fast success', (t) => {
  const login = createAnswers<string>(0n);
  login.push('login', 'login');
  const question = Buffer.from('\xfemysql_native_password\0challenge\0', 'latin1');
  play(t, login, [[question, 'authentication']]);
  t.is(login.turn, 'authentication');
  login.said(false);
  t.is(login.turn, 'command');
  play(t, login, [[hex('01 04'), 'authentication']]);
  t.is(login.turn, 'authentication');
  login.said(false);
  play(t, login, [[hex('01 03'), 'authentication']]);
  t.is(login.turn, 'command');
  play(t, login, [[ok, 'end', 'end']]);
  t.is(login.status, 2);
  answer(t, COMMAND.changeUser, 0n, [
    [question, 'authentication'],
    [error, 'error', 'end'],
  ]);
});

test('a word on progress ends nothing, and is an error to a client that does not know of it', (t) => {
  answer(t, COMMAND.query, CAPABILITY.mariadbProgress, [
    [progress, 'progress'],
    [progress, 'progress'],
    [ok, 'end', 'end'],
  ]);
  answer(t, COMMAND.query, 0n, [[progress, 'error', 'end']]);
});

test('an error that answers nothing is told apart, and anything else unasked is a fault', (t) => {
  const answers = createAnswers<string>(0n);
  play(t, answers, [[error, 'unasked-error']]);
  t.like(answers.held(ok), { kind: 'fault' });
});

test('an answer that cannot be one is a fault', (t) => {
  for (const [command, payload] of [
    [COMMAND.query, hex('')],
    [COMMAND.query, hex('fe 00 00 02 00')],
    [COMMAND.query, hex('02 00')],
    [COMMAND.query, hex('00 00')],
    [COMMAND.query, hex('ff')],
    [COMMAND.stmtPrepare, hex('00 01')],
    [COMMAND.ping, hex('00')],
  ] as const) {
    const answers = createAnswers<string>(0n);
    answers.push(command, 'asked');
    t.like(answers.held(payload), { kind: 'fault', errno: 1835 }, payload.toString('hex'));
  }
});

test('replication and what is not known have no end, and pass', (t) => {
  for (const command of [COMMAND.binlogDump, COMMAND.binlogDumpGtid, 0xfe, 0x77]) {
    const answers = createAnswers<string>(0n);
    answers.push(command, 'opaque');
    for (const payload of [ok, error, eof]) {
      t.false(answers.holds(payload[0] ?? 0, payload.length));
      t.is(answers.passed(), 'opaque');
    }
    t.is(answers.size, 1);
  }
});

test('many commands at once are answered in their order', (t) => {
  const answers = createAnswers<string>(DEPRECATE);
  for (const [command, name] of [
    [COMMAND.query, 'first'],
    [COMMAND.stmtClose, 'unanswered'],
    [COMMAND.stmtFetch, 'second'],
    [COMMAND.fieldList, 'third'],
    [COMMAND.query, 'fourth'],
  ] as const) {
    answers.push(command, name);
  }
  t.is(answers.size, 4);
  play(t, answers, [
    [error, 'error', 'end'],
    [binaryRow, 'row'],
    [okRows, 'end', 'end'],
    [column, 'definition'],
  ]);
  t.is(answers.head(), 'third');
  play(t, answers, [
    [okRows, 'end', 'end'],
    [ok, 'end', 'end'],
  ]);
  t.is(answers.head(), undefined);
});
