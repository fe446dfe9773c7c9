import test from 'ava';
import fc from 'fast-check';
import { loadCoordinatorConfig, loadSidecarConfig } from '../../config/load.ts';
import { stringsOf } from './support.ts';

const NONE = stringsOf();
/** Far from what a fault takes, and farther from what anything that grows with the square of such a text would take. */
const TIME_MS_MAX = 500;
const TRIES = 5;

const LETTERS = 'abcdefghi';
const LAUGHS = LETTERS.split('')
  .map((letter, index) => {
    const below = index === 0 ? 'x' : `*${LETTERS[index - 1]}`;
    return `${letter}: &${letter} [${Array(9).fill(below).join(', ')}]`;
  })
  .join('\n');

const HOSTILE: Readonly<Record<string, readonly [text: string, message: RegExp]>> = {
  'a billion laughs': [LAUGHS, /more than 100 aliases/],
  'an alias inside what it names': ['a: &a [*a]', /the alias \*a contains itself/],
  'an alias inside the map that it names': ['a: &a { b: { c: *a } }', /the alias \*a contains itself/],
  'an alias to nothing': ['a: *b\nb: &b 1', /the alias \*b has no anchor before it/],
  'five thousand open brackets': ['['.repeat(5000), /nested more than 32 levels/],
  'a hundred thousand open braces': [`a: ${'{'.repeat(100_000)}`, /nested more than 32 levels/],
  'five thousand dashes': ['- '.repeat(5000), /nested more than 32 levels/],
  'five thousand question marks': ['? '.repeat(5000), /nested more than 32 levels/],
  'deep indentation': [
    Array.from({ length: 700 }, (_, n) => `${' '.repeat(n)}a:`).join('\n'),
    /nested more than 32 levels/,
  ],
  'merge keys': ['a: { <<: { b: 1 } }', /merge keys \(<<\) are not supported/],
  'ten thousand merge keys': ['<<: {}\n'.repeat(10_000), /too many elements/],
  'forty thousand options': [Array.from({ length: 40_000 }, (_, n) => `k${n}: 1`).join('\n'), /too many elements/],
  'forty thousand options on one line': [
    `{${Array.from({ length: 40_000 }, (_, n) => `k${n}`).join()}}`,
    /too many elements/,
  ],
  'half a megabyte of line breaks': ['\n'.repeat(500_000), /too many elements/],
  'half a megabyte in quotes that do not end': [`"${'a'.repeat(500_000)}`, /not valid YAML: missing closing/],
  'half a megabyte of quotes': [`a: ${'" '.repeat(250_000)}`, /too many elements/],
  'half a megabyte of escapes': [`"${'\\n\n'.repeat(100_000)}"`, /found "/],
  'half a megabyte of references': [`token: "${'${x}'.repeat(100_000)}"`, /more than 20 references in one text/],
  'more than half a megabyte': ['a'.repeat(524_289), /longer than 512 KiB/],
  'a tag for a function': ['listen: !!js/function "function () {}"', /tags \(!…\) are not supported/],
  'a tag for a number': ['listen: !!int "3"', /tags \(!…\) are not supported/],
  'another version of YAML': ['%YAML 1.1\n---\nlisten: yes', /directives \(%…\) are not supported/],
  'two documents': ['listen: a:1\n---\nlisten: b:2', /a second document is not allowed/],
  'the same option twice': ['listen: "a:1"\nlisten: "b:2"', /the option is given twice/],
  'a name that is a prototype': ['__proto__: { polluted: true }', /the name "__proto__" is not allowed/],
  'a name that is a constructor': [
    'log: { constructor: { prototype: { polluted: true } } }',
    /"constructor" is not allowed/,
  ],
  'a name that is a list': ['? [a, b]\n: c', /the name of an option must be a text/],
  'a name that is a number': ['3: c', /the name of an option must be a text/],
  'control characters': ['listen: "\u0007"', /a control character is not allowed/],
  'tabs for blanks': ['log:\n\tlevel: info', /not valid YAML/],
  'two maps on one line': ['a: b: c', /not valid YAML/],
  'a list instead of options': ['- a', /found a list/],
  'a text instead of options': ['hello', /found "hello"/],
};

for (const [name, [text, message]] of Object.entries(HOSTILE)) {
  test(`${name}: a fault within ${TIME_MS_MAX} ms`, (t) => {
    let fastest = Infinity;
    for (let left = TRIES; left > 0 && fastest >= TIME_MS_MAX; left -= 1) {
      const start = process.cpuUsage();
      const loaded = loadCoordinatorConfig(text, 'c.yaml', NONE);
      const { user, system } = process.cpuUsage(start);
      fastest = Math.min(fastest, (user + system) / 1000);
      if (loaded.kind === 'valid') return t.fail('it was taken for valid');
      t.regex(loaded.faults.map((fault) => fault.message).join('\n'), message);
      t.true(loaded.faults.every((fault) => fault.line >= 1 && fault.column >= 1));
    }
    // Time of the processor, and the best of several tries: other tests use the same ones.
    t.true(fastest < TIME_MS_MAX, `${fastest} ms`);
  });
}

test('the place of a fault deep in a long file is exact', (t) => {
  const text = `${'# a comment\n'.repeat(3000)}log:\n  level: !x info\n`;
  const loaded = loadCoordinatorConfig(text, 'c.yaml', NONE);
  if (loaded.kind === 'valid') return t.fail();
  t.like(loaded.faults[0], { line: 3002, column: 10 });
});

test('no text makes loading throw or changes what all objects have in common', (t) => {
  const before = Object.getOwnPropertyNames(Object.prototype).join();
  const piece = fc.constantFrom(
    'a',
    ': ',
    '- ',
    '\n',
    '  ',
    '[',
    ']',
    '{',
    '}',
    '"',
    "'",
    '&a ',
    '*a',
    '!t ',
    '|',
    '>',
    '#',
    '? ',
    '%',
    '---\n',
    '${env:X}',
    '${',
    '<<',
    '__proto__',
    'service',
    'store',
    'databases',
    'null',
    '1',
    '\t',
    '\r\n',
    '@',
    '`',
    '\u2028',
  );
  const text = fc.array(fc.oneof({ weight: 9, arbitrary: piece }, fc.string({ unit: 'binary' })), { maxLength: 60 });
  fc.assert(
    fc.property(text, (pieces) => {
      for (const load of [loadSidecarConfig, loadCoordinatorConfig]) {
        const loaded = load(pieces.join(''), 'f.yaml', NONE);
        if (loaded.kind === 'invalid' && loaded.faults.length === 0) throw new Error('invalid without a fault');
      }
    }),
    { numRuns: 3000, verbose: true },
  );
  t.is(Object.getOwnPropertyNames(Object.prototype).join(), before);
});
