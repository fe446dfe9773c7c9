/** PostgreSQL's own grammar (libpg_query, that of server 18) applied to a client's text: tree, tokens, and slices of the text. */
import { loadModule, parseSync, scanSync, SqlError } from 'libpg-query';
import { assert } from '../../src/platform/assert.ts';

/** A node of the parse tree, as the server's `parsenodes.h` names its fields. */
export interface Tree {
  readonly [field: string]: unknown;
}

/** A token of the text; comments are left out. `start` and `end` are byte offsets in the UTF-8 text. */
export interface Token {
  readonly start: number;
  readonly end: number;
  /** As written, in lower case when it is a keyword. */
  readonly text: string;
  readonly isKeyword: boolean;
}

/** One statement of a text: its kind (`UpdateStmt`), its node, and its bytes without the semicolon and without comments around it. */
export interface ParsedStatement {
  readonly kind: string;
  readonly node: Tree;
  readonly start: number;
  readonly end: number;
  readonly source: SourceText;
}

export type Parsed =
  | { readonly kind: 'parsed'; readonly statements: readonly ParsedStatement[] }
  | { readonly kind: 'syntax-error'; readonly message: string }
  | { readonly kind: 'too-complex' };

/** Deepest nesting of parentheses, and longest run of tokens without a comma, that the grammar is given. */
const DEPTH_MAX = 500;
const RUN_MAX = 5000;

let loaded: Promise<void> | undefined;

/** Loads the grammar; await it once before the first `parse`. */
export function loadParser(): Promise<void> {
  loaded ??= loadModule();
  return loaded;
}

/** Parses a whole text, which may hold several statements or none. `loadParser` must have resolved. */
export function parse(text: string): Parsed {
  if (text.trim() === '') return { kind: 'parsed', statements: [] };
  // The grammar takes a C string: what follows a NUL would go unread.
  if (text.includes('\0')) return { kind: 'syntax-error', message: 'a statement cannot hold a NUL character' };
  const source = new SourceText(text);
  let result;
  try {
    const tokens = source.tokensWithin(0, source.byteLength);
    if (tokens.every((token) => token.text === ';')) return { kind: 'parsed', statements: [] };
    if (isTooComplex(tokens)) return { kind: 'too-complex' };
    result = parseSync(text);
  } catch (error) {
    return { kind: 'syntax-error', message: error instanceof SqlError ? error.message : 'syntax error' };
  }
  const statements: ParsedStatement[] = [];
  for (const raw of result.stmts ?? []) {
    const [entry] = Object.entries(raw.stmt ?? {});
    if (entry === undefined) continue;
    const from = raw.stmt_location ?? 0;
    const to = raw.stmt_len === undefined || raw.stmt_len === 0 ? source.byteLength : from + raw.stmt_len;
    const tokens = source.tokensWithin(from, to);
    const first = tokens[0];
    const last = tokens.at(-1);
    if (first === undefined || last === undefined) continue;
    statements.push({ kind: entry[0], node: entry[1] as Tree, start: first.start, end: last.end, source });
  }
  return { kind: 'parsed', statements };
}

/** The grammar runs as WebAssembly: a tree that overflows its stack leaves it damaged, so such a text never reaches it. */
function isTooComplex(tokens: readonly Token[]): boolean {
  let depth = 0;
  let run = 0;
  for (const token of tokens) {
    if (token.text === '(' || token.text === '[') depth += 1;
    if (token.text === ')' || token.text === ']') depth -= 1;
    run = token.text === ',' || token.text === ';' ? 0 : run + 1;
    if (depth > DEPTH_MAX || run > RUN_MAX) return true;
  }
  return false;
}

/** The text of a client as bytes, with its tokens found on first use. The grammar's locations are offsets into these bytes. */
export class SourceText {
  readonly #bytes: Buffer;
  readonly #text: string;
  #tokens: readonly Token[] | undefined;

  constructor(text: string) {
    this.#text = text;
    this.#bytes = Buffer.from(text, 'utf8');
  }

  get byteLength(): number {
    return this.#bytes.length;
  }

  /** The client's own text between two byte offsets. */
  slice(start: number, end: number): string {
    return this.#bytes.toString('utf8', start, end);
  }

  /** The tokens that lie in the byte range. */
  tokensWithin(start: number, end: number): readonly Token[] {
    this.#tokens ??= scan(this.#text);
    const from = lowerBound(this.#tokens, start);
    const to = lowerBound(this.#tokens, end);
    return this.#tokens.slice(from, to);
  }
}

function scan(text: string): readonly Token[] {
  // The binding answers invalid JSON for control characters. Where they are legal they are white space or inside quotes, and a
  // space of the same length reads the same.
  // oxlint-disable-next-line no-control-regex
  return scanSync(text.replaceAll(/[\u0001-\u0008\u000b\u000c\u000e-\u001f]/g, ' '))
    .tokens.filter((token) => !isComment(token.tokenName))
    .map((token) => {
      // The binding names the class of the keyword: RESERVED_KEYWORD, UNRESERVED_KEYWORD, …, or NO_KEYWORD.
      const isKeyword = token.keywordName !== 'NO_KEYWORD';
      return { start: token.start, end: token.end, text: isKeyword ? token.text.toLowerCase() : token.text, isKeyword };
    });
}

function isComment(tokenName: string): boolean {
  return tokenName === 'SQL_COMMENT' || tokenName === 'C_COMMENT';
}

/** The index of the first token that starts at or after the offset. */
function lowerBound(tokens: readonly Token[], offset: number): number {
  let low = 0;
  let high = tokens.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const token = tokens[middle];
    assert(token !== undefined, 'the middle of a range lies in it');
    if (token.start < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
