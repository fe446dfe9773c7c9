/** Statements as they are planned: with the parameters of a prepared one in their text. */
import { parse, type ParsedStatement } from '../parse.ts';
import type { Bulk, Said } from '../session/naming/claimants.ts';
import type { Refusal } from '../session/refusals.ts';
import { askedOf } from '../text/effects.ts';
import { interpolate, prepareText, type PreparedText } from '../text/interpolate.ts';
import type { Parameter } from '../wire/query.ts';
import type { Context } from './context.ts';
import type { Piece } from './piece.ts';
import { notKnown, unreadable } from './refusals.ts';
import type { Settings } from './settings.ts';

/** Several rows of parameters at once. */
export function isBulk(parameters: NonNullable<Said['prepared']>['parameters']): parameters is Bulk {
  return typeof parameters === 'object' && 'rows' in parameters;
}

/** A statement that is planned by what it says of rows. */
export function isChange({ parsed }: Piece): boolean {
  return parsed.statement.kind !== 'other';
}

type Refusing = { readonly kind: 'refused'; readonly refusal: Refusal };

/**
 * The statement with its parameters in its text, as our own statements need them, and with what it asks about the one before it. The
 * client's own is what runs where it runs as it came.
 */
export function writtenOut(c: Context, piece: Piece): Piece | Refusing {
  const written = withParameters(c, piece);
  return 'kind' in written ? written : withAnswers(c, written);
}

/** What may be asked about the statement before: text/effects.ts. */
const QUESTIONS = /row_count|found_rows|warning_count|error_count/i;
const NOTHING_KNOWN = { affectedRows: 0n, foundRows: undefined, warningCount: 0, levels: [] };

/** Statements of ours run ahead of a change, so that it would hear of these. */
function withAnswers({ last, settings }: Context, piece: Piece): Piece | Refusing {
  if (!QUESTIONS.test(piece.sql)) return piece;
  const { source, span } = piece.parsed;
  const asked = askedOf(source, span, last ?? NOTHING_KNOWN);
  if (asked.kind === 'as-is') return piece;
  const parsed = asked.kind === 'text' && last !== undefined ? parse(asked.text, settings.lexical) : undefined;
  const [one] = parsed?.kind === 'parsed' ? parsed.statements : [];
  if (one === undefined) {
    const why =
      asked.kind === 'refuse' ? asked.message : 'what it asks about was not changed inside the global transaction';
    return { kind: 'refused', refusal: notKnown(why) };
  }
  const { hasMore, isPrepared } = piece;
  return { ...pieceOf(one, { isWhole: false, hasMore, prepared: undefined }), isPrepared };
}

function withParameters({ settings }: Context, piece: Piece): Piece | Refusing {
  const { prepared } = piece;
  if (prepared === undefined) return piece;
  const { statement, parameters } = prepared;
  // What is captured of it is written out row by row; otherwise it runs as it came.
  if (isBulk(parameters)) return piece;
  if (parameters === 'malformed') return { kind: 'refused', refusal: unreadable('parameters that cannot be read') };
  if (parameters.length === 0) return piece;
  const written = withValues(prepareText(statement.text.toString('latin1'), settings.lexical), parameters, settings);
  return 'kind' in written ? written : { ...pieceOf(written, piece), prepared: undefined, isPrepared: true };
}

/** A prepared statement with these values written into its text. */
export function withValues(
  text: PreparedText,
  parameters: readonly Parameter[],
  { lexical }: Settings,
): ParsedStatement | Refusing {
  const written = interpolate(text, parameters, { lexical });
  if (written.kind === 'refuse') return { kind: 'refused', refusal: unreadable(written.message) };
  const parsed = parse(written.text, lexical);
  const [one] = parsed.kind === 'parsed' ? parsed.statements : [];
  return one ?? { kind: 'refused', refusal: unreadable('parameters that cannot be written as constants') };
}

/** A statement of a command. */
export function pieceOf(parsed: ParsedStatement, rest: Omit<Piece, 'parsed' | 'sql' | 'isPrepared'>): Piece {
  const { source, span } = parsed;
  const start = source.tokens[span.from]?.start ?? 0;
  const end = source.tokens[span.to - 1]?.end ?? 0;
  const { isWhole, hasMore, prepared } = rest;
  return { isWhole, hasMore, prepared, parsed, sql: source.text.slice(start, end), isPrepared: prepared !== undefined };
}
