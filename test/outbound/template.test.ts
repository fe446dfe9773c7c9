import test from 'ava';
import fc from 'fast-check';
import { fill, parseRawJson, parseTemplate, type Source, type Template } from '../../proxy/routes/template.ts';

function template(text: string, kind: 'url' | 'header' | 'body', names: readonly string[] = ['a', 'b']): Template {
  const parsed = parseTemplate(text, kind, names);
  if ('fault' in parsed) throw new Error(parsed.fault);
  return parsed;
}

/** Values of `path` parameters, and of JSON fields of the request. */
function from(values: Readonly<Record<string, unknown>>): (source: Source) => unknown {
  return (source) =>
    source.kind === 'path' ? values[source.name] : source.kind === 'json' ? values[source.path.join('.')] : undefined;
}

function filled(text: string, kind: 'url' | 'header' | 'body', values: Readonly<Record<string, unknown>>): string {
  return fill(template(text, kind), from(values)).text;
}

const URLS: readonly (readonly [text: string, value: unknown, expected: string])[] = [
  ['http://h/${path.a}/x', 'r 1', 'http://h/r%201/x'],
  ['http://h/${path.a}/x', 'a/b?c#d', 'http://h/a%2Fb%3Fc%23d/x'],
  ['http://h/x?a=${path.a}&b=1', '1&b=2', 'http://h/x?a=1%26b%3D2&b=1'],
  ['http://h/${path.a}', '%2e%2e', 'http://h/%252e%252e'],
  ['http://h/${path.a}', 'é\ud800', 'http://h/%C3%A9%EF%BF%BD'],
  ['http://h/x${path.a}', '..', 'http://h/x..'],
  ['http://h/$${path.a}', 'v', 'http://h/${path.a}'],
  ['http://h/${path.a}', true, 'http://h/true'],
];

for (const [text, value, expected] of URLS) {
  test(`in a URL: ${text} with ${JSON.stringify(value)}`, (t) => t.is(filled(text, 'url', { a: value }), expected));
}

for (const value of ['..', '.', '', undefined, null, {}, []]) {
  test(`never fills a segment of a path: ${JSON.stringify(value) ?? 'nothing'}`, (t) => {
    const { missing } = fill(template('http://h/rooms/${path.a}/x', 'url'), from({ a: value }));
    t.deepEqual(
      missing.map(({ text }) => text),
      ['${path.a}'],
    );
  });
}

test('in JSON, a value in a text is escaped, and a value in the place of one is whole', (t) => {
  const text = '{"text":"<${request.json.s}>","value":${request.json.s},"n":${request.json.n},"o":${request.json.o}}';
  const values = { s: 'a"b\\\n', n: 1, o: { x: [true, null] } };
  t.deepEqual(JSON.parse(filled(text, 'body', values)), {
    text: '<a"b\\\n>',
    value: 'a"b\\\n',
    n: 1,
    o: { x: [true, null] },
  });
});

test('an escaped quote before a placeholder does not end the text that it stands in', (t) => {
  t.deepEqual(JSON.parse(filled('{"a":"\\"${path.a}\\\\","b":${path.b}}', 'body', { a: '","x":"', b: 'y' })), {
    a: '"","x":"\\',
    b: 'y',
  });
});

test('a number longer than a double stays what it was, also inside an object', (t) => {
  const json = parseRawJson('{"id":9007199254740993,"o":{"id":12345678901234567890,"x":1.10}}') as {
    id: unknown;
    o: unknown;
  };
  const valueOf = (source: Source): unknown => (source.kind === 'path' && source.name === 'a' ? json.id : json.o);
  t.is(fill(template('http://h/${path.a}', 'url'), valueOf).text, 'http://h/9007199254740993');
  t.is(
    fill(template('{"a":"${path.a}","i":${path.a},"o":${path.b}}', 'body'), valueOf).text,
    '{"a":"9007199254740993","i":9007199254740993,"o":{"id":12345678901234567890,"x":1.10}}',
  );
});

test('a JSON that is none, or nested beyond measure, has no fields', (t) => {
  t.is(parseRawJson('{'), undefined);
  t.is(parseRawJson('['.repeat(100_000)), undefined);
});

test('a header takes only visible characters and spaces', (t) => {
  t.is(filled('v=${path.a}', 'header', { a: 'a\r\nx: y\u0000é z' }), 'v=a%0D%0Ax: y%00%C3%A9 z');
});

test('what is missing leaves nothing behind: null as a JSON value', (t) => {
  const { text, missing } = fill(template('{"a":"${path.a}","b":${path.b}}', 'body'), () => undefined);
  t.is(text, '{"a":"","b":null}');
  t.is(missing.length, 2);
});

const FAULTS: readonly (readonly [text: string, kind: 'url' | 'header' | 'body', fault: RegExp])[] = [
  ['http://h/${path.c}', 'url', /a parameter of the path in match.*it has a, b/],
  ['http://h/${nope}', 'url', /in place of \$\{nope\} one of/],
  ['http://h/${request.body}', 'url', /one of/],
  ['http://h/${path.a', 'url', /not closed/],
  ['http://${path.a}/x', 'url', /scheme, host and port/],
  ['http://h${path.a}/x', 'url', /scheme, host and port/],
  ['http://h:${path.a}/', 'url', /scheme, host and port/],
  ['http://h/../${path.a}', 'url', /dot segments/],
  ['http://h/x#${path.a}', 'url', /dot segments and #/],
  ['a=${path.a}', 'body', /a JSON text/],
  ['{"a":${path.a}', 'body', /a JSON text/],
  ['{"${path.a}":1}', 'body', /names of fields/],
];

for (const [text, kind, fault] of FAULTS) {
  test(`refused at the start: ${text}`, (t) => {
    const parsed = parseTemplate(text, kind, ['a', 'b']);
    t.regex('fault' in parsed ? parsed.fault : 'accepted', fault);
  });
}

test('a body without placeholders may be anything', (t) => t.is(filled('a=1&b', 'body', {}), 'a=1&b'));

test('whatever is filled in stays in its place of a URL', (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  const wanted = template('http://h:8/one/${path.a}/three?q=${path.b}&r=1', 'url');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      const { text, missing } = fill(wanted, from({ a, b }));
      if (missing.length > 0) return t.true(['', '.', '..'].includes(a) || b === '');
      const url = new URL(text);
      t.is(url.host, 'h:8');
      t.is(decodeURIComponent(url.pathname.split('/')[2] ?? ''), a.toWellFormed());
      t.is(url.pathname.split('/').length, 4);
      t.deepEqual([...url.searchParams], [['q', b.toWellFormed()], ['r', '1']]); // prettier-ignore
      t.is(url.hash, '');
      return true;
    }),
    { seed, numRuns: 500 },
  );
});

test('whatever is filled in stays in its place of a JSON text', (t) => {
  const seed = Date.now();
  t.log(`seed ${seed}`);
  const wanted = template('{"a":"<${path.a}>","b":{"c":${path.b}},"d":1}', 'body');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.jsonValue(), (a, b) => {
      const whole = parseRawJson(JSON.stringify(b));
      const { text } = fill(wanted, from({ a, b: whole }));
      t.deepEqual(JSON.parse(text), {
        a: `<${a.toWellFormed()}>`,
        b: { c: JSON.parse(JSON.stringify(b)) as unknown },
        d: 1,
      });
    }),
    { seed, numRuns: 500 },
  );
});
