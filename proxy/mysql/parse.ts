/** The statements of a client's text to MySQL or MariaDB: what each is, and where its clauses stand. */
import { readChange } from './text/change.ts';
import { readInsert } from './text/insert.ts';
import { statementOf } from './text/shape.ts';
import { isEmpty, isOperator, isWord, type Source, type Span } from './text/span.ts';
import { scan, type Lexical } from './text/tokens.ts';
import type { Statement } from './text/statement.ts';

/** One statement with its text: without the semicolon, and without comments around it. */
export interface ParsedStatement {
  readonly statement: Statement;
  readonly source: Source;
  readonly span: Span;
}

export type Parsed =
  | { readonly kind: 'parsed'; readonly statements: readonly ParsedStatement[] }
  /** It cannot be told with certainty where its words begin and end. */
  | { readonly kind: 'unreadable'; readonly message: string };

/**
 * Reads a text of one or several statements, each character of which stands for one byte. `loadGrammar` of text/tree.ts must have
 * resolved. Never throws for what a client sends.
 */
export function parse(text: string, lexical: Lexical): Parsed {
  const scanned = scan(text, lexical);
  if (scanned.kind === 'fault') return { kind: 'unreadable', message: scanned.message };
  const source = { text, tokens: scanned.tokens, server: lexical.server };
  const statements = spansOf(source)
    .filter((span) => !isEmpty(span))
    .map((span) => ({ statement: readStatement(source, span), source, span }));
  return { kind: 'parsed', statements };
}

function readStatement(source: Source, span: Span): Statement {
  const verb = source.tokens[span.from];
  if (isWord(source, span.from, 'update', 'delete')) return statementOf(source, span, () => readChange(source, span));
  if (isWord(source, span.from, 'insert', 'replace')) return statementOf(source, span, () => readInsert(source, span));
  return { kind: 'other', verb: verb?.kind === 'word' || verb?.text === '(' ? verb.text : '' };
}

/** Those between semicolons. A routine has semicolons in it, but then its first statement is one that is refused. */
function spansOf(source: Source): readonly Span[] {
  const spans: Span[] = [];
  let from = 0;
  for (let place = 0; place <= source.tokens.length; place += 1) {
    if (place < source.tokens.length && !isOperator(source, place, ';')) continue;
    spans.push({ from, to: place });
    from = place + 1;
  }
  return spans;
}
