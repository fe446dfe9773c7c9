import test from 'ava';
import { lastingOf, NOTHING } from '../../../proxy/mysql/inside/past/lasting.ts';

/** What a text leaves behind: letters for the database, what texts are read by, the level of the next local transaction, and a call. */
function left(text: string | Buffer, hasSeveral = false): string {
  const { database, reading, level, calls } = lastingOf(Buffer.from(text as string), 0, undefined, hasSeveral);
  return `${database ? 'd' : ''}${reading ? 'r' : ''}${level ? 'l' : ''}${calls ? 'c' : ''}`;
}

const LONG = 'x'.repeat(400);

/** Texts of one statement. */
const ONE: readonly (readonly [text: string, lasting: string])[] = [
  ['use k', 'd'],
  ['USE`k`', 'd'],
  ['  /* a */ Use k', 'd'],
  ['-- a\nuse k', 'd'],
  ['# a\n-- b\n/**/use k', 'd'],
  [`/* ${LONG} */use k`, 'd'],
  ['/*!40101 use k */', 'drlc'],
  ['/*M! use k */', 'drlc'],
  ['/*! */ use k', 'drlc'],
  ['/*!99999 x */ set names latin1', 'drlc'],
  ['execute s', 'drlc'],
  ["EXECUTE IMMEDIATE 'x'", 'drlc'],
  ["begin not atomic execute immediate 'use k'; end", 'drlc'],
  ['if 1 then set names latin1; end if', 'drlc'],
  ["set sql_mode = ''", 'r'],
  ['set @a = 1, @@session.`sql_mode` = @b', 'r'],
  ['set names utf8mb4', 'r'],
  ['SET/**/CHARACTER SET utf8mb4', 'r'],
  ['set /*!40000 names latin1 */', 'r'],
  ['set collation_connection = utf8mb4_bin', 'r'],
  ['set statement max_statement_time = 1 for use k', 'drlc'],
  ['set transaction read only', 'l'],
  ['/* x */ set /* y */ transaction isolation level read committed', 'l'],
  ["set @@tx_isolation = 'READ-COMMITTED'", 'l'],
  ['set session transaction isolation level read committed', ''],
  ['set autocommit = 1', ''],
  ['start transaction', ''],
  ['begin', ''],
  ['begin /* set names use execute */', ''],
  ['commit', ''],
  ['call use_it()', 'lc'],
  ['CALL`p`', 'lc'],
  ['/* a */ call p', 'lc'],
  ['/*!50003 call p() */', 'lc'],
  ['/*M! call p() */', 'lc'],
  ['begin not atomic call p(); end', 'lc'],
  ['begin p;end', 'lc'],
  ['begin/**/p; end', 'lc'],
  ['declare n int; begin p; end', 'lc'],
  ["begin execute immediate 'use k'; end", 'drlc'],
  ['if 1 then call p(); end if', 'lc'],
  ['set statement max_statement_time = 1 for call p()', 'drlc'],
  ['set /* a */ /*!100100 statement max_statement_time = 1 for */ call p()', 'drlc'],
  ['set @a = (select 1 from t use index (i))', ''],
  ['begin /* a */ work /* b */', ''],
  ['begin work; ', ''],
  ['begin -- a\n-- b', ''],
  ['begin # a\n work -- b', ''],
  ['begin -- a\n p; end', 'lc'],
  ['set -- a\n transaction read only', 'l'],
  [`begin ${'-- '.repeat(5000)}`, ''],
  ['select call_it()', ''],
  ['delete from declared', ''],
  ["prepare s from 'use k'", ''],
  ['explain select 1 from t use index (i)', ''],
  ['/* use k */ select 1 from t use index (i)', ''],
  ['(select 1 from t use index (i))', ''],
  ["insert into t values ('; use k')", ''],
  ['update t set a = 1', ''],
  ['-- use k', ''],
  ['/* use k', ''],
  ['', ''],
];

test('what a text of one statement leaves behind', (t) => {
  for (const [text, lasting] of ONE) t.is(left(text), lasting, text);
});

/** Texts of several statements: what they leave behind where they are carried out, and where only the first could be. */
const SEVERAL: readonly (readonly [text: string, all: string, first: string])[] = [
  ['select 1; use k', 'd', ''],
  ['select 1;/* a */use k;', 'd', ''],
  ['use k; select 1', 'd', 'd'],
  ['use k; set names latin1; set transaction read only', 'drl', 'd'],
  ['select 1; set transaction isolation level read committed', 'l', ''],
  ['select 1; /*!40101 use k */', 'drlc', ''],
  ["insert into t values ('use it'); commit", '', ''],
  ['select 1;', '', ''],
  ['call p();'.repeat(60), 'drlc', 'lc'],
  ['select 1; call p()', 'lc', ''],
  ['set @a = 1; call p(@a); select @a', 'lc', ''],
  ['set @a = 1; use k', 'd', ''],
  ['begin /* begin it now */; call p()', 'lc', ''],
  ['select 1;'.repeat(60), '', ''],
  // Behind a semicolon a string may look like a comment.
  ["select ';#'; use k", 'd', ''],
  ["select ';/*'; use k; select '*/'", 'd', ''],
  ["select '; -- '; use k", 'd', ''],
  ["select ';#'; set sql_mode = ''", 'r', ''],
  ["select ';/*'; call p(); select '*/'", 'lc', ''],
  ["insert into t values (';#', 'use k'); commit", '', ''],
  ['select 1; /* a; b */ commit', '', ''],
  [`select '${';#'.repeat(60)}'`, 'drlc', ''],
];

test('what a text of several statements leaves behind', (t) => {
  for (const [text, all, first] of SEVERAL) {
    t.is(left(text, true), all, text);
    t.is(left(text), first, text);
  }
});

test('a text of many semicolons that look like the beginning of comments is soon done with', (t) => {
  for (const one of [';#', ';-- ', ';/*']) {
    const begun = performance.now();
    t.is(left(`select '${one.repeat(1_000_000)}'`, true), 'drlc', one);
    t.true(performance.now() - begun < 5_000, one);
  }
});

test('behind query attributes a text is looked at as well, and what stands around it is not', (t) => {
  t.is(left('\0\u0001use k'), 'd');
  t.is(left('\0\u0001select 1 from t use index (i)'), '');
  // With attributes the text begins somewhere.
  t.is(left('\u0001\u0001\0\u000F\0\u0001a\u0001buse k'), '');
  t.is(left('\u0001\u0001\0\u000F\0\u0001a\u0002b use k'), 'drlc');
  t.is(left('\u0001\u0001\0\u000F\0\u0001a\u0002b call p'), 'lc');
  const around = Buffer.from('use k;select 1;use k');
  t.deepEqual(lastingOf(around, 6, 14, true), NOTHING);
});
