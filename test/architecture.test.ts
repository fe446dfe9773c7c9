import test from 'ava';
import {
  checkAll,
  cycleFaults,
  layerFaults,
  lockFaults,
  scriptFaults,
  sizeFaults,
  wordFaults,
} from './architecture/checks.ts';
import { LAYERS, type Layer } from './architecture/layers.ts';
import { readRepository } from './architecture/repository.ts';

test('the repository keeps to its layers, sizes and words', (t) => {
  const tree = readRepository();
  // A checker that sees nothing finds nothing.
  t.true(tree.has('src/contract/transaction.ts') && tree.has('proxy/options.ts') && tree.has('package.json'));
  t.deepEqual(checkAll(tree, LAYERS), []);
});

test('every layer in the table exists', (t) => {
  const paths = [...readRepository().keys()];
  const missing = LAYERS.filter(({ name }) => !paths.some((path) => path === name || path.startsWith(`${name}/`)));
  t.deepEqual(missing, []);
});

const TWO: readonly Layer[] = [
  { name: 'src/inner', uses: [] },
  { name: 'src/ports', uses: [] },
  { name: 'src/outer', uses: ['src/inner'], usesTypesOf: ['src/ports'] },
  { name: 'src/outer/own.ts', uses: [] },
];

function treeOf(files: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(Object.entries(files));
}

const INNER = 'export const a = 1;\n';

test('an import inwards is right, outwards it is a fault', (t) => {
  const right = treeOf({ 'src/inner/a.ts': INNER, 'src/outer/b.ts': "import { a } from '../inner/a.ts';\n" });
  t.deepEqual(layerFaults(right, TWO), []);
  const wrong = treeOf({ 'src/inner/a.ts': "\nimport { b } from '../outer/b.ts';\n", 'src/outer/b.ts': INNER });
  t.deepEqual(layerFaults(wrong, TWO), ['src/inner/a.ts:2: imports ../outer/b.ts: src/inner must not use src/outer']);
});

/** Text that would be a fault if it stood here in one piece. */
function joined(...parts: readonly string[]): string {
  return parts.join('');
}

const FORMS = [
  "export { b } from '../outer/b.ts';",
  "export * from '../outer/b.ts';",
  "import '../outer/b.ts';",
  'import { b } from "../outer/b.ts";',
  "import {\n  type A,\n  b,\n} from '../outer/b.ts';",
  "import type { B } from '../outer/b.ts';",
  joined('const b = await imp', "ort('../outer/b.ts');"),
  "import b, { c } from '../outer/b.ts';",
  "import * as b from '../outer/b.ts';",
];

for (const form of FORMS) {
  test(`no form of import hides: ${form.replaceAll('\n', ' ')}`, (t) => {
    const tree = treeOf({ 'src/inner/a.ts': `${form}\n`, 'src/outer/b.ts': INNER });
    t.is(layerFaults(tree, TWO).length, 1);
  });
}

test('where only types may be used, values may not', (t) => {
  const faultsOf = (form: string): number => {
    const tree = treeOf({ 'src/ports/a.ts': INNER, 'src/outer/b.ts': `${form} from '../ports/a.ts';\n` });
    return layerFaults(tree, TWO).length;
  };
  t.is(faultsOf('import type { A }'), 0);
  t.is(faultsOf('import { type A, type B }'), 0);
  t.is(faultsOf('export type { A }'), 0);
  t.is(faultsOf('import { type A, b }'), 1);
  t.is(faultsOf('import { typeOf }'), 1);
  t.is(faultsOf('import type, { b }'), 1);
  t.is(faultsOf('export *'), 1);
});

test('a file may have a row of its own', (t) => {
  const tree = treeOf({ 'src/inner/a.ts': INNER, 'src/outer/own.ts': "import { a } from '../inner/a.ts';\n" });
  t.is(layerFaults(tree, TWO).length, 1);
});

test('code outside the layers, and imports that lead nowhere or are not relative, are faults', (t) => {
  const tree = treeOf({
    'src/stray.ts': INNER,
    'src/inner/a.ts': "import { b } from './gone.ts';\nimport { c } from '#inner/c.ts';\nimport { z } from 'zod';\n",
    'src/inner/b.ts': "import { d } from '/src/inner/a.ts';\n",
  });
  t.deepEqual(layerFaults(tree, TWO), [
    'src/stray.ts: is in no layer',
    'src/inner/a.ts:1: imports ./gone.ts, which is not a file of this repository',
    'src/inner/a.ts:2: imports #inner/c.ts, which is neither a package nor a relative path',
    'src/inner/b.ts:1: imports /src/inner/a.ts, which is neither a package nor a relative path',
  ]);
});

test('layers in a circle are found, through types too', (t) => {
  const circle: readonly Layer[] = [
    { name: 'a', uses: ['b'] },
    { name: 'b', uses: [], usesTypesOf: ['c'] },
    { name: 'c', uses: ['a'] },
  ];
  t.deepEqual(cycleFaults(circle), ['layers in a circle: a → b → c → a']);
  t.deepEqual(cycleFaults([{ name: 'a', uses: ['x'] }]), ['a: uses x, which is no layer']);
});

test('a file of 400 lines and a folder of 15 files are the most there may be', (t) => {
  const most = Object.fromEntries(Array.from({ length: 15 }, (_, index) => [`src/a/${index}.ts`, '\n'.repeat(400)]));
  t.deepEqual(sizeFaults(treeOf(most)), []);
  t.deepEqual(sizeFaults(treeOf({ ...most, 'src/a/16.ts': '\n'.repeat(401) })), [
    'src/a/16.ts: has 401 lines, more than 400',
    'src/a: has 16 files, more than 15',
  ]);
});

const BANNED: readonly (readonly [path: string, line: string])[] = [
  ['test/a.test.ts', joined('test.on', "ly('x', () => {});")],
  ['src/http/a.ts', joined('// TO', 'DO: later')],
  ['cli/a.mjs', joined('// FIX', 'ME')],
  ['src/http/a.ts', 'const at = Date.now();'],
  ['proxy/http/a.ts', 'const at = new Date();'],
  ['proxy/sql/a.ts', 'const chance = Math.random();'],
  ['src/engine/a.ts', 'setTimeout(run, 1);'],
  ['src/engine/a.ts', 'export async function decide() {}'],
  ['src/engine/a.ts', "import { hash } from 'node:crypto';"],
  ['docs/a.md', joined('npm config set registry https://registry.npm', 'js.org')],
  ['docs/a.md', joined('cd /ho', 'me/somebody/atomesh')],
  ['.ci/run', joined('cp x /ro', 'ot/x')],
  ['test/a.test.ts', "test.skip('x', () => {});"],
];

for (const [path, line] of BANNED) {
  test(`is found: ${line} in ${path}`, (t) => {
    t.is(wordFaults(treeOf({ [path]: `first\n${line}\n` })).length, 1);
    t.regex(wordFaults(treeOf({ [path]: `first\n${line}\n` }))[0] ?? '', /:2: /);
  });
}

const ALLOWED: readonly (readonly [path: string, text: string])[] = [
  ['src/platform/clock.ts', 'return Date.now();'],
  ['test/http/a.test.ts', 'const at = Date.now();'],
  ['src/engine/a.ts', '// no setTimeout here: the runner wakes us'],
  ['src/engine/a.ts', "import { b } from './b.ts';"],
  ['test/a.test.ts', "// skipped: needs two processors\ntest.skip('x', () => {});"],
  ['docs/a.md', 'http://orders/work/items, ./root/a, ${HOME}/home/x and GET /work'],
];

for (const [path, text] of ALLOWED) {
  test(`is not a fault: ${text.replaceAll('\n', ' ')} in ${path}`, (t) => {
    t.deepEqual(wordFaults(treeOf({ [path]: text })), []);
  });
}

test('every package is held by a hash, and none says where it came from', (t) => {
  const lock = (entry: object): string => JSON.stringify({ packages: { '': {}, 'node_modules/a': entry } });
  t.deepEqual(lockFaults(lock({ integrity: 'sha512-x' })), []);
  t.is(lockFaults(lock({ integrity: 'sha1-x' })).length, 1);
  t.is(lockFaults(lock({})).length, 1);
  t.is(lockFaults(lock({ integrity: 'sha512-x', resolved: 'https://elsewhere/a.tgz' })).length, 1);
  t.is(lockFaults(undefined).length, 1);
});

test('a script that node runs reaches nothing that only runs in tests, but for types', (t) => {
  const tree = treeOf({
    'test/a/run.ts': "import { b } from '../b/prove.ts';\n",
    'test/a/hunt.ts': "import { c } from '../b/types.ts';\n",
    'test/b/prove.ts': "import test from 'ava';\n",
    'test/b/types.ts': "import type { ExecutionContext } from 'ava';\n",
  });
  t.deepEqual(scriptFaults(tree), ['test/a/run.ts: is run by node, and test/b/prove.ts imports ava']);
});
