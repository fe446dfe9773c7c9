/** The table of what the coordinator answers over HTTP, and how a request finds its row. */
import type { ErrorCode } from '../contract/errors.ts';

/** A request as a handler sees it. */
export interface Call {
  /** The path segment that stands for the `{…}` of the route, still encoded; empty in routes without one. */
  readonly segment: string;
  /** What follows the question mark, or empty. */
  readonly query: string;
  /** The body of a POST; empty for every other method. */
  readonly body: string;
  /** Aborts when the client goes away or the server shuts down. Made when asked for: most handlers do not wait. */
  readonly signal: () => AbortSignal;
}

/** What goes back. */
export interface Reply {
  readonly status: number;
  readonly text: string;
  /** Default `application/json`. */
  readonly contentType?: string;
  /** Set when the answer is an error. */
  readonly code?: ErrorCode;
}

export interface Route {
  /** `ANY`: whatever the method. */
  readonly method: 'GET' | 'POST' | 'DELETE' | 'ANY';
  /** One segment may be a name in braces, which stands for any text. */
  readonly path: string;
  /** True for probes, which are answered without a token. */
  readonly isOpen?: true;
  /** Largest body; absent: what clients may send. */
  readonly bodyBytesMax?: number;
  readonly handle: (call: Call) => Promise<Reply> | Reply;
}

export type Match =
  | { readonly kind: 'found'; readonly route: Route; readonly segment: string }
  /** The path is there, for these methods. */
  | { readonly kind: 'method'; readonly allowed: readonly string[] }
  | { readonly kind: 'none' };

/** Finds the row for a method and a path (without its query). */
export type Matcher = (method: string, path: string) => Match;

/** The routes of one path. */
interface Row {
  readonly routes: Route[];
  /** The path's parts around its segment in braces; undefined for a path without one. */
  readonly around: { readonly before: string; readonly after: string } | undefined;
}

/** Prepares the table: a path without a segment in braces is found by one look into a map. */
export function matcherOf(routes: readonly Route[]): Matcher {
  const rows = new Map<string, Row>();
  for (const route of routes) {
    const row = rows.get(route.path) ?? { routes: [], around: aroundSegment(route.path) };
    row.routes.push(route);
    rows.set(route.path, row);
  }
  const open = [...rows.values()].filter(({ around }) => around !== undefined);
  return (method, path) => {
    const row = rows.get(path);
    if (row !== undefined && row.around === undefined) return choose(row, method, '');
    for (const candidate of open) {
      const segment = segmentOf(candidate, path);
      if (segment !== undefined) return choose(candidate, method, segment);
    }
    return { kind: 'none' };
  };
}

function aroundSegment(path: string): Row['around'] {
  const [, before, after] = /^(.*\/)\{\w+\}(.*)$/.exec(path) ?? [];
  return before === undefined || after === undefined ? undefined : { before, after };
}

/** What stands in `path` for the segment in braces: one segment, and not an empty one. */
function segmentOf({ around }: Row, path: string): string | undefined {
  if (around === undefined) return undefined;
  const { before, after } = around;
  if (!path.startsWith(before) || !path.endsWith(after)) return undefined;
  const segment = path.slice(before.length, path.length - after.length);
  return segment === '' || segment.includes('/') ? undefined : segment;
}

function choose({ routes }: Row, method: string, segment: string): Match {
  const route = routes.find((candidate) => candidate.method === method || candidate.method === 'ANY');
  if (route !== undefined) return { kind: 'found', route, segment };
  return { kind: 'method', allowed: routes.map((candidate) => candidate.method) };
}
