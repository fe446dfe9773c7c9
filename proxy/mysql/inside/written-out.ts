/** Statements as they are planned: with the parameters of a prepared one in their text. */
import { isUtf8 } from 'node:buffer';
import { parse, type ParsedStatement } from '../parse.ts';
import type { Bulk, Said } from '../session/naming/claimants.ts';
import type { Refusal } from '../session/refusals.ts';
import { askedOf } from '../text/effects.ts';
import { interpolate, type PreparedText } from '../text/interpolate.ts';
import { textOf } from '../text/span.ts';
import type { Parameter } from '../wire/query.ts';
import { TYPE } from '../wire/values.ts';
import type { Capture } from '../undo/capture.ts';
import { GatheringSeat } from './bulk/gathering-seat.ts';
import type { Context } from './context.ts';
import type { Piece } from './piece.ts';
import { withPlaces } from '../session/prepared-texts.ts';
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
const NOTHING_KNOWN = { affectedRows: 0n, warningCount: 0, levels: [] };

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
  const { badTexts = 0 } = piece;
  const written = { ...pieceOf(one, { isWhole: false, hasMore, prepared: undefined }), isPrepared, badTexts };
  return isPrepared ? { ...written, isTurned: true } : written;
}

/** A prepared statement that asks about the one before it: as a text, in which the answers can be written. */
export function asText(c: Context, piece: Piece): Piece | Refusing {
  const written = withParameters(c, piece);
  return 'kind' in written ? written : { ...written, isWhole: false, isTurned: true };
}

/** A query may answer a FLOAT of any table. */
const MAY_BE_FLOAT = /\b(?:select|float)\b/i;

/**
 * A change that answers rows, as what is captured of it: of a prepared one the rows are turned into binary form, where that can be told before
 * it runs. Bulk statements count what is changed, and have no rows.
 */
export function withRows({ seat, parts, settings }: Context, { answersRows, tables }: Capture, piece: Piece): Piece {
  if (!answersRows || !piece.isPrepared || seat instanceof GatheringSeat) return piece;
  const { statement, source } = piece.parsed;
  const returning = 'returning' in statement ? statement.returning : undefined;
  const hasFloat = tables.some(({ database, table }) => {
    const facts = parts.facts.known(database, table);
    // Of a table that is named otherwise than it is stored nothing is known here.
    return typeof facts !== 'object' || facts.columns.some(({ image }) => image?.type.startsWith('float') !== false);
  });
  const isTold =
    !settings.hasWideResults && !hasFloat && returning !== undefined && !MAY_BE_FLOAT.test(textOf(source, returning));
  return isTold ? { ...piece, isPrepared: false, isTurned: true } : piece;
}

function withParameters({ settings, seat }: Context, piece: Piece): Piece | Refusing {
  const { prepared } = piece;
  if (prepared === undefined) return piece;
  const { statement, parameters } = prepared;
  // What is captured of it is written out row by row; otherwise it runs as it came.
  if (isBulk(parameters)) return piece;
  if (parameters === 'malformed') return { kind: 'refused', refusal: unreadable('parameters that cannot be read') };
  if (parameters.length === 0) return piece;
  const written = withValues(withPlaces(statement, settings.lexical), parameters, settings);
  if ('kind' in written) return written;
  const badTexts = seat.isMariadb || settings.lexical.charset !== 'utf8' ? 0 : parameters.filter(isBadText).length;
  return { ...pieceOf(written, piece), prepared: undefined, isPrepared: true, badTexts };
}

/** Bytes that are sent as a text, as some drivers do. */
function isBadText({ type, value }: Parameter): boolean {
  return Buffer.isBuffer(value) && TEXTS.includes(type.code) && !isUtf8(value);
}

const TEXTS: readonly number[] = [TYPE.varchar, TYPE.varString, TYPE.string];

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
