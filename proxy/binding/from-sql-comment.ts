/**
 * The gid that a statement carries in a comment: an `atomesh_gid='…'` pair, or through a trace (`tracestate`, `traceparent`), in
 * the form of sqlcommenter (https://google.github.io/sqlcommenter/spec/): `key='value'` pairs, URL-encoded, joined by commas.
 * Only the comment that leads and the one that ends the text are read, so that a literal can never name a gid.
 */
import { gidFromTracestate, parseTraceparent } from '../../src/contract/propagation.ts';
import { parseGid, type Gid } from '../../src/contract/transaction.ts';

export type CommentGid =
  | { readonly kind: 'gid'; readonly gid: Gid; readonly source: 'comment' | 'tracestate' | 'traceparent' }
  | { readonly kind: 'malformed'; readonly text: string };

const PAIR = /([A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*(?:'((?:[^'\\]|\\.)*)'|([^\s,'*]+))/g;

/** The gid that the comments of `sql` name, if any. `gidOfTrace` knows the trace ids that arrived with a gid. */
export function gidFromSqlComment(
  sql: string,
  gidOfTrace: (traceId: string) => Gid | undefined,
): CommentGid | undefined {
  for (const comment of [trailingComment(sql), leadingComment(sql)]) {
    const found = comment === undefined ? undefined : fromPairs(readPairs(comment), gidOfTrace);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The gid of a `traceparent` text, as some agents put it into `application_name`. */
export function gidFromTraceparent(text: string, gidOfTrace: (traceId: string) => Gid | undefined): Gid | undefined {
  const parent = parseTraceparent(text);
  return parent === undefined ? undefined : gidOfTrace(parent.traceId);
}

function fromPairs(
  pairs: ReadonlyMap<string, string>,
  gidOfTrace: (traceId: string) => Gid | undefined,
): CommentGid | undefined {
  const named = pairs.get('atomesh_gid') ?? pairs.get('atomesh.gid');
  if (named !== undefined) {
    const gid = parseGid(named);
    return gid === undefined ? { kind: 'malformed', text: named } : { kind: 'gid', gid, source: 'comment' };
  }
  const state = pairs.get('tracestate');
  const fromState = state === undefined ? undefined : gidFromTracestate(state);
  if (fromState !== undefined) return { kind: 'gid', gid: fromState, source: 'tracestate' };
  const parent = pairs.get('traceparent');
  const fromParent = parent === undefined ? undefined : gidFromTraceparent(parent, gidOfTrace);
  return fromParent === undefined ? undefined : { kind: 'gid', gid: fromParent, source: 'traceparent' };
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
