/** The rules of the repository's shape, as pure functions over its files. Each answers with the faults that it finds. */
import { posix } from 'node:path';
import type { Layer } from './layers.ts';

/** Paths relative to the root with `/` between their parts, and the text of each file. */
export type Tree = ReadonlyMap<string, string>;

const LINES_MAX = 400;
const FILES_MAX = 15;
const CODE = /\.(?:ts|mts|cts|js|mjs|cjs)$/;

/** Every rule at once. */
export function checkAll(tree: Tree, layers: readonly Layer[]): readonly string[] {
  return [
    ...layerFaults(tree, layers),
    ...cycleFaults(layers),
    ...sizeFaults(tree),
    ...scriptFaults(tree),
    ...wordFaults(tree),
    ...lockFaults(tree.get('package-lock.json')),
  ];
}

interface Import {
  readonly line: number;
  readonly target: string;
  readonly isType: boolean;
}

/** Imports that go against the arrows, and code that is in no layer. */
export function layerFaults(tree: Tree, layers: readonly Layer[]): readonly string[] {
  const faults: string[] = [];
  for (const [path, text] of code(tree)) {
    const from = layerOf(path, layers);
    if (from === undefined) {
      faults.push(`${path}: is in no layer`);
      continue;
    }
    for (const { line, target, isType } of importsOf(text)) {
      const where = `${path}:${line}: imports ${target}`;
      if (/^(?:[#/]|file:|\.\.?$)/.test(target))
        faults.push(`${where}, which is neither a package nor a relative path`);
      if (!target.startsWith('./') && !target.startsWith('../')) continue;
      const file = posix.normalize(posix.join(posix.dirname(path), target));
      if (!tree.has(file)) {
        faults.push(`${where}, which is not a file of this repository`);
        continue;
      }
      const to = layerOf(file, layers);
      if (to === undefined || to === from || from.uses.includes(to.name)) continue;
      const isKnownByType = from.usesTypesOf?.includes(to.name) ?? false;
      if (!isKnownByType) faults.push(`${where}: ${from.name} must not use ${to.name}`);
      else if (!isType) faults.push(`${where}: ${from.name} may use types of ${to.name} only`);
    }
  }
  return faults;
}

/** Layers that reach themselves, and names in the table that no row explains. */
export function cycleFaults(layers: readonly Layer[]): readonly string[] {
  const faults: string[] = [];
  const finished = new Set<string>();
  const visit = (name: string, trail: readonly string[]): void => {
    if (trail.includes(name)) {
      faults.push(`layers in a circle: ${[...trail.slice(trail.indexOf(name)), name].join(' → ')}`);
      return;
    }
    if (finished.has(name)) return;
    const layer = layers.find((candidate) => candidate.name === name);
    if (layer === undefined) faults.push(`${trail.at(-1) ?? ''}: uses ${name}, which is no layer`);
    for (const next of [...(layer?.uses ?? []), ...(layer?.usesTypesOf ?? [])]) visit(next, [...trail, name]);
    finished.add(name);
  };
  for (const { name } of layers) visit(name, []);
  return faults;
}

/** Files and folders that nobody can hold in mind. */
export function sizeFaults(tree: Tree): readonly string[] {
  const faults: string[] = [];
  const folders = new Map<string, number>();
  for (const [path, text] of code(tree)) {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    if (lines > LINES_MAX) faults.push(`${path}: has ${lines} lines, more than ${LINES_MAX}`);
    const folder = posix.dirname(path);
    folders.set(folder, (folders.get(folder) ?? 0) + 1);
  }
  for (const [folder, count] of folders) {
    if (count > FILES_MAX) faults.push(`${folder}: has ${count} files, more than ${FILES_MAX}`);
  }
  return faults;
}

interface WordRule {
  readonly where: RegExp;
  readonly except?: RegExp;
  readonly word: RegExp;
  /** True when comments may talk about it. */
  readonly inCodeOnly?: true;
  readonly why: string;
}

// Words that are banned here too are put together from parts, so that this file passes its own rules.
const word = (parts: readonly string[], flags = ''): RegExp => new RegExp(parts.join(''), flags);
const RUNTIME = /^(?:src|proxy)\//;

const WORDS: readonly WordRule[] = [
  { where: /^test\/.*\.ts$/, word: word(['\\.on', 'ly\\(']), why: 'runs one test and skips all others' },
  { where: CODE, word: word(['\\b(?:TO', 'DO|FIX', 'ME|XX', 'X)\\b']), why: 'is a plan: file an issue, or do it' },
  {
    where: RUNTIME,
    except: /^src\/platform\/clock\.ts$/,
    inCodeOnly: true,
    word: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/,
    why: 'reads a clock: only src/platform/clock.ts does',
  },
  {
    where: RUNTIME,
    word: /\bMath\.random\b/,
    inCodeOnly: true,
    why: 'is chance without a source: see src/platform/random.ts',
  },
  {
    where: /^src\/engine\//,
    inCodeOnly: true,
    word: /\b(?:setTimeout|setInterval|setImmediate|queueMicrotask|fetch|async|await|Promise)\b/,
    why: 'waits: the engine only decides',
  },
  {
    where: /^src\/engine\//,
    word: /from 'node:/,
    inCodeOnly: true,
    why: 'is the outside world: the engine only decides',
  },
  {
    where: /./,
    word: word([
      'registry\\.npm',
      'js|py',
      'pi\\.org|pythonhosted',
      '\\.org|crates',
      '\\.io|proxy\\.go',
      'lang|deb\\.deb',
      'ian\\.org',
    ]),
    why: 'names the host of a registry: its clients know where it is',
  },
  {
    where: /./,
    word: word(['(?<![\\w.:/$}-])/(?:ro', 'ot|ho', 'me|wo', 'rk)/[\\w.-]']),
    why: 'is a path on somebody’s machine',
  },
];

/** Words that must not stand where they stand. */
export function wordFaults(tree: Tree): readonly string[] {
  const faults: string[] = [];
  for (const [path, text] of tree) {
    const rules = WORDS.filter(({ where, except }) => where.test(path) && !(except?.test(path) ?? false));
    for (const [index, line] of text.split('\n').entries()) {
      for (const rule of rules) {
        const found = rule.inCodeOnly && isComment(line) ? null : rule.word.exec(line);
        if (found !== null) faults.push(`${path}:${index + 1}: "${found[0]}" ${rule.why}`);
      }
    }
    if (/^test\/.*\.test\.ts$/.test(path)) faults.push(...skipFaults(path, text));
  }
  return faults;
}

/** A test that is skipped without a reason in the line above it. */
function skipFaults(path: string, text: string): readonly string[] {
  const lines = text.split('\n');
  return lines.flatMap((line, index) => {
    const isSkipped = /^\s*test(?:\.serial)?\.(?:skip|failing|todo)\(/.test(line);
    const hasReason = /^\s*\/\/ (?:skipped|failing): \S/.test(lines[index - 1] ?? '');
    return isSkipped && !hasReason ? [`${path}:${index + 1}: is skipped without "// skipped: why" above it`] : [];
  });
}

/** Packages that are not held by a hash of their content, or that come from elsewhere than the registry. */
export function lockFaults(text: string | undefined): readonly string[] {
  if (text === undefined) return ['package-lock.json: is missing'];
  const { packages } = JSON.parse(text) as {
    readonly packages: Readonly<Record<string, { readonly integrity?: string; readonly resolved?: string }>>;
  };
  return Object.entries(packages).flatMap(([name, { integrity, resolved }]) => {
    if (name === '') return [];
    const faults = integrity?.startsWith('sha512-') ? [] : [`package-lock.json: ${name} has no sha512`];
    return resolved === undefined ? faults : [...faults, `package-lock.json: ${name} says where it was downloaded`];
  });
}

/** The layer with the longest name that the path is in. */
function layerOf(path: string, layers: readonly Layer[]): Layer | undefined {
  return layers
    .filter(({ name }) => path === name || path.startsWith(`${name}/`))
    .toSorted((left, right) => right.name.length - left.name.length)[0];
}

/** Scripts and processes of the tests, which node runs. */
const SCRIPT = /^test\/.*\b(?:process|run|hunt|check|fuzz)\.ts$/;

/** Scripts that cannot be started: what they import, or what that imports, needs the runner of the tests, which then ends the process. */
export function scriptFaults(tree: Tree): readonly string[] {
  return [...tree.keys()]
    .filter((path) => SCRIPT.test(path))
    .flatMap((script) => {
      const reached = new Set([script]);
      for (const path of reached) {
        for (const { target, isType } of importsOf(tree.get(path) ?? '')) {
          if (isType) continue;
          if (target === 'ava') return [`${script}: is run by node, and ${path} imports ava`];
          if (target.startsWith('.')) reached.add(posix.normalize(posix.join(posix.dirname(path), target)));
        }
      }
      return [];
    });
}

/** Static imports, re-exports and `import()` of texts. A form that this misses is caught by the type checker's own rules. */
function importsOf(text: string): readonly Import[] {
  const found: Import[] = [];
  const form =
    /^[ \t]*(?:import|export)\b([^;'"]*?)\bfrom\s*['"]([^'"]+)['"]|^[ \t]*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;
  for (const match of text.matchAll(form)) {
    const [, names = '', from, bare, dynamic] = match;
    const line = text.slice(0, match.index).split('\n').length;
    found.push({ line, target: from ?? bare ?? dynamic ?? '', isType: from !== undefined && isTypeOnly(names) });
  }
  return found;
}

/** `import type { A }`, or `import { type A, type B }`. */
function isTypeOnly(names: string): boolean {
  if (/^\s+type\b(?!\s*,)/.test(names)) return true;
  const inner = /^\s*\{([^}]*)\}\s*$/.exec(names)?.[1];
  const parts = (inner ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  return parts.length > 0 && parts.every((part) => part.startsWith('type '));
}

function isComment(line: string): boolean {
  return /^\s*(?:\/\/|\/?\*)/.test(line);
}

function code(tree: Tree): readonly (readonly [string, string])[] {
  return [...tree].filter(([path]) => CODE.test(path));
}
