/**
 * The mark that a statement carries in a comment: an `atomesh_gid='…'` pair, or through a trace (`tracestate`, `traceparent`), in
 * the form of sqlcommenter (https://google.github.io/sqlcommenter/spec/): `key='value'` pairs, URL-encoded, joined by commas.
 * Only the comment that leads and the one that ends the text are read, so that a literal can never name one.
 */
import { markFromTracestate, parseTraceparent } from '../../src/contract/propagation.ts';
import { parseMark, type Mark } from '../../src/contract/transaction.ts';

export type CommentMark =
  | { readonly kind: 'mark'; readonly mark: Mark }
  | { readonly kind: 'malformed'; readonly text: string };

/** The marks of the traces whose requests are being served here. */
export interface ServedTraces {
  /** The mark of a trace; undefined when it is not known, or when the trace has two at once. */
  markOf(traceId: string): Mark | undefined;
  /** How many there are. */
  readonly size: number;
}

const PAIR = /([A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*(?:'((?:[^'\\]|\\.)*)'|([^\s,'*]+))/g;

/** The mark that the comments of `sql` name, if any. */
export function markFromSqlComment(sql: string, traces: ServedTraces): CommentMark | undefined {
  for (const comment of [trailingComment(sql), leadingComment(sql)]) {
    const found = comment === undefined ? undefined : fromPairs(readPairs(comment), traces);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The mark of a `traceparent` text, as some agents put it into `application_name`. */
export function markFromTraceparent(text: string, traces: ServedTraces): Mark | undefined {
  const parent = parseTraceparent(text);
  return parent === undefined ? undefined : traces.markOf(parent.traceId);
}

function fromPairs(pairs: ReadonlyMap<string, string>, traces: ServedTraces): CommentMark | undefined {
  const named = pairs.get('atomesh_gid') ?? pairs.get('atomesh.gid');
  if (named !== undefined) {
    const mark = parseMark(named);
    return mark === undefined ? { kind: 'malformed', text: named } : { kind: 'mark', mark };
  }
  const state = pairs.get('tracestate');
  const parent = pairs.get('traceparent');
  const mark =
    (state === undefined ? undefined : markFromTracestate(state)) ??
    (parent === undefined ? undefined : markFromTraceparent(parent, traces));
  return mark === undefined ? undefined : { kind: 'mark', mark };
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

function trailingComment(sql: string): string | undefined {
  const text = sql.replace(/[\s;]+$/, '');
  if (!text.endsWith('*/')) return undefined;
  const start = text.lastIndexOf('/*');
  return start < 0 ? undefined : text.slice(start + 2, -2);
}

function leadingComment(sql: string): string | undefined {
  const text = sql.trimStart();
  if (!text.startsWith('/*')) return undefined;
  const end = text.indexOf('*/', 2);
  return end < 0 ? undefined : text.slice(2, end);
}
