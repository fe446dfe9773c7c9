import test from 'ava';
import { parse } from '../../../proxy/mysql/parse.ts';
import { askedOf, type Asked, type Remembered } from '../../../proxy/mysql/text/effects.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';

const REMEMBERED: Remembered = {
  affectedRows: 3n,
  warningCount: 3,
  levels: ['Warning', 'Error', 'Note'],
};

test.before(loadGrammar);

/** What is done with each statement of a text. */
function asked(text: string, remembered = REMEMBERED): readonly Asked[] {
  const parsed = parse(text, { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8' });
  return parsed.kind === 'parsed' ? parsed.statements.map(({ source, span }) => askedOf(source, span, remembered)) : [];
}

function rewritten(text: string, remembered = REMEMBERED): readonly string[] {
  return asked(text, remembered).map((answer) => (answer.kind === 'text' ? answer.text : answer.kind));
}

const THREE = 'CAST(00000000000000000003 AS SIGNED)';

test('ROW_COUNT() of a text of several statements is the client’s, and its column is called as before', (t) => {
  t.deepEqual(rewritten('UPDATE t SET a = 1; SELECT ROW_COUNT();'), ['as-is', `SELECT ${THREE} AS \`ROW_COUNT()\``]);
  const mapper = 'SELECT `Id` FROM `t` WHERE ROW_COUNT() = 1 AND `Id` = LAST_INSERT_ID()';
  t.deepEqual(rewritten(`INSERT INTO t VALUES (1);\r\n${mapper};`), ['as-is', mapper.replace('ROW_COUNT()', THREE)]);
});

test('columns keep the names that they have, and get those that they would lose', (t) => {
  for (const [text, expected] of [
    ['SELECT row_count ( ), 1', `SELECT ${THREE} AS \`row_count ( )\`, 1`],
    ['SELECT ROW_COUNT() AS n', `SELECT ${THREE} AS n`],
    ['SELECT ROW_COUNT() n FROM t', `SELECT ${THREE} n FROM t`],
    ['SELECT ROW_COUNT() > 1', `SELECT ${THREE} > 1 AS \`ROW_COUNT() > 1\``],
    ['SELECT DISTINCT ROW_COUNT()', `SELECT DISTINCT ${THREE} AS \`ROW_COUNT()\``],
    ['SELECT @@warning_count', 'SELECT (0 | 3) AS `@@warning_count`'],
    ['SELECT @@session.error_count e', 'SELECT (0 | 1) e'],
    ['SET @n = ROW_COUNT()', `SET @n = ${THREE}`],
  ] as const)
    t.deepEqual(rewritten(text), [expected]);
  t.deepEqual(rewritten('SELECT ROW_COUNT()', { ...REMEMBERED, affectedRows: -1n }), [
    'SELECT CAST(-00000000000000000001 AS SIGNED) AS `ROW_COUNT()`',
  ]);
});

test('a column whose name cannot be kept is refused with what to do', (t) => {
  for (const text of ['SELECT ROW_COUNT() + 1 n', 'SELECT * FROM (SELECT ROW_COUNT()) x', '(SELECT ROW_COUNT())']) {
    const [answer] = asked(text);
    t.regex(answer?.kind === 'refuse' ? answer.message : '', /give it one with AS/, text);
  }
});

test('FOUND_ROWS() is refused', (t) => {
  t.is(asked('SELECT FOUND_ROWS()')[0]?.kind, 'refuse');
  t.is(asked('SELECT `found_rows`()')[0]?.kind, 'refuse');
});

test('what asks for something else goes on as it is', (t) => {
  for (const text of [
    'SELECT LAST_INSERT_ID()',
    'SELECT @@identity, @@global.warning_count',
    "SELECT 'ROW_COUNT()', `row_count`, row_count FROM t -- ROW_COUNT()",
    'SELECT k.row_count()',
    'SHOW TABLES',
    'SHOW COUNT(*) ROWS',
    'SHOW WARNINGS LIMIT x',
  ])
    t.deepEqual(asked(text), [{ kind: 'as-is' }], text);
});

test('SHOW WARNINGS and SHOW ERRORS are given the rows that were kept', (t) => {
  for (const [text, rows] of [
    ['SHOW WARNINGS', [0, 1, 2]],
    ['show errors', [1]],
    ['SHOW WARNINGS LIMIT 2', [0, 1]],
    ['SHOW WARNINGS LIMIT 1, 1', [1]],
    ['SHOW WARNINGS LIMIT 1 OFFSET 2', [2]],
    ['SHOW ERRORS LIMIT 5, 5', []],
  ] as const)
    t.deepEqual(asked(text), [{ kind: 'warnings', rows }], text);
  t.deepEqual(rewritten('SHOW COUNT(*) WARNINGS; SHOW COUNT(*) ERRORS'), [
    'SELECT (0 | 3) AS `@@session.warning_count`',
    'SELECT (0 | 1) AS `@@session.error_count`',
  ]);
});

test('GET DIAGNOSTICS is refused', (t) => {
  for (const text of ['GET DIAGNOSTICS @n = ROW_COUNT', 'get current diagnostics condition 1 @m = message_text'])
    t.is(asked(text)[0]?.kind, 'refuse', text);
});
