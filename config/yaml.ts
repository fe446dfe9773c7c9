/**
 * YAML from people and from attackers into a tree with positions. What configuration does not need is refused: tags,
 * directives, merge keys, several documents, keys that are no text. Time and memory are bounded before anything is built.
 */
import { Composer, Lexer, Parser, isAlias, isMap, isScalar, isSeq, type ParsedNode } from 'yaml';
import { CST } from 'yaml';
import { printable, type ConfigFault, type Path, pathText } from './fault.ts';
import type { Place, TreeNode } from './tree.ts';

/** Largest file, in UTF-16 code units as in bytes: 512 Ki. */
export const TEXT_LENGTH_MAX = 524_288;
const DEPTH_MAX = 32;
const LEXEMES_MAX = 20_000;
/** Nodes after aliases are followed: an alias to a tree counts as the whole tree. */
const NODES_MAX = 20_000;
const ALIASES_MAX = 100;
/** Keys that JavaScript objects give a meaning of their own. */
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

export type TreeResult =
  | { readonly kind: 'tree'; readonly tree: TreeNode }
  | { readonly kind: 'invalid'; readonly faults: readonly ConfigFault[] };

/** Reads one document. All faults of the syntax are reported together; a limit that is exceeded is reported alone. */
export function readTree(text: string, file: string): TreeResult {
  const at = placesOf(text);
  const fault = (offset: number, message: string, path: Path = []): ConfigFault => {
    return { file, ...at(offset), path: pathText(path), message };
  };
  const invalid = (...faults: readonly ConfigFault[]): TreeResult => ({ kind: 'invalid', faults });

  if (text.length > TEXT_LENGTH_MAX) return invalid(fault(0, `the file is longer than ${TEXT_LENGTH_MAX / 1024} KiB`));
  // oxlint-disable-next-line no-control-regex -- finding them is the point
  const control = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.exec(text);
  if (control !== null) return invalid(fault(control.index, 'a control character is not allowed here'));
  try {
    return compose(text, fault);
  } catch (error) {
    // The parser is not ours: whatever it throws on a hostile file is a fault of the file, not the end of the process.
    return invalid(fault(0, `the file cannot be read as YAML: ${error instanceof Error ? error.message : 'unknown'}`));
  }
}

type MakeFault = (offset: number, message: string, path?: Path) => ConfigFault;

function compose(text: string, fault: MakeFault): TreeResult {
  const scanned = scan(text, fault);
  if (scanned.kind === 'invalid') return scanned;
  const composer = new Composer({ version: '1.2', schema: 'core', merge: false, uniqueKeys: false, strict: true });
  const [document, second] = [...composer.compose(scanned.tokens, true, text.length)];
  const faults = [...(document?.errors ?? []), ...(document?.warnings ?? [])].map((error) => {
    return fault(error.pos[0], sentence(error.message));
  });
  if (second !== undefined) faults.push(fault(second.range[0], 'a second document is not allowed in this file'));
  if (faults.length > 0) return { kind: 'invalid', faults };
  const contents = document?.contents ?? null;
  // A file of comments is a file without options; which of them are missing is for the table to say.
  if (contents === null)
    return { kind: 'tree', tree: { kind: 'map', place: { line: 1, column: 1 }, entries: new Map() } };
  return new TreeBuilder(fault).build(contents);
}

type Scanned =
  | { readonly kind: 'tokens'; readonly tokens: readonly CST.Token[] }
  | { readonly kind: 'invalid'; readonly faults: readonly ConfigFault[] };

/** Tokens first: depth and count are checked here because everything after this recurses. */
function scan(text: string, fault: MakeFault): Scanned {
  const parser = new Parser();
  const tokens: CST.Token[] = [];
  const faults: ConfigFault[] = [];
  let lexemes = 0;
  let inScalar = false;
  for (const lexeme of new Lexer().lex(text)) {
    const offset = parser.offset;
    lexemes += 1;
    if (lexemes > LEXEMES_MAX) return { kind: 'invalid', faults: [fault(offset, 'the file has too many elements')] };
    const type: string | null | undefined = inScalar ? undefined : CST.tokenType(lexeme);
    inScalar = type === 'scalar';
    if (type === 'tag') faults.push(fault(offset, 'tags (!…) are not supported'));
    if (type === 'directive-line') faults.push(fault(offset, 'directives (%…) are not supported'));
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (parser.stack.length > DEPTH_MAX) {
      return { kind: 'invalid', faults: [fault(offset, `options are nested more than ${DEPTH_MAX} levels deep`)] };
    }
  }
  for (const token of parser.end()) tokens.push(token);
  return faults.length > 0 ? { kind: 'invalid', faults: faults.slice(0, 100) } : { kind: 'tokens', tokens };
}

/** Thrown inside this file only, to leave the recursion. */
class LimitExceeded extends Error {
  readonly fault: ConfigFault;
  constructor(fault: ConfigFault) {
    super(fault.message);
    this.fault = fault;
  }
}

class TreeBuilder {
  readonly #fault: MakeFault;
  readonly #faults: ConfigFault[] = [];
  readonly #anchors = new Map<string, ParsedNode>();
  readonly #open = new Set<ParsedNode>();
  #nodes = 0;
  #aliases = 0;

  constructor(fault: MakeFault) {
    this.#fault = fault;
  }

  build(contents: ParsedNode): TreeResult {
    try {
      const tree = this.#node(contents, []);
      return this.#faults.length > 0 ? { kind: 'invalid', faults: this.#faults } : { kind: 'tree', tree };
    } catch (error) {
      if (error instanceof LimitExceeded) return { kind: 'invalid', faults: [error.fault] };
      throw error;
    }
  }

  #node(node: ParsedNode, path: Path): TreeNode {
    const offset = node.range[0];
    this.#nodes += 1;
    if (this.#nodes > NODES_MAX)
      this.#stop(offset, 'the file has too many elements once its aliases are followed', path);
    if (path.length > DEPTH_MAX) this.#stop(offset, `options are nested more than ${DEPTH_MAX} levels deep`, path);
    if (isAlias(node)) return this.#alias(node.source, offset, path);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    this.#open.add(node);
    const built = this.#content(node, path);
    this.#open.delete(node);
    return built;
  }

  #content(node: ParsedNode, path: Path): TreeNode {
    const place = this.#place(node.range[0]);
    if (isMap(node)) return { kind: 'map', place, entries: this.#entries(node.items, path) };
    if (isSeq(node)) {
      const items = node.items.map((item, index) => this.#node(item, [...path, index]));
      return { kind: 'list', place, items };
    }
    const value: unknown = isScalar(node) ? node.value : undefined;
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      return { kind: 'scalar', place, value };
    }
    this.#faults.push(this.#fault(node.range[0], 'a value of this kind is not supported', path));
    return { kind: 'scalar', place, value: null };
  }

  #entries(
    pairs: readonly { readonly key: unknown; readonly value: unknown }[],
    path: Path,
  ): Map<string, { readonly keyPlace: Place; readonly node: TreeNode }> {
    const entries = new Map<string, { readonly keyPlace: Place; readonly node: TreeNode }>();
    for (const pair of pairs) {
      const key = pair.key as ParsedNode;
      const offset = key.range[0];
      const name = isScalar(key) && typeof key.value === 'string' ? key.value : undefined;
      const problem = keyProblem(name, name !== undefined && entries.has(name));
      if (isScalar(key) && key.anchor !== undefined) this.#anchors.set(key.anchor, key as ParsedNode);
      if (name === undefined || problem !== undefined) {
        this.#faults.push(this.#fault(offset, problem ?? 'refused', name === undefined ? path : [...path, name]));
        if (this.#faults.length >= 100) this.#stop(offset, 'the file has too many faults', path);
        continue;
      }
      const keyPlace = this.#place(offset);
      const value = pair.value as ParsedNode | null;
      const node: TreeNode =
        value === null ? { kind: 'scalar', place: keyPlace, value: null } : this.#node(value, [...path, name]);
      entries.set(name, { keyPlace, node });
    }
    return entries;
  }

  #alias(name: string, offset: number, path: Path): TreeNode {
    this.#aliases += 1;
    if (this.#aliases > ALIASES_MAX) this.#stop(offset, `the file has more than ${ALIASES_MAX} aliases`, path);
    const target = this.#anchors.get(name);
    if (target === undefined) this.#stop(offset, `the alias *${name.slice(0, 60)} has no anchor before it`, path);
    if (this.#open.has(target)) this.#stop(offset, `the alias *${name.slice(0, 60)} contains itself`, path);
    return this.#node(target, path);
  }

  #stop(offset: number, message: string, path: Path): never {
    throw new LimitExceeded(this.#fault(offset, message, path));
  }

  #place(offset: number): Place {
    const { line, column } = this.#fault(offset, '');
    return { line, column };
  }
}

function keyProblem(name: string | undefined, isDuplicate: boolean): string | undefined {
  if (name === undefined) return 'the name of an option must be a text';
  if (name === '<<') return 'merge keys (<<) are not supported';
  if (FORBIDDEN_KEYS.has(name)) return `the name ${printable(name, 60)} is not allowed`;
  return isDuplicate ? 'the option is given twice' : undefined;
}

function sentence(message: string): string {
  return `not valid YAML: ${message.charAt(0).toLowerCase()}${message.slice(1, 300)}`;
}

/** Offsets into places, by binary search over the starts of lines. */
function placesOf(text: string): (offset: number) => Place {
  const starts = [0];
  for (let index = text.indexOf('\n'); index !== -1; index = text.indexOf('\n', index + 1)) starts.push(index + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  };
}
