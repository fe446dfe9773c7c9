/** A second opinion on clauses: node-sql-parser's tree of them, which must say the same as our reading of their tokens. */
import type { Source, Span } from './span.ts';
import type { Token } from './tokens.ts';

/** A node of the tree, as the parser names its fields. */
export interface Tree {
  readonly [field: string]: unknown;
}

interface Grammar {
  astify(text: string): unknown;
}

/** Trees that are kept. */
const KEPT_MAX = 2000;
/** Longest text, in characters, and deepest nesting, that the grammar is given: it takes milliseconds, and goes down by recursion. */
const CHARACTERS_MAX = 20_000;
const DEPTH_MAX = 60;

let grammar: Grammar | undefined;
let loading: Promise<void> | undefined;
const kept = new Map<string, Tree | undefined>();

/** Loads the grammar of MySQL, which takes a tenth of a second; await it once before the first statement is read. */
export function loadGrammar(): Promise<void> {
  loading ??= import('node-sql-parser/build/mysql.js').then((loaded) => {
    const { Parser } = 'Parser' in loaded ? loaded : (loaded as { readonly default: typeof loaded }).default;
    grammar = new Parser();
  });
  return loading;
}

/**
 * The tree of a statement made of masked clauses; undefined where the grammar does not know it. Masks leave only a statement's shape,
 * so that the tree of one serves all that differ in their constants. `loadGrammar` must have resolved.
 */
export function treeOf(masked: string): Tree | undefined {
  if (grammar === undefined) throw new Error('invariant broken: loadGrammar has not resolved');
  if (kept.has(masked)) return kept.get(masked);
  const tree = parse(grammar, masked);
  const [oldest] = kept.keys();
  if (kept.size >= KEPT_MAX && oldest !== undefined) kept.delete(oldest);
  kept.set(masked, tree);
  return tree;
}

function parse(loaded: Grammar, masked: string): Tree | undefined {
  if (masked.length > CHARACTERS_MAX || depthOf(masked) > DEPTH_MAX) return undefined;
  let read: unknown;
  try {
    read = loaded.astify(masked);
  } catch {
    return undefined;
  }
  const [tree, ...others] = Array.isArray(read) ? (read as readonly unknown[]) : [read];
  return others.length === 0 && isTree(tree) ? tree : undefined;
}

/** True for a node. */
export function isTree(read: unknown): read is Tree {
  return typeof read === 'object' && read !== null && !Array.isArray(read);
}

/** The nodes of a list; none where it is no list. */
export function treesIn(read: unknown): readonly Tree[] {
  return Array.isArray(read) ? read.filter(isTree) : [];
}

function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const character of text) {
    if (character === '(') deepest = Math.max(deepest, (depth += 1));
    if (character === ')') depth -= 1;
  }
  return deepest;
}

/** Words that stand where others of their kind do, of which the grammar knows only those. */
const ALIKE: Readonly<Record<string, string>> = {
  default: 'null',
  values: 'coalesce',
  value: 'coalesce',
  utc_date: 'current_date',
  utc_time: 'current_time',
  localtime: 'current_timestamp',
};

/**
 * The clauses' text for the grammar: comments gone, and each constant and parameter replaced by one of its kind, so that how it reads
 * escapes and character sets does not matter.
 */
export function maskedText({ tokens, text: whole }: Source, { from, to }: Span): string {
  let text = '';
  for (let place = from; place < to; place += 1) {
    const token = tokens[place];
    if (token === undefined || isIntroducer(token, tokens[place + 1])) continue;
    if (place > from && token.start > (tokens[place - 1]?.end ?? 0)) text += ' ';
    text += masked(token, whole, tokens[place - 1], tokens[place + 1]);
  }
  return LISTS.reduce((shorter, [list, two]) => shorter.replaceAll(list, two), text);
}

/** True for a word that says what kind of constant the string behind it is: of some it is unknown to the grammar. */
function isIntroducer({ kind, text }: Token, behind: Token | undefined): boolean {
  if (kind !== 'word' || behind?.kind !== 'string') return false;
  return text.startsWith('_') || text === 'date' || text === 'time' || text === 'timestamp';
}

/** Lists of constants, of which two stand for any number. */
const LISTS: readonly (readonly [RegExp, string])[] = [
  [/\b1(?:\s?,\s?1\b){2,}/g, '1, 1'],
  [/'x'(?:\s?,\s?'x'){2,}/g, "'x', 'x'"],
  [/(\([1, 'x]{1,200}\))(?:\s?,\s?\1){2,}/g, '$1, $1'],
];

function masked(token: Token, whole: string, before: Token | undefined, after: Token | undefined): string {
  switch (token.kind) {
    case 'word': {
      const isColumn = before?.text === '.' || after?.text === '.';
      const written = whole.slice(token.start, token.end);
      return isColumn ? written : (ALIKE[token.text] ?? written);
    }
    case 'name':
      return `\`${token.text.replaceAll('`', '``')}\``;
    case 'string':
      return "'x'";
    case 'number':
    case 'parameter':
      return '1';
    case 'operator':
      return token.text === '<=>' ? '=' : token.text;
  }
}
