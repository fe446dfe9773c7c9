import test from 'ava';
import fc from 'fast-check';
import { scan, type Lexical } from '../../../proxy/mysql/text/tokens.ts';

const PLAIN: Lexical = { charset: 'utf8', noBackslashEscapes: false, ansiQuotes: false };

/** The tokens of a text as kind and text, or the fault. */
function tokens(text: string, lexical: Partial<Lexical> = {}): readonly string[] | string {
  const scanned = scan(text, { ...PLAIN, ...lexical });
  return scanned.kind === 'fault' ? scanned.message : scanned.tokens.map((token) => `${token.kind} ${token.text}`);
}

const READ: readonly (readonly [text: string, expected: readonly string[], lexical?: Partial<Lexical>])[] = [
  ['SELECT 1', ['word select', 'number 1']],
  ["'it''s'", ["string 'it''s'"]],
  ["'it\\'s' x", ["string 'it\\'s'", 'word x']],
  ["'it\\' x", ["string 'it\\'", 'word x'], { noBackslashEscapes: true }],
  ['"a""b" x', ['string "a""b"', 'word x']],
  ['"a""b\\" x', ['name a"b\\', 'word x'], { ansiQuotes: true }],
  ['`a``b` `c`', ['name a`b', 'name c']],
  ['`a\\` b', ['name a\\', 'word b']],
  ["x'4D' X'4D' b'01' N'n'", ["string x'4D'", "string X'4D'", "string b'01'", "string N'n'"]],
  ["_utf8'a'", ['word _utf8', "string 'a'"]],
  ['1.5e-3 .5 0x1F 0b01 12', ['number 1.5e-3', 'number .5', 'number 0x1F', 'number 0b01', 'number 12']],
  ['a--b', ['word a', 'operator -', 'operator -', 'word b']],
  ['a-- b\nc', ['word a', 'word c']],
  ['a--', ['word a']],
  ['a # b\nc', ['word a', 'word c']],
  ["a /* ; ' */ b /**/", ['word a', 'word b']],
  ['/*+ no_icp(t) */ a', ['word a']],
  ['a.b@c := ?', ['word a', 'operator .', 'word b', 'operator @', 'word c', 'operator :=', 'parameter ?']],
  ["j->'$.a' ->> 1", ['word j', 'operator ->', "string '$.a'", 'operator ->>', 'number 1']],
  ['a<=>b!=c', ['word a', 'operator <=>', 'word b', 'operator !=', 'word c']],
  ['ÜNï', [`word ${Buffer.from('Ünï').toString('latin1')}`]],
];

for (const [text, expected, lexical] of READ) {
  test(`${text} is read as the server reads it${lexical === undefined ? '' : ` with ${JSON.stringify(lexical)}`}`, (t) => {
    t.deepEqual(tokens(Buffer.from(text).toString('latin1'), lexical), expected);
  });
}

const FAULTS: readonly (readonly [text: string, because: RegExp, lexical?: Partial<Lexical>])[] = [
  ["'a", /string without an end/],
  ["'a\\'", /string without an end/],
  ['`a', /name without an end/],
  ['/* a', /comment without an end/],
  ['/*! a */', /carry out/],
  ['/*!50000 a */', /carry out/],
  ['/*M!100100 a */', /carry out/],
  ["/*+ SET_VAR(sql_mode='') */", /SET_VAR/],
  ['select 1st', /begins with a digit/],
  ['select t.1', /begins with a digit/],
  ['select \\N', /no statement/],
  ['select \0', /no statement/],
  ["select '\u0081\\'' ", /half of a character/, { charset: 'other' }],
  ['select \u00e9', /not UTF-8/, { charset: 'single-byte' }],
];

for (const [text, because, lexical] of FAULTS) {
  test(`${JSON.stringify(text)} is not read${lexical === undefined ? '' : ` with ${JSON.stringify(lexical)}`}`, (t) => {
    t.regex(String(tokens(text, lexical)), because);
  });
}

test('whatever is sent is read or refused, and tokens lie in order within the text', (t) => {
  const seed = Date.now() % 1_000_000_000;
  t.log(`SEED=${seed}`);
  const piece = fc.oneof(
    fc.constantFrom(
      "'",
      '"',
      '`',
      '\\',
      '--',
      '-- ',
      '/*',
      '*/',
      '#',
      '\n',
      ' ',
      '?',
      '.',
      '@',
      '1',
      'a',
      'x',
      ';',
      '/*!',
      '\u00ff',
    ),
    fc.string(),
  );
  const lexical = fc.record({
    charset: fc.constantFrom('utf8' as const, 'single-byte' as const, 'other' as const),
    noBackslashEscapes: fc.boolean(),
    ansiQuotes: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), lexical, (pieces, settings) => {
      const text = Buffer.from(pieces.join('')).toString('latin1');
      const scanned = scan(text, settings);
      if (scanned.kind === 'fault') return;
      let end = 0;
      for (const token of scanned.tokens) {
        if (token.start < end || token.end <= token.start || token.end > text.length)
          throw new Error(JSON.stringify(token));
        end = token.end;
      }
    }),
    { seed, numRuns: 500 },
  );
  t.pass();
});
