/**
 * The mark that a statement carries in a comment: an `atomesh_gid='…'` pair, or through a trace (`tracestate`, `traceparent`), in
 * the form of sqlcommenter (https://google.github.io/sqlcommenter/spec/): `key='value'` pairs, URL-encoded, joined by commas.
 * Only the comment that leads and the one that ends the text are read, so that a literal can never name one.
 */
import { markFromTracestate, parseTraceparent } from '../../src/contract/propagation.ts';
import { markText, parseMark, type Mark } from '../../src/contract/transaction.ts';

/**
 * `malformed`: what names it is no mark. `contradictory`: two comments name different ones. `ambiguous`: only a trace leads to it, of
 * which requests are being served under different ones.
 */
export type CommentMark =
  | { readonly kind: 'mark'; readonly mark: Mark }
  | { readonly kind: 'malformed'; readonly text: string }
  | { readonly kind: 'contradictory' | 'ambiguous' };

/** The marks of the traces whose requests are being served here. */
export interface ServedTraces {
  /** The mark of a trace; undefined when it is not known, `'ambiguous'` when the trace has two at once. */
  markOf(traceId: string): Mark | 'ambiguous' | undefined;
  /** How many there are. */
  readonly size: number;
}

/** Bounded, so that a comment made for it costs no more than its length. */
const PAIR =
  /(?<![A-Za-z0-9_.-])([A-Za-z_][A-Za-z0-9_.-]{0,63})\s{0,8}[=:]\s{0,8}(?:'((?:[^'\\]|\\.){0,2048})'|([^\s,'*]{1,2048}))/g;
/** Of a longer comment only so much is looked at: the beginning of one that leads, the end of one that ends the text. */
const COMMENT_CHARACTERS_MAX = 4_096;

/** The mark that the comments of `sql` name, if any. A gid by name goes before a tracestate, and that before a traceparent. */
export function markFromSqlComment(sql: string, traces: ServedTraces): CommentMark | undefined {
  return markFromSqlComments([sql], traces);
}

/** The same of several statements, which have to agree. */
export function markFromSqlComments(statements: readonly string[], traces: ServedTraces): CommentMark | undefined {
  const comments = statements
    .flatMap((sql) => [trailingComment(sql), leadingComment(sql)])
    .filter((comment) => comment !== undefined);
  const cutOff = comments.find(({ rest }) => CARRIER.test(rest));
  if (cutOff !== undefined) return { kind: 'malformed', text: cutOff.read };
  const pairs = comments.map(({ read }) => readPairs(read));
  for (const from of [fromName, fromState, fromParent]) {
    const found = pairs.map((each) => from(each, traces)).filter((each) => each !== undefined);
    if (found.length > 0) return agreed(found);
  }
  return undefined;
}

/** The mark of a `traceparent` text, as some agents put it into `application_name`. */
export function markFromTraceparent(text: string, traces: ServedTraces): Mark | 'ambiguous' | undefined {
  const parent = parseTraceparent(text);
  return parent === undefined ? undefined : traces.markOf(parent.traceId);
}

type Pairs = ReadonlyMap<string, string>;

function fromName(pairs: Pairs): CommentMark | undefined {
  const named = pairs.get('atomesh_gid') ?? pairs.get('atomesh.gid');
  if (named === undefined) return undefined;
  const mark = parseMark(named);
  return mark === undefined ? { kind: 'malformed', text: named } : { kind: 'mark', mark };
}

function fromState(pairs: Pairs): CommentMark | undefined {
  const mark = markFromTracestate(pairs.get('tracestate') ?? '');
  return mark === undefined ? undefined : { kind: 'mark', mark };
}

function fromParent(pairs: Pairs, traces: ServedTraces): CommentMark | undefined {
  const mark = markFromTraceparent(pairs.get('traceparent') ?? '', traces);
  if (mark === undefined) return undefined;
  return mark === 'ambiguous' ? { kind: 'ambiguous' } : { kind: 'mark', mark };
}

/** What all comments say. A bare gid beside a mark of the same gid says less, and nothing else. */
function agreed(found: readonly CommentMark[]): CommentMark | undefined {
  const unclear = found.find(({ kind }) => kind !== 'mark');
  if (unclear !== undefined) return unclear;
  const marks = found.flatMap((each) => (each.kind === 'mark' ? [each.mark] : []));
  const whole = marks.find(({ operation }) => operation !== undefined) ?? marks[0];
  if (whole === undefined) return undefined;
  const fits = marks.every(
    (mark) => mark.gid === whole.gid && (mark.operation === undefined || markText(mark) === markText(whole)),
  );
  return fits ? { kind: 'mark', mark: whole } : { kind: 'contradictory' };
}

function readPairs(comment: string): ReadonlyMap<string, string> {
  const pairs = new Map<string, string>();
  for (const [, key, quoted, plain] of comment.matchAll(PAIR)) {
    if (key === undefined) continue;
    const text = quoted === undefined ? (plain ?? '') : quoted.replace(/\\(.)/g, '$1');
    pairs.set(key, decode(text));
  }
  return pairs;
}

/** URL-decodes; Google's Python library doubles the percent signs for drivers with `%` place-holders. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('%%', '%'));
  } catch {
    return text;
  }
}

/** A comment as far as it is looked at, and what is left of it. */
interface Comment {
  readonly read: string;
  readonly rest: string;
}

/** What may stand behind the comment that ends a text. Not searched for from the front: that would be quadratic. */
const BLANK = /[\s;]/;
/** In what is left of a comment, nothing may be overlooked. */
const CARRIER = /atomesh[_.]gid|traceparent|tracestate/;

function trailingComment(sql: string): Comment | undefined {
  let end = sql.length;
  while (end > 0 && BLANK.test(sql[end - 1] ?? '')) end -= 1;
  const text = sql.slice(0, end);
  if (!text.endsWith('*/')) return undefined;
  const start = text.lastIndexOf('/*');
  if (start < 0) return undefined;
  const comment = text.slice(start + 2, -2);
  return { read: comment.slice(-COMMENT_CHARACTERS_MAX), rest: comment.slice(0, -COMMENT_CHARACTERS_MAX) };
}

function leadingComment(sql: string): Comment | undefined {
  const text = sql.trimStart();
  if (!text.startsWith('/*')) return undefined;
  const end = text.indexOf('*/', 2);
  if (end < 0) return undefined;
  const comment = text.slice(2, end);
  return { read: comment.slice(0, COMMENT_CHARACTERS_MAX), rest: comment.slice(COMMENT_CHARACTERS_MAX) };
}
