/**
 * Takes comments that name a trace or a gid off a statement, so that the server sees one text however many traces it runs in:
 * statement caches and pg_stat_statements stay small. Only the comment that leads and the one that ends the text are looked at,
 * as in `from-sql-comment.ts`, and only when all of it is pairs of sqlcommenter (https://google.github.io/sqlcommenter/spec/).
 */

/** A statement without such comments. */
export interface StrippedText {
  readonly text: string;
  /** What was taken away in front, in Unicode characters: PostgreSQL counts the positions in its errors in these. */
  readonly charactersInFront: number;
  /** The same in bytes of UTF-8: parsers count their locations in these. */
  readonly bytesInFront: number;
}

/** Who carries one of these was put there for us, or for a trace. */
const KEYS: ReadonlySet<string> = new Set(['atomesh_gid', 'atomesh.gid', 'traceparent', 'tracestate']);

/**
 * One pair. Its values are URL-encoded, so they hold no blanks and nothing that could begin a literal, a quoted name, a dollar
 * quote or a line comment, and its quotes come in twos. Text like this that lay inside a literal would leave the literal open:
 * in a statement that parses it lies in none.
 */
const PAIR = /([A-Za-z_][A-Za-z0-9_.%-]*)[ \t]*[=:][ \t]*(?:'[^\s'"\\$`#]*'|[^\s,'"\\$`#]+)/;
const PAIRS = new RegExp(`^[ \\t]*${PAIR.source}(?:[ \\t]*,[ \\t]*${PAIR.source})*[ \\t]*$`);
const EACH_PAIR = new RegExp(PAIR, 'g');
/** PostgreSQL source: scan.l, `space`. Other white space is part of a name there, which a comment may be keeping apart. */
const LEADING_SPACE = /^[ \t\n\r\f\v]*/;

/**
 * The statement without a comment in front and without one at its end that carries `traceparent`, `tracestate` or `atomesh_gid`.
 * Every other comment stays as it is, hints (`/*+`, `/*!`) among them.
 */
export function stripTraceComments(sql: string): StrippedText {
  const front = leadingComment(sql);
  const removed = front === undefined ? '' : sql.slice(front.start, front.end);
  const rest = front === undefined ? sql : sql.slice(0, front.start) + sql.slice(front.end);
  const end = trailingComment(rest);
  return {
    text: end === undefined ? rest : rest.slice(0, end.start) + rest.slice(end.end),
    charactersInFront: Array.from(removed).length,
    bytesInFront: Buffer.byteLength(removed),
  };
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/** The comment in front, with the blanks that follow it. */
function leadingComment(sql: string): Range | undefined {
  const start = LEADING_SPACE.exec(sql)?.[0].length ?? 0;
  if (!sql.startsWith('/*', start)) return undefined;
  const close = sql.indexOf('*/', start + 2);
  if (close < 0 || !isOurs(sql.slice(start + 2, close))) return undefined;
  let end = close + 2;
  while (sql[end] === ' ' || sql[end] === '\t') end += 1;
  return { start, end };
}

/** The comment at the end, with the blanks before it; what follows it (space, semicolons) stays. */
function trailingComment(sql: string): Range | undefined {
  const end = lengthWithout(sql);
  if (!sql.endsWith('*/', end)) return undefined;
  const open = sql.lastIndexOf('/*', end - 2);
  if (open < 0 || !isOurs(sql.slice(open + 2, end - 2))) return undefined;
  // MySQL does not nest comments: in `/* a /* b */` the second `/*` opens nothing, and `/*/` ends none.
  const before = open > 0 ? sql.lastIndexOf('/*', open - 1) : -1;
  if (before >= 0 && sql.lastIndexOf('*/', open - 1) < before + 2) return undefined;
  // And in `/* a */* b */` it belongs to the end of the first.
  if (sql[open - 1] === '*') return undefined;
  let start = open;
  // Not a line break: one may end a line comment.
  while (start > 0 && (sql[start - 1] === ' ' || sql[start - 1] === '\t')) start -= 1;
  return { start, end };
}

/** The length of the text up to the white space and semicolons at its end. */
function lengthWithout(sql: string): number {
  let end = sql.length;
  while (end > 0 && ' \t\n\r\f\v;'.includes(sql[end - 1] ?? '')) end -= 1;
  return end;
}

function isOurs(comment: string): boolean {
  if (/\/\*|\*\/|--/.test(comment) || !PAIRS.test(comment)) return false;
  return [...comment.matchAll(EACH_PAIR)].some(([, key]) => key !== undefined && KEYS.has(key));
}
