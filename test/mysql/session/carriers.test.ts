import test from 'ava';
import fc from 'fast-check';
import type { Mark } from '../../../src/contract/transaction.ts';
import { parseMark } from '../../../src/contract/transaction.ts';
import { claimOf, claimOfConnection, type Claim, type Claimant } from '../../../proxy/mysql/session/naming/carriers.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = `00-${TRACE}-b7ad6b7169203331-01`;
const OTHER = PARENT.replace('0af', 'aaa');
const TWICE = PARENT.replace('0af', 'bbb');
const of = (text: string): Mark => parseMark(text) ?? fail(text);
const traces = {
  size: 1,
  markOf: (id: string): Mark | 'ambiguous' | undefined =>
    id === TRACE ? of('of-trace') : id.startsWith('bbb') ? 'ambiguous' : undefined,
};

function fail(text: string): never {
  throw new Error(`${text} is no mark`);
}

function claim(text: string, more: Partial<Claimant> = {}): string {
  const claimant = { text, attributes: new Map(), parameter: () => undefined, hasPlainBackslash: false, ...more };
  return shown(claimOf(claimant, traces));
}

function shown(claimed: Claim | undefined): string {
  switch (claimed?.kind) {
    case undefined:
      return 'nothing';
    case 'none':
      return claimed.reason;
    case 'mark':
      return `${claimed.scope} ${claimed.mark?.gid ?? 'nobody'}`;
    case 'refused':
      return `${claimed.refusal.errno} ${claimed.refusal.code}`;
  }
}

/** What is said, and what comes of it. */
const TABLE: readonly (readonly [string, string])[] = [
  ['select 1', 'none'],
  ["select 'atomesh' /* atomesh */", 'none'],
  ["update t set a = 1 /*atomesh_gid='g1'*/", 'local g1'],
  ["/*atomesh_gid='g1'*/ begin", 'local g1'],
  ["select 1 /*atomesh_gid='g1',traceparent='x'*/;", 'local g1'],
  [`select 1 /*traceparent='${PARENT}'*/`, 'local of-trace'],
  [`select 1 /*traceparent='${OTHER}'*/`, 'unknown-trace'],
  [`select 1 /*traceparent='${TWICE}'*/`, '1568 25001'],
  [`select 1 /*traceparent='${PARENT}',tracestate='atomesh%3Dg%3Ag2'*/`, 'local g2'],
  ["/*atomesh_gid='g1'*/ select 1 /*atomesh_gid='g2'*/", '1568 25001'],
  ["select 1 /*atomesh_gid='no gid'*/", '1231 22023'],
  ["begin /*atomesh_gid='g1'*/; update t set a = 1", 'local g1'],
  ["begin; /*atomesh_gid='g1'*/ update t set a = 1; commit", 'local g1'],
  ["begin; update t set a = 1 /*atomesh_gid='g1'*/; commit; select 1", 'local g1'],
  ["begin /*atomesh_gid='g1'*/; update t set a = 1 /*atomesh_gid='g1'*/;", 'local g1'],
  ["begin /*atomesh_gid='g1'*/; update t set a = 1 /*atomesh_gid='g2'*/;", '1568 25001'],
  ["begin /*atomesh_gid='no gid'*/; update t set a = 1", '1231 22023'],
  [`begin /*traceparent='${PARENT}'*/; update t set a = 1`, 'local of-trace'],
  ["insert into t values ('; select 1 /*atomesh_gid=''g1''*/;'); select 1", 'none'],
  ["insert into t values ('\\'; /*atomesh_gid=1*/ select ;'); select \"; /*atomesh_gid='g1'*/ \"", 'none'],
  ["select 1 -- ; /*atomesh_gid='g1'*/ select\n; select `; /*atomesh_gid='g1'*/ ;` from t # don't", 'none'],
  ["select 1; select a /*atomesh_gid='g1'*/ from t", 'none'],
  ["set @atomesh_gid = 'g1'", 'session g1'],
  ['SET @atomesh_gid := "g1";', 'session g1'],
  ["/* of the pool */ set @atomesh_gid='g1' -- here", 'session g1'],
  ['set @atomesh_gid = null', 'session nobody'],
  ["set @atomesh_gid = ''", 'session nobody'],
  ["set @atomesh_gid = 'no gid'", '1231 22023'],
  ['set @atomesh_gid = ?', '1235 0A000'],
  ["set @a = 1, @atomesh_gid = 'g1'", '1235 0A000'],
  ["set @atomesh_gid = 'g1'; update t set a = 1", '1235 0A000'],
  ["set @atomesh_gid = concat('g', 1)", '1235 0A000'],
  ['select @atomesh_gid := 1', '1235 0A000'],
  ["select 'g1' into @atomesh_gid", '1235 0A000'],
  ["set @`atomesh_gid` = 'g1'", '1235 0A000'],
  ['select @atomesh_gid', 'none'],
  ["select '@atomesh_gid = 1'", 'none'],
  ["insert into t values ('set @atomesh_gid = 1')", 'none'],
  ["select @atomesh_gid_of_mine := 'x'", 'none'],
];

for (const [text, expected] of TABLE) test(`${text} names: ${expected}`, (t) => t.is(claim(text), expected));

test('a parameter carries the gid, and NULL takes it away', (t) => {
  const set = (value: string | null): string => claim('set @atomesh_gid = ?', { parameter: () => value });
  t.is(set('g1'), 'session g1');
  t.is(set(null), 'session nobody');
  t.is(set('no gid'), '1231 22023');
});

test('a query attribute goes before everything else', (t) => {
  const attributes = (...pairs: readonly (readonly [string, string])[]): Partial<Claimant> => ({
    attributes: new Map(pairs),
  });
  const text = "select 1 /*atomesh_gid='g1'*/";
  t.is(claim(text, attributes(['atomesh_gid', 'g9'])), 'local g9');
  t.is(claim(text, attributes(['traceparent', PARENT])), 'local of-trace');
  t.is(claim(text, attributes(['tracestate', 'atomesh=g:g8'], ['traceparent', PARENT])), 'local g8');
  t.is(claim(text, attributes(['traceparent', OTHER])), 'local g1');
  t.is(claim(text, attributes(['traceparent', TWICE])), '1568 25001');
  t.is(claim(text, attributes(['atomesh_gid', 'no gid'])), '1231 22023');
});

test('an attribute of the connection names the session’s gid', (t) => {
  const connection = (name: string, value: string): string =>
    shown(
      claimOfConnection([
        [Buffer.from('_os'), Buffer.from('x')],
        [Buffer.from(name), Buffer.from(value)],
      ]),
    );
  t.is(connection('atomesh_gid', 'g1'), 'session g1');
  t.is(connection('atomesh_gid', 'no gid'), '1231 22023');
  t.is(connection('program_name', 'g1'), 'nothing');
  t.is(shown(claimOfConnection(undefined)), 'nothing');
});

test('no text whatever makes the search fail or take long', (t) => {
  const words = fc.constantFrom(
    '@atomesh_gid',
    ' = ',
    "'",
    '"',
    '`',
    '\\',
    '/*',
    '*/',
    '--',
    '#',
    '\n',
    'set ',
    'into ',
    '?',
    ';',
    'g1',
    'atomesh_gid=',
    ' ',
  );
  fc.assert(
    fc.property(fc.array(words, { maxLength: 40 }), fc.boolean(), (parts, hasPlainBackslash) => {
      const found = claim(parts.join(''), { hasPlainBackslash });
      t.is(typeof found, 'string');
    }),
  );
  const long = "'a\\'".repeat(300_000);
  t.is(typeof claim(`@atomesh_gid ${long}`), 'string');
  t.is(typeof claim(`${'/*'.repeat(300_000)}@atomesh_gid`), 'string');
});
