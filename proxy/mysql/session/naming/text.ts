/**
 * The text of a statement without its comments, and without what stands in quotes. Source: MySQL documentation, "Comments",
 * "String Literals". Comments whose content the server runs are left in.
 */

export interface BareOptions {
  /** A backslash is a character like others in strings (NO_BACKSLASH_ESCAPES). */
  readonly hasPlainBackslash: boolean;
  /** Literals stay as they are; otherwise only their quotes do. */
  readonly keepsLiterals: boolean;
}

const QUOTES = '\'"`';
/** What may begin a comment or a literal. */
const SPECIAL = /['"`/#-]/g;
/** The same, and what ends a statement. */
const SPECIAL_OR_END = /['"`/#;-]/g;
/** Of a hash, or of two hyphens with a blank or a control character behind them. */
const LINE_COMMENT = /#|--(?=\s|\p{Cc}|$)/uy;
const BLOCK_COMMENT = /\/\*(?!!|M!)/y;

/** The text with a blank for each comment. */
export function bareText(text: string, { hasPlainBackslash, keepsLiterals }: BareOptions): string {
  const parts: string[] = [];
  for (let at = 0; at < text.length;) {
    SPECIAL.lastIndex = at;
    const special = SPECIAL.exec(text)?.index ?? text.length;
    parts.push(text.slice(at, special));
    if (special === text.length) break;
    const quote = text.charAt(special);
    if (QUOTES.includes(quote)) {
      at = endOfLiteral(text, special, hasPlainBackslash || quote === '`');
      parts.push(keepsLiterals ? text.slice(special, at) : quote + quote);
      continue;
    }
    const end = endOfComment(text, special);
    at = end ?? special + 1;
    parts.push(end === undefined ? quote : ' ');
  }
  return parts.join('');
}

/** The statements of a text, each with the comments around it. What is no more than blanks is left out. */
export function statementsIn(text: string, hasPlainBackslash: boolean): readonly string[] {
  const statements: string[] = [];
  let from = 0;
  for (let at = 0; at < text.length;) {
    SPECIAL_OR_END.lastIndex = at;
    const special = SPECIAL_OR_END.exec(text)?.index;
    if (special === undefined) break;
    const first = text.charAt(special);
    at = QUOTES.includes(first)
      ? endOfLiteral(text, special, hasPlainBackslash || first === '`')
      : (endOfComment(text, special) ?? special + 1);
    if (first !== ';') continue;
    statements.push(text.slice(from, special));
    from = at;
  }
  return [...statements, text.slice(from)].filter((statement) => statement.trim() !== '');
}

/** Behind the quote that ends it; one that is doubled ends a literal and begins the next, which is the same here. */
function endOfLiteral(text: string, start: number, hasPlainBackslash: boolean): number {
  const quote = text.charAt(start);
  for (let from = start + 1; ;) {
    const end = text.indexOf(quote, from);
    if (end < 0) return text.length;
    if (hasPlainBackslash) return end + 1;
    let escapes = 0;
    while (end - 1 - escapes > start && text[end - 1 - escapes] === '\\') escapes += 1;
    if (escapes % 2 === 0) return end + 1;
    from = end + 1;
  }
}

/** Behind the comment that begins here; undefined where none does. */
function endOfComment(text: string, start: number): number | undefined {
  BLOCK_COMMENT.lastIndex = start;
  LINE_COMMENT.lastIndex = start;
  const isBlock = BLOCK_COMMENT.test(text);
  if (!isBlock && !LINE_COMMENT.test(text)) return undefined;
  const end = isBlock ? text.indexOf('*/', start + 2) : text.indexOf('\n', start);
  return end < 0 ? text.length : end + (isBlock ? 2 : 0);
}
