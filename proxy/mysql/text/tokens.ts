/** The tokens of a text of MySQL or MariaDB, by the lexical rules of its server and its session (sql/sql_lex.cc). */

/**
 * The settings of a session that decide how its texts are read. `charset`: that of character_set_client. `utf8`: no byte below
 * 0x80 is ever part of another character (utf8mb3, utf8mb4); `single-byte`: every byte is a character;
 * `other`: a backslash or a quote may be the second byte of a character (gbk, sjis, big5, …).
 */
export interface Lexical {
  readonly noBackslashEscapes: boolean;
  readonly ansiQuotes: boolean;
  readonly charset: 'utf8' | 'single-byte' | 'other';
  /** Undefined where it is not known: then only functions that all of them have are taken for the server's own. */
  readonly server?: Server | undefined;
}

/** What decides which names are those of the server's own functions. */
export interface Server {
  readonly isMariadb: boolean;
  /** 80017 is 8.0.17, and 101102 10.11.2. */
  readonly version: number;
  /** A blank may stand between the name of any function and its parenthesis (IGNORE_SPACE). */
  readonly ignoresSpace: boolean;
}

/**
 * `word`: a keyword or an unquoted name. `name`: a quoted name. `string`: a string, with the letter in front of it that says what kind.
 * `operator`: anything else, such as a parenthesis.
 */
export type TokenKind = 'word' | 'name' | 'string' | 'number' | 'parameter' | 'operator';

export interface Token {
  readonly kind: TokenKind;
  /** Positions in the text, in bytes. */
  readonly start: number;
  readonly end: number;
  /** A word in lower case, a name without its quotes and in its own case, an operator; else as written. */
  readonly text: string;
}

/** What was found: the tokens, without comments, or why the text cannot be read with certainty. */
export type Scanned =
  | { readonly kind: 'tokens'; readonly tokens: readonly Token[] }
  | { readonly kind: 'fault'; readonly message: string };

/** Most tokens of a text that is looked at: lists longer than this are split by whoever sends them. */
const TOKENS_MAX = 200_000;

/**
 * Reads a text, of which each character stands for one byte (latin1): bytes that are no text at all may stand in strings, and positions
 * are those of the packet. What the server might read in another way is a fault.
 */
export function scan(text: string, lexical: Lexical): Scanned {
  // oxlint-disable-next-line no-control-regex
  if (lexical.charset === 'other' && /[\u0080-\u00ff]/.test(text)) {
    return fault(
      'characters beyond ASCII in a character set in which a quote or a backslash may be half of a character',
    );
  }
  const scanner = new Scanner(text, lexical);
  const tokens: Token[] = [];
  for (;;) {
    const token = scanner.next();
    if (token === undefined) break;
    tokens.push(token);
    if (tokens.length > TOKENS_MAX) return fault(`more than ${TOKENS_MAX} words`);
  }
  return scanner.fault === undefined ? { kind: 'tokens', tokens } : fault(scanner.fault);
}

function fault(message: string): Scanned {
  return { kind: 'fault', message };
}

const SPACE = /[\t-\r ]+/y;
const WORD = /[\w$\u0080-\u00ff]+/y;
const NUMBER = /0x[0-9a-fA-F]+|0b[01]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const OPERATOR = /<=>|->>|:=|<>|!=|>=|<=|\|\||&&|<<|>>|->|@@|[-+*/%=<>!~^&|(),.;@:{}]/y;
const WORD_START = /[A-Za-z_$\u0080-\u00ff]/;
/** A hint of MySQL that sets a variable for the statement: images would be taken under other settings. */
const SETTING_HINT = /set_var/i;
/** Letters that, right in front of a quote, make it another kind of constant. */
const STRING_LETTER = /^[xXbBnN]$/;

class Scanner {
  readonly #text: string;
  readonly #lexical: Lexical;
  #at = 0;
  fault: string | undefined;

  constructor(text: string, lexical: Lexical) {
    this.#text = text;
    this.#lexical = lexical;
  }

  /** The next token; undefined at the end, and at a fault. */
  next(): Token | undefined {
    while (this.#skipSpace() || this.#skipComment());
    if (this.fault !== undefined || this.#at >= this.#text.length) return undefined;
    const start = this.#at;
    const first = this.#text.charAt(start);
    if (first === "'") return this.#string(start, "'");
    if (first === '"') return this.#lexical.ansiQuotes ? this.#name(start, '"') : this.#string(start, '"');
    if (first === '`') return this.#name(start, '`');
    if (first === '?') return this.#token('parameter', start, start + 1);
    if (/[0-9]/.test(first) || (first === '.' && /[0-9]/.test(this.#text.charAt(start + 1))))
      return this.#number(start);
    if (WORD_START.test(first)) return this.#word(start);
    const end = this.#match(OPERATOR, start);
    if (end === undefined) return this.#stop('a character that belongs to no statement');
    return this.#token('operator', start, end);
  }

  #token(kind: TokenKind, start: number, end: number, text: string = this.#text.slice(start, end)): Token {
    this.#at = end;
    return { kind, start, end, text };
  }

  #stop(message: string): undefined {
    this.fault = message;
    return undefined;
  }

  #match(pattern: RegExp, at: number): number | undefined {
    pattern.lastIndex = at;
    return pattern.test(this.#text) ? pattern.lastIndex : undefined;
  }

  #skipSpace(): boolean {
    const end = this.#match(SPACE, this.#at);
    if (end === undefined) return false;
    this.#at = end;
    return true;
  }

  #skipComment(): boolean {
    const text = this.#text;
    const at = this.#at;
    // Two minus signs begin a comment only with a blank, a control character, or the end behind them.
    const isLine =
      text[at] === '#' || (text.startsWith('--', at) && (at + 2 >= text.length || text.charCodeAt(at + 2) <= 0x20));
    if (isLine) {
      const end = text.indexOf('\n', at);
      this.#at = end === -1 ? text.length : end + 1;
      return true;
    }
    if (!text.startsWith('/*', at)) return false;
    const end = text.indexOf('*/', at + 2);
    const comment = text.slice(at + 2, end === -1 ? undefined : end);
    if (end === -1) this.fault = 'a comment without an end';
    // Which of these a server carries out depends on its version.
    else if (/^M?!/.test(comment)) this.fault = 'a comment that servers carry out (/*!)';
    else if (comment.startsWith('+') && SETTING_HINT.test(comment)) this.fault = 'the hint SET_VAR';
    else this.#at = end + 2;
    return this.fault === undefined;
  }

  #word(start: number): Token | undefined {
    const end = this.#match(WORD, start) ?? start;
    const word = this.#text.slice(start, end);
    const quote = this.#text.charAt(end);
    if (STRING_LETTER.test(word) && quote === "'") return this.#string(end, quote, start);
    // oxlint-disable-next-line no-control-regex
    if (this.#lexical.charset === 'single-byte' && /[\u0080-\u00ff]/.test(word)) return this.#stop(FOREIGN_NAME);
    // Letters of ASCII alone: the others are not whole characters here.
    return this.#token(
      'word',
      start,
      end,
      word.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase()),
    );
  }

  #number(start: number): Token | undefined {
    // `t.1` is a name behind a dot, `1st` a name, and `1e` too.
    const before = this.#text.charAt(start - 1);
    const end = this.#match(NUMBER, start) ?? start;
    const isPlain = !WORD_START.test(this.#text.charAt(end)) && !/[\w$`.\u0080-\u00ff]/.test(before);
    return isPlain
      ? this.#token('number', start, end)
      : this.#stop('a name that begins with a digit, and is not quoted');
  }

  #string(at: number, quote: string, start = at): Token | undefined {
    const text = this.#text;
    for (let place = at + 1; place < text.length; place += 1) {
      const character = text[place];
      if (character === '\\' && !this.#lexical.noBackslashEscapes) place += 1;
      else if (character === quote) {
        if (text[place + 1] !== quote) return this.#token('string', start, place + 1);
        place += 1;
      }
    }
    return this.#stop('a string without an end');
  }

  #name(start: number, quote: string): Token | undefined {
    for (let place = start + 1; place < this.#text.length; place += 1) {
      if (this.#text[place] !== quote) continue;
      if (this.#text[place + 1] === quote) {
        place += 1;
        continue;
      }
      const name = this.#text.slice(start + 1, place).replaceAll(quote + quote, quote);
      // oxlint-disable-next-line no-control-regex
      if (this.#lexical.charset === 'single-byte' && /[\u0080-\u00ff]/.test(name)) return this.#stop(FOREIGN_NAME);
      return this.#token('name', start, place + 1, name);
    }
    return this.#stop('a quoted name without an end');
  }
}

const FOREIGN_NAME = 'a name with characters beyond ASCII, in a session whose character set is not UTF-8';
