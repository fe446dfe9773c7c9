/** The table of what the coordinator answers over HTTP, and how a request finds its row. */
import type { ErrorCode } from '../contract/errors.ts';

/** A request as a handler sees it. */
export interface Call {
  /** The path segment that stands for `{gid}`, still encoded; empty in routes without one. */
  readonly gid: string;
  /** What follows the question mark, or empty. */
  readonly query: string;
  /** The body of a POST; empty for a GET. */
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
  readonly method: 'GET' | 'POST';
  /** `{gid}` stands for one segment. */
  readonly path: string;
  /** True for probes, which are answered without a token. */
  readonly isOpen?: true;
  readonly handle: (call: Call) => Promise<Reply> | Reply;
}

export type Match =
  | { readonly kind: 'found'; readonly route: Route; readonly gid: string }
  /** The path is there, for these methods. */
  | { readonly kind: 'method'; readonly allowed: readonly string[] }
  | { readonly kind: 'none' };

/** Finds the row for a method and a path (without its query). */
export type Matcher = (method: string, path: string) => Match;

/** Prepares the table, so that matching is a comparison of segments. */
export function matcherOf(routes: readonly Route[]): Matcher {
  const rows = routes.map((route) => ({ route, segments: route.path.split('/') }));
  return (method, path) => {
    const segments = path.split('/');
    const allowed: string[] = [];
    for (const { route, segments: pattern } of rows) {
      if (!fits(pattern, segments)) continue;
      if (route.method === method) return { kind: 'found', route, gid: segments[pattern.indexOf('{gid}')] ?? '' };
      allowed.push(route.method);
    }
    return allowed.length === 0 ? { kind: 'none' } : { kind: 'method', allowed };
  };
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  return (
    pattern.length === segments.length &&
    pattern.every((part, index) => part === segments[index] || (part === '{gid}' && segments[index] !== ''))
  );
}
