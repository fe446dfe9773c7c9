import test from 'ava';
import fc from 'fast-check';
import { loadModule, parseSync } from 'libpg-query';
import { stripTraceComments } from '../../proxy/binding/strip-comment.ts';

const PARENT = "traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'";

const STRIPPED: readonly (readonly [title: string, sql: string, text: string, inFront: number])[] = [
  ['a trace at the end', `select 1 /*${PARENT},tracestate='atomesh%3Dg%3Ag1'*/`, 'select 1', 0],
  ['a gid at the end', "select 1 /*atomesh_gid='g1'*/", 'select 1', 0],
  ['the semicolon behind it stays', "select 1 /*atomesh_gid='g1'*/;\n", 'select 1;\n', 0],
  ['a comment without a blank before it', "select 1/*atomesh_gid='g1'*/", 'select 1', 0],
  ['a comment in front', "/*atomesh_gid='g1'*/ select 1", 'select 1', 21],
  ['white space in front stays', "\n /*atomesh_gid='g1'*/\nselect 1", '\n \nselect 1', 20],
  ['one at each end', "/*atomesh_gid='g1'*/select 1/*atomesh_gid='g1'*/", 'select 1', 20],
  ['other keys of the same comment go along', `select 1 /*action='a%20b',${PARENT},route='/polls'*/`, 'select 1', 0],
  ['pairs without quotes, and in the form of marginalia', 'select 1 /* app:shop, atomesh_gid:g1 */', 'select 1', 0],
  [
    'what the instrumentation of psycopg writes',
    `select 1 /*controller='root',db_driver='psycopg%%3A3.3.9',dbapi_threadsafety=2,route='/',${PARENT}*/`,
    'select 1',
    0,
  ],
  ["what Java's agent writes", `select 1 /*${PARENT}, tracestate='atomesh%3Dg%3Ag1'*/`, 'select 1', 0],
  ['doubled percent signs', "select 1 /*tracestate='atomesh%%3Dg%%3Ag1'*/", 'select 1', 0],
  ['nothing but a comment', `/*${PARENT}*/`, '', 0],
  ['the end of a line comment', `select 1 -- /*${PARENT}*/`, 'select 1 --', 0],
  ['a line comment before it keeps its end', `select 1 -- x\n/*${PARENT}*/ ;`, 'select 1 -- x\n ;', 0],
  ['a hint behind it', `/*${PARENT}*/ /*+ SeqScan(t) */ select 1`, '/*+ SeqScan(t) */ select 1', -1],
  ['characters of more than one byte', "/*action='ü😀',atomesh_gid='g1'*/select 1", 'select 1', 32],
];

for (const [title, sql, text, inFront] of STRIPPED) {
  test(`is taken off: ${title}`, (t) => {
    const found = stripTraceComments(sql);
    t.is(found.text, text);
    if (inFront > 0) t.is(found.charactersInFront, inFront);
  });
}

const KEPT: readonly (readonly [title: string, sql: string])[] = [
  ['no comment', 'select 1'],
  ['an empty text', ''],
  ['a comment of somebody else', "select 1 /*controller='index'*/"],
  ['prose that speaks of it', 'select 1 /* needs a traceparent */'],
  ['a hint in front', `/*+ Leading(a b) */ select 1`],
  ['a hint that looks like pairs', `select 1 /*+ traceparent=x */`],
  ['a conditional comment of MySQL', `select 1 /*!40001 traceparent=x */`],
  ['a comment in the middle', `select /*${PARENT}*/ 1`],
  ['a literal that looks like one', `select '/*${PARENT.replaceAll("'", "''")}*/'`],
  ['a literal that ends in one and goes on', `select '/*traceparent=' || x -- '*/`],
  ['a literal that ends in one, before a comment to the end of the line', `select '/*traceparent='--'*/`],
  ['a dollar quote', `select $$/*${PARENT}*/$$`],
  ['the inner of two nested comments', `select 1 /* outer /*${PARENT}*/ */`],
  ['what MySQL reads as one comment', `select 1 /* outer /*${PARENT}*/`],
  ['what only looks like a second comment', `select 1 /* a */*${PARENT}*/`],
  ['the same behind a slash', `select 1 /*/ outer /*${PARENT}*/`],
  ['a value with an escaped quote', `select 1 /*action='it\\'s',${PARENT}*/`],
  ['a comment that does not end', `/*${PARENT} select 1`],
  ['an operator that looks like an end', `select 1 order by 1 using */`],
];

for (const [title, sql] of KEPT) {
  test(`stays as it is: ${title}`, (t) => {
    t.deepEqual(stripTraceComments(sql), { text: sql, charactersInFront: 0, bytesInFront: 0 });
  });
}

test('positions are told in characters, as the server counts them, and in bytes, as parsers do', (t) => {
  const { charactersInFront, bytesInFront } = stripTraceComments("/*action='ü😀',atomesh_gid='g1'*/ select 1");
  t.is(charactersInFront, 33);
  t.is(bytesInFront, 33 + 1 + 3);
});

/** The tree of a text, without the places where things stand in it; undefined when it does not parse. */
function treeOf(sql: string): unknown {
  try {
    return JSON.parse(
      // The binding refuses an empty text.
      JSON.stringify(parseSync(sql === '' ? ' ' : sql), (key, value: unknown) =>
        key === 'location' || key === 'stmt_location' || key === 'stmt_len' ? undefined : value,
      ),
    );
  } catch {
    return undefined;
  }
}

/** Texts made of what could confuse: every kind of quote, comment and end, and whole comments of ours. */
const CONFUSING = fc
  .array(
    fc.constantFrom(
      'select 1',
      ' ',
      '\n',
      ';',
      "'",
      '"',
      '$$',
      '$a$',
      '/*',
      '*/',
      '--',
      'E',
      '\\',
      ',',
      '=',
      'x',
      '1',
      '||',
      '+',
      `/*${PARENT}*/`,
      "/*atomesh_gid='g'*/",
      'traceparent=',
      "atomesh_gid='g'",
      "''",
      'as',
      '/*+ h */',
      '\u00a0',
      '(',
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(''));

test('what is left of a text that parses parses to the same tree', async (t) => {
  await loadModule();
  let parsed = 0;
  let stripped = 0;
  const statement = fc.oneof(
    CONFUSING,
    fc.tuple(CONFUSING, CONFUSING).map(([front, end]) => `${front}select 'a' as b${end}`),
    CONFUSING.map((middle) => `/*${PARENT}*/select ${middle} 1 /*atomesh_gid='g'*/`),
  );
  const seed = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
  t.log(`seed ${seed}`);
  fc.assert(
    fc.property(statement, (sql) => {
      const before = treeOf(sql);
      if (before === undefined) return;
      parsed += 1;
      const { text } = stripTraceComments(sql);
      if (text !== sql) stripped += 1;
      if (JSON.stringify(treeOf(text)) !== JSON.stringify(before)) throw new Error(`is now ${JSON.stringify(text)}`);
    }),
    { numRuns: 6000, seed },
  );
  t.true(parsed > 300 && stripped > 100, `${parsed} parsed, ${stripped} stripped`);
});

test('positions of what is left are those of before, less what was taken away in front', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), fc.boolean(), (middle, isMarked) => {
      const mark = isMarked ? "/*atomesh_gid='g1'*/ " : '';
      const sql = `${mark}select ${middle}X`;
      const { text, charactersInFront, bytesInFront } = stripTraceComments(sql);
      const [before, after] = [sql, text].map((found) => found.slice(0, found.lastIndexOf('X')));
      if (before === undefined || after === undefined) throw new Error('there is no X');
      if (Array.from(before).length - charactersInFront !== Array.from(after).length) throw new Error('characters');
      if (Buffer.byteLength(before) - bytesInFront !== Buffer.byteLength(after)) throw new Error('bytes');
    }),
    { numRuns: 500 },
  );
  t.pass();
});
