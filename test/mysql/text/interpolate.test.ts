import test from 'ava';
import fc from 'fast-check';
import { interpolate, prepareText, type Interpolated } from '../../../proxy/mysql/text/interpolate.ts';
import { scan, type Lexical } from '../../../proxy/mysql/text/tokens.ts';
import type { Parameter } from '../../../proxy/mysql/wire/query.ts';
import { TYPE, binaryOf, type BinaryValue } from '../../../proxy/mysql/wire/values.ts';

const LEXICAL: Lexical = { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8' };
const UNSIGNED = 0x80;

function parameter(code: number, value: BinaryValue | string | null | undefined, flags = 0): Parameter {
  const type = { code, flags };
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  return {
    type,
    name: Buffer.alloc(0),
    value: bytes === null || bytes === undefined || Buffer.isBuffer(bytes) ? bytes : binaryOf(type, bytes),
  };
}

const integer = (value: bigint, flags = 0): Parameter => parameter(TYPE.longlong, { kind: 'integer', value }, flags);
const double = (value: number): Parameter => parameter(TYPE.double, { kind: 'double', value });
const text = (value: string): Parameter => parameter(TYPE.varString, value);

function written(sql: string, parameters: readonly Parameter[], lexical = LEXICAL): string {
  const result: Interpolated = interpolate(prepareText(sql, lexical), parameters, { lexical });
  return result.kind === 'text' ? result.text : `refused: ${result.message}`;
}

test('values of each type are written as literals of that type', (t) => {
  const clock = { hour: 4, minute: 5, second: 6 };
  const values: readonly (readonly [Parameter, string])[] = [
    [text('5'), "'5'"],
    [parameter(TYPE.varString, null), 'NULL'],
    [integer(-5n), '-5'],
    [integer(1n << 62n), '4611686018427387904'],
    [double(5), '5e0'],
    [double(-0), '-0e0'],
    [double(1e-7), '1e-7'],
    [parameter(TYPE.newDecimal, '15'), '15.'],
    [parameter(TYPE.newDecimal, '-1.50'), '-1.50'],
    [parameter(TYPE.blob, "\u00ff'"), "_binary'\u00ff\\''"],
    [
      parameter(TYPE.date, {
        kind: 'moment',
        year: 2020,
        month: 2,
        day: 29,
        hour: 0,
        minute: 0,
        second: 0,
        microsecond: 0,
      }),
      "DATE'2020-02-29'",
    ],
    [
      parameter(TYPE.datetime, { kind: 'moment', year: 2020, month: 2, day: 3, ...clock, microsecond: 70 }),
      "TIMESTAMP'2020-02-03 04:05:06.000070'",
    ],
    [parameter(TYPE.time, { kind: 'time', isNegative: true, days: 3, ...clock, microsecond: 0 }), "TIME'-76:05:06'"],
  ];
  for (const [value, literal] of values) t.is(written('UPDATE t SET a = ?', [value]), `UPDATE t SET a = ${literal}`);
});

test('an unsigned number stays unsigned where it is calculated with', (t) => {
  const five = integer(5n, UNSIGNED);
  t.is(
    written('SELECT a FROM t WHERE a = ? AND b IN (?, ?)', [five, five, five]),
    'SELECT a FROM t WHERE a = 5 AND b IN (5, 5)',
  );
  t.is(written('INSERT INTO t VALUES (?, 1), (2, ?)', [five, five]), 'INSERT INTO t VALUES (5, 1), (2, 5)');
  t.is(
    written('UPDATE t SET a = ? - 1, b = a-?', [five, five]),
    'UPDATE t SET a = CAST(5 AS UNSIGNED) - 1, b = a-CAST(5 AS UNSIGNED)',
  );
  t.is(written('SET @a = ?', [five]), 'SET @a = CAST(5 AS UNSIGNED)');
  t.is(written('SELECT ABS(?)', [integer((1n << 64n) - 1n, UNSIGNED)]), 'SELECT ABS(18446744073709551615)');
});

test('a literal does not grow together with what stands beside it, and two minus signs make no comment', (t) => {
  t.is(written('SELECT a-? FROM t', [integer(-5n)]), 'SELECT a-(-5) FROM t');
  t.is(written('SELECT - -?, a=?', [double(-5), integer(-5n)]), 'SELECT - -(-5e0), a=-5');
  t.is(written('SELECT - -?', [integer(5n)]), 'SELECT - -5');
  t.is(written('SELECT?', [integer(5n)]), 'SELECT 5');
  t.is(
    written("SELECT ? 'name'", [text('x')]),
    'refused: parameter 1: it stands beside a string, with which it would become one',
  );
  t.is(written("SELECT ? 'name'", [integer(5n)]), "SELECT 5 'name'");
});

test('what only looks like a parameter stays as it is', (t) => {
  const sql = 'SELECT \'?\', `?`, /* ? */ ? -- ?\n, "?" # ?';
  t.is(written(sql, [integer(1n)]), sql.replace('*/ ?', '*/ 1'));
});

test('LIMIT and OFFSET get plain numbers, and are refused anything else', (t) => {
  t.is(written('SELECT a FROM t LIMIT ?, ?', [double(1), text('20')]), 'SELECT a FROM t LIMIT 1, 20');
  t.is(
    written('SELECT a FROM t LIMIT ? OFFSET ?', [parameter(TYPE.newDecimal, '7'), integer(0n)]),
    'SELECT a FROM t LIMIT 7 OFFSET 0',
  );
  for (const value of [double(1.5), integer(-1n), text('1x'), text(''), parameter(TYPE.long, null)])
    t.regex(written('SELECT a FROM t LIMIT ?', [value]), /^refused: parameter 1: no plain number/);
});

test('a number that would be the place of a column is refused', (t) => {
  t.regex(written('SELECT a FROM t ORDER BY a, ? DESC', [integer(1n)]), /refused: parameter 1: a number in ORDER BY/);
  t.regex(written('SELECT a FROM t GROUP BY ?', [integer(1n)]), /refused: parameter 1: a number in ORDER BY/);
  t.is(
    written('SELECT a FROM t ORDER BY FIELD(a, ?) LIMIT ?', [integer(1n), integer(2n)]),
    'SELECT a FROM t ORDER BY FIELD(a, 1) LIMIT 2',
  );
  t.is(written('SELECT a FROM t ORDER BY a = ?', [integer(1n)]), 'SELECT a FROM t ORDER BY a = 1');
});

test('what no literal can be written for is refused', (t) => {
  const refused: readonly (readonly [Parameter, RegExp])[] = [
    [double(Number.NaN), /number NaN/],
    [double(Number.POSITIVE_INFINITY), /number Infinity/],
    [parameter(TYPE.newDecimal, '1e5'), /no decimal number/],
    [parameter(TYPE.newDecimal, '1'.repeat(66)), /too many digits/],
    [parameter(TYPE.json, '{}'), /type 245/],
    [parameter(TYPE.geometry, 'x'), /type 255/],
    [parameter(TYPE.year, { kind: 'integer', value: 2020n }), /type 13/],
    [parameter(TYPE.varString, undefined), /sent ahead/],
    [
      parameter(TYPE.date, {
        kind: 'moment',
        year: 2021,
        month: 2,
        day: 29,
        hour: 0,
        minute: 0,
        second: 0,
        microsecond: 0,
      }),
      /no calendar/,
    ],
    [
      parameter(TYPE.time, {
        kind: 'time',
        isNegative: false,
        days: 35,
        hour: 0,
        minute: 0,
        second: 0,
        microsecond: 0,
      }),
      /838:59:59/,
    ],
  ];
  for (const [value, reason] of refused) t.regex(written('UPDATE t SET a = ?', [value]), reason);
  t.regex(written('SELECT ?, ?', [integer(1n)]), /1 parameters of 2/);
});

test('characters beyond ASCII are refused where a quote may be half of one', (t) => {
  const other: Lexical = { ...LEXICAL, charset: 'other' };
  t.regex(written('SELECT ?', [text('\u0095\\')], other), /character set/);
  t.is(written('SELECT ?', [text("it's")], other), "SELECT 'it\\'s'");
});

test('a statement that was prepared by other rules than those of now is refused', (t) => {
  const prepared = prepareText('SELECT ?', LEXICAL);
  for (const now of [{ noBackslashEscapes: true }, { ansiQuotes: true }, { charset: 'single-byte' as const }])
    t.is(interpolate(prepared, [integer(1n)], { lexical: { ...LEXICAL, ...now } }).kind, 'refuse');
});

test('a text that cannot be read is refused', (t) => {
  t.regex(written('SELECT ? /*!50000 , ? */', [integer(1n), integer(2n)]), /comment that servers carry out/);
});

test('whatever bytes a text or a blob has, it is one string, and all around it stays as it is', (t) => {
  const bytes = fc.uint8Array({ maxLength: 12 }).map((array) => Buffer.from(array).toString('latin1'));
  const property = fc.property(
    bytes,
    fc.boolean(),
    fc.constantFrom(TYPE.varString, TYPE.blob),
    (value, noBackslashEscapes, code) => {
      const lexical = { ...LEXICAL, noBackslashEscapes };
      const sql = written("SELECT a, ? FROM t WHERE b = '?'", [parameter(code, value)], lexical);
      const scanned = scan(sql, lexical);
      const tokens = scanned.kind === 'tokens' ? scanned.tokens.map((token) => token.text) : [];
      const isBlob = code === TYPE.blob;
      const literal = tokens[isBlob ? 4 : 3] ?? '';
      t.deepEqual(tokens, [
        'select',
        'a',
        ',',
        ...(isBlob ? ['_binary'] : []),
        literal,
        'from',
        't',
        'where',
        'b',
        '=',
        "'?'",
      ]);
      const inner = literal.slice(1, -1);
      t.is(
        noBackslashEscapes
          ? inner.replaceAll("''", "'")
          : inner.replaceAll(/\\([\s\S])/g, (_all, one: string) => (one === '0' ? '\0' : one)),
        value,
      );
    },
  );
  fc.assert(property, { numRuns: 300 });
});
