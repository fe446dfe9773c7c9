/** Statements as they are planned: with the parameters of a prepared one in their text. */
import { parse, type ParsedStatement } from '../parse.ts';
import type { Refusal } from '../session/refusals.ts';
import { interpolate, prepareText } from '../text/interpolate.ts';
import type { Context } from './context.ts';
import type { Piece } from './piece.ts';
import { bulk, unreadable } from './refusals.ts';

/** A statement that is planned by what it says of rows. */
export function isChange({ parsed }: Piece): boolean {
  return parsed.statement.kind !== 'other';
}

/** The statement with its parameters in its text, as our own statements need them. The client's own is what runs where it runs as it came. */
export function writtenOut(
  { settings }: Context,
  piece: Piece,
): Piece | { readonly kind: 'refused'; readonly refusal: Refusal } {
  const { prepared } = piece;
  if (prepared === undefined) return piece;
  const { statement, parameters } = prepared;
  if (parameters === 'bulk') return { kind: 'refused', refusal: bulk };
  if (parameters === 'malformed') return { kind: 'refused', refusal: unreadable('parameters that cannot be read') };
  if (parameters.length === 0) return piece;
  const { lexical } = settings;
  const text = prepareText(statement.text.toString('latin1'), lexical);
  const written = interpolate(text, parameters, { lexical });
  if (written.kind === 'refuse') return { kind: 'refused', refusal: unreadable(written.message) };
  const parsed = parse(written.text, lexical);
  const [one] = parsed.kind === 'parsed' ? parsed.statements : [];
  if (one === undefined)
    return { kind: 'refused', refusal: unreadable('parameters that cannot be written as constants') };
  return { ...pieceOf(one, piece), prepared: undefined, isPrepared: true };
}

/** A statement of a command. */
export function pieceOf(parsed: ParsedStatement, rest: Omit<Piece, 'parsed' | 'sql' | 'isPrepared'>): Piece {
  const { source, span } = parsed;
  const start = source.tokens[span.from]?.start ?? 0;
  const end = source.tokens[span.to - 1]?.end ?? 0;
  const { isWhole, hasMore, prepared } = rest;
  return { isWhole, hasMore, prepared, parsed, sql: source.text.slice(start, end), isPrepared: prepared !== undefined };
}
