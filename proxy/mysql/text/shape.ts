/** The shapes of statements: what is left of one without its constants. How it is built follows from that alone. */
import type { Statement } from './statement.ts';
import { placesOf, type Source, type Span } from './span.ts';
import type { Token } from './tokens.ts';

/** Statements that are kept, and the longest shape of one, in characters. */
const KEPT_MAX = 2000;
const CHARACTERS_MAX = 2000;

const kept = new Map<string, Statement>();

/**
 * The statement that `read` makes of the text, or has made of another one of the same shape. Its places are numbers of tokens, and so they
 * are the same. The span begins with the first token.
 */
export function statementOf(source: Source, span: Span, read: () => Statement): Statement {
  const shape = shapeOf(source, span);
  if (shape === undefined) return read();
  const known = kept.get(shape);
  if (known !== undefined) return known;
  const statement = read();
  const [oldest] = kept.keys();
  if (kept.size >= KEPT_MAX && oldest !== undefined) kept.delete(oldest);
  kept.set(shape, statement);
  return statement;
}

/** Undefined for a long one: what is longer than others is seldom run twice. */
function shapeOf(source: Source, span: Span): string | undefined {
  const { start, end } = placesOf(source, span);
  if (span.from !== 0 || end - start > CHARACTERS_MAX) return undefined;
  const { tokens, text, server } = source;
  let shape = server?.isMariadb === false ? 'y' : 'a';
  for (let place = 0; place < span.to; place += 1) {
    const token = tokens[place] as Token;
    // No token has a line break in it but a quoted name, and none is a quote or a # alone.
    const isApart = place > 0 && token.start > (tokens[place - 1] as Token).end;
    shape += isApart ? '\n ' : '\n';
    if (token.kind === 'string') shape += "'";
    else if (token.kind === 'number') shape += '#';
    else shape += text.slice(token.start, token.end);
  }
  return shape;
}
