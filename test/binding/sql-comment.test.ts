import test from 'ava';
import fc from 'fast-check';
import { markText, parseMark } from '../../src/contract/transaction.ts';
import { markFromSqlComment } from '../../proxy/binding/from-sql-comment.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const manyId = 'f'.repeat(32);
const traces = {
  markOf: (id: string) => (id === traceId ? parseMark('of-trace') : id === manyId ? ('ambiguous' as const) : undefined),
  size: 1,
};
const markIn = (sql: string): string | undefined => {
  const found = markFromSqlComment(sql, traces);
  return found?.kind === 'mark' ? markText(found.mark) : found?.kind;
};

const table: readonly (readonly [title: string, sql: string, mark: string | undefined])[] = [
  ['a comment at the end', "select 1 /*atomesh_gid='g1'*/", 'g1'],
  ['a comment at the end, before the semicolon', "select 1 /*atomesh_gid='g1'*/ ;\n", 'g1'],
  ['a comment in front', "/*atomesh_gid='g1'*/ select 1", 'g1'],
  ['an operation of a branch', "select 1 /*atomesh_gid='g1/01/try'*/", 'g1/01/try'],
  ['an operation, URL-encoded', "select 1 /*atomesh_gid='g1%2F01%2Ftry'*/", 'g1/01/try'],
  ['an operation without quotes', 'select 1 /*atomesh_gid=g1/00/msg*/', 'g1/00/msg'],
  ['an operation in a tracestate', "select 1 /*tracestate='atomesh%3Dg%3Ag2%2F00%2Frun2%2Cother%3D1'*/", 'g2/00/run2'],
  ['an operation that is none', "select 1 /*atomesh_gid='g1/01/dance'*/", 'malformed'],
  ['a key without quotes', 'select 1 /*atomesh_gid=g1*/', 'g1'],
  ['a key in the form of marginalia', 'select 1 /*application:shop,atomesh_gid:g1*/', 'g1'],
  ['URL-encoded characters', "select 1 /*atomesh_gid='g%7B1%7D'*/", 'g{1}'],
  ["percent signs doubled by Google's Python library", "select 1 /*atomesh_gid='g%%7B1%%7D'*/", 'g{1}'],
  ['other keys around it', "select 1 /*action='a%20b',atomesh_gid='g1',route='%2Fpolls'*/", 'g1'],
  ['a tracestate', "select 1 /*traceparent='00-x',tracestate='atomesh%3Dg%3Ag2%2Cother%3D1'*/", 'g2'],
  [
    'a traceparent of a trace that arrived with a gid',
    `select 1 /*traceparent='00-${traceId}-b7ad6b7169203331-01'*/`,
    'of-trace',
  ],
  [
    'a traceparent of another trace',
    "select 1 /*traceparent='00-11111111111111111111111111111111-b7ad6b7169203331-01'*/",
    undefined,
  ],
  [
    'the explicit key before the trace',
    `select 1 /*atomesh_gid='g1',traceparent='00-${traceId}-b7ad6b7169203331-01'*/`,
    'g1',
  ],
  ['no comment', 'select 1', undefined],
  ['a comment of somebody else', "select 1 /*controller='index'*/", undefined],
  ['a literal that looks like one', "select '/*atomesh_gid=''g1''*/'", undefined],
  ['a comment in the middle', "select /*atomesh_gid='g1'*/ 1", undefined],
  ['a hint', 'select /*+ SeqScan(t) */ 1', undefined],
  ['one gid in front and another at the end', "/*atomesh_gid='g1'*/ select 1 /*atomesh_gid='g2'*/", 'contradictory'],
  ['two operations', "/*atomesh_gid='g1/01/try'*/ select 1 /*atomesh_gid='g1/02/try'*/", 'contradictory'],
  [
    'a gid in front and an operation of it at the end',
    "/*atomesh_gid=g1*/ select 1 /*atomesh_gid='g1/01/try'*/",
    'g1/01/try',
  ],
  [
    'a gid in front and the traceparent of another at the end',
    `/*atomesh_gid=g1*/ select 1 /*traceparent='00-${traceId}-b7ad6b7169203331-01'*/`,
    'g1',
  ],
  [
    'a traceparent of a trace that stands for several',
    `select 1 /*traceparent='00-${manyId}-b7ad6b7169203331-01'*/`,
    'ambiguous',
  ],
  ['a long comment that ends with it', `select 1 /*${'x'.repeat(9_000)} atomesh_gid='g1'*/`, 'g1'],
  [
    'a long comment in which it is too far from the end',
    `select 1 /*atomesh_gid='g1' ${'x'.repeat(9_000)}*/`,
    'malformed',
  ],
  ['text that is not a gid', "select 1 /*atomesh_gid='a b; drop table t'*/", 'malformed'],
];

for (const [title, sql, mark] of table) {
  test(`the mark of a statement with ${title}`, (t) => t.is(markIn(sql), mark));
}

test('no text throws, and a gid is found only where its letters stand', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (sql) => {
      const found = markIn(sql);
      return found === undefined || found === 'malformed' || sql.includes('atomesh');
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('a comment that is made for it costs no more than its length', (t) => {
  const started = performance.now();
  for (const filling of ['a', "'", "a='", ' ', '\\', '/*', ';', 'a.']) {
    markIn(`select 1 /*${filling.repeat(400_000 / filling.length)}*/`);
    markIn(`${filling.repeat(400_000 / filling.length)} atomesh`);
  }
  t.true(performance.now() - started < 2_000);
});
