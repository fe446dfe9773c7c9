import test from 'ava';
import fc from 'fast-check';
import { bareOf, withoutMarks, type InsteadContext } from '../../../proxy/mysql/session/naming/instead.ts';
import { Statements } from '../../../proxy/mysql/session/statements.ts';
import { scan, type Lexical } from '../../../proxy/mysql/text/tokens.ts';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import { createFrameReader, encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import { encodeQuery } from '../../../proxy/mysql/wire/query.ts';
import { TYPE } from '../../../proxy/mysql/wire/values.ts';

const PARENT = "traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'";

/** Bytes as characters. */
const bare = (text: string): string | undefined => bareOf(Buffer.from(text, 'latin1'))?.toString('latin1');

const STRIPPED: readonly (readonly [title: string, sql: string, bare: string])[] = [
  ['a gid at the end', "select 1 /*atomesh_gid='g1'*/", 'select 1'],
  ['a trace with other keys', `select 1 /*route='%2Fa',${PARENT},tracestate='atomesh%3Dg%3Ag1'*/;\n`, 'select 1;\n'],
  ['a gid in front', "\t/*atomesh_gid='g1'*/ select 1", '\tselect 1'],
  [
    'one at each end, of several statements',
    `/*${PARENT}*/update t set a = 1; commit/*atomesh_gid='g1'*/`,
    'update t set a = 1; commit',
  ],
  ['a comment that servers carry out stays', `/*${PARENT}*//*!40101 set a = 1 */`, '/*!40101 set a = 1 */'],
  ['a hint stays', `/*${PARENT}*/select /*+ MAX_EXECUTION_TIME(9) */ 1`, 'select /*+ MAX_EXECUTION_TIME(9) */ 1'],
  [
    'what is no UTF-8 stays',
    `insert into t values ('\xE4\xF6\x81')/*${PARENT}*/`,
    "insert into t values ('\xE4\xF6\x81')",
  ],
  [
    'a string that looks like one stays',
    `select '/*${PARENT.replaceAll("'", '')}*/' /*atomesh_gid='g'*/`,
    `select '/*${PARENT.replaceAll("'", '')}*/'`,
  ],
  ['a line comment keeps its end', `select 1 # a\n/*${PARENT}*/`, 'select 1 # a\n'],
];

for (const [title, sql, expected] of STRIPPED) {
  test(`does not go on: ${title}`, (t) => {
    t.is(bare(sql), expected);
  });
}

const KEPT: readonly (readonly [title: string, sql: string])[] = [
  ['no comment', 'select atomesh_gid from t'],
  ['a comment of somebody else', "select 1 /*controller='index'*/"],
  ['a comment in the middle', `select /*${PARENT}*/ 1`],
  ['a comment that servers carry out', `select 1 /*!40101 ${PARENT}*/`],
  ['a comment that MariaDB carries out', `select 1 /*M!100100 ${PARENT}*/`],
  ['one within such a comment', `select 1 /*!40101 + 1 /*${PARENT}*/ */`],
  ['a hint', `select /*+ traceparent=x */ 1`],
  ['the end of a string', `select 'a /*${PARENT}*/'`],
  ['the end of a string in the other quotes', `select "a /*${PARENT}*/"`],
  ['the end of a quoted name', 'select `a /*traceparent=x*/`'],
  ['what is one comment', `select 1 /*/ a /*${PARENT}*/`],
  ['what two minus signs would take for their own', `select 1 --/*${PARENT}*/`],
  ['a line comment that would lose its blank', `select 1 -- /*${PARENT}*/;`],
  ['what stands behind a semicolon', `select 1; /*${PARENT}*/`],
  ['a comment without an end', `/*${PARENT} select 1`],
];

for (const [title, sql] of KEPT) {
  test(`goes on as it came: ${title}`, (t) => {
    t.is(bare(sql), undefined);
  });
}

/** Sessions as they may be, of which nothing is known when a text goes on. */
const LEXICALS: readonly Lexical[] = [false, true].flatMap((noBackslashEscapes) =>
  [false, true].flatMap((ansiQuotes) =>
    (['utf8', 'single-byte'] as const).map((charset) => ({ noBackslashEscapes, ansiQuotes, charset })),
  ),
);

const WORDS: readonly string[] =
  `select 1| |\n|;|'|''|"|\`|\\|/*|*/|/*/|--|-- |#|,|=|x|1|+|(|*|/|\u00A0|\u0081|/*+ h */|/*atomesh_gid='g'*/|/*traceparent=x*/|/*${PARENT}*/`.split(
    '|',
  );
const CONFUSING = fc.array(fc.constantFrom(...WORDS), { maxLength: 14 }).map((parts) => parts.join(''));

test('whatever the session is like, what is left has the same words', (t) => {
  const seed = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
  t.log(`seed ${seed}`);
  let compared = 0;
  const text = fc.oneof(
    CONFUSING,
    CONFUSING.map((middle) => `/*${PARENT}*/select 'a\\' ${middle}/*atomesh_gid='g'*/`),
    CONFUSING.map((middle) => `select 1 ${middle} /*${PARENT}*/;`),
  );
  fc.assert(
    fc.property(text, (sql) => {
      const left = bare(sql);
      if (left === undefined) return;
      for (const lexical of LEXICALS) {
        const [before, after] = [sql, left].map((each) => {
          const scanned = scan(each, lexical);
          return scanned.kind === 'fault'
            ? undefined
            : JSON.stringify(scanned.tokens.map(({ kind, text: word }) => [kind, word]));
        });
        if (before === undefined && after === undefined) continue;
        compared += 1;
        if (before !== after) throw new Error(`is now ${JSON.stringify(left)}: ${after} in place of ${before}`);
      }
    }),
    { numRuns: 20_000, seed },
  );
  t.true(compared > 10_000, `${compared} compared`);
});

/** What goes to the server in place of this payload. */
function sent(payload: Buffer, capabilities: bigint, stripsComments = true, sequence = 0): Buffer | undefined {
  const reader = createFrameReader({ holds: () => true, maxBytes: 1 << 26 });
  reader.push(encodePackets(payload, sequence));
  if (!reader.next()) throw new Error('there is no command');
  const context: InsteadContext = {
    capabilities,
    mayHaveAttributes: false,
    statements: new Statements(),
    status: 0,
    stripsComments,
  };
  return withoutMarks(reader, context);
}

const TEXT = Buffer.from(`select 1 /*${PARENT}*/`);

test('queries and what is prepared go on without such comments, where that is asked for', (t) => {
  const query = Buffer.concat([Buffer.from([3]), TEXT]);
  const prepare = Buffer.concat([Buffer.from([0x16]), TEXT]);
  t.deepEqual(sent(query, 0n), encodePackets(Buffer.from('\u0003select 1'), 0));
  t.deepEqual(sent(prepare, 0n, true, 7), encodePackets(Buffer.from('\u0016select 1'), 7));
  for (const other of [query, prepare]) t.is(sent(other, 0n, false), undefined);
  t.is(sent(Buffer.concat([Buffer.from([2]), TEXT]), 0n), undefined, 'a name of a database');
  t.is(sent(Buffer.from("\u0003select 1 /*controller='index'*/"), 0n), undefined);
});

test('attributes stand in front as they came', (t) => {
  const attributes = [
    { type: { code: TYPE.varString, flags: 0 }, name: Buffer.from('a'), value: Buffer.from('/*b*/') },
  ];
  const of = (text: string): Buffer => encodeQuery({ kind: 'query', attributes, text: Buffer.from(text) });
  const { queryAttributes } = CAPABILITY;
  t.deepEqual(sent(of(TEXT.toString()), queryAttributes), encodePackets(of('select 1'), 0));
  const none = (text: string): Buffer => encodeQuery({ kind: 'query', attributes: [], text: Buffer.from(text) });
  t.deepEqual(sent(none(TEXT.toString()), queryAttributes), encodePackets(none('select 1'), 0));
});

test('a command that would have fewer packets goes on as it came: its answer would be numbered otherwise', (t) => {
  const of = (bytes: number): Buffer =>
    Buffer.concat([Buffer.from('\u0003'), Buffer.alloc(bytes - 1 - TEXT.length, 32), TEXT]);
  t.is(sent(of(0xff_ffff), 0n), undefined);
  t.is(sent(of(0xff_ffff - 1), 0n)?.length, 4 + 0xff_ffff - 1 - TEXT.length + 'select 1'.length);
});
