/**
 * Which route a request takes. Routes are matched against one normal form of the path, and what matched is what is forwarded:
 * an application can never see another path than the one for which a transaction was begun. A path that no route matches,
 * however it is read, goes through as it came.
 */

/** A compiled list of routes: the first that matches, or undefined. `path` may have a query. */
export type RouteTable<Route> = (method: string, path: string) => Route | undefined;

/**
 * Compiles `METHOD /path` patterns: METHOD may be `*`; in the path `*` stands for one non-empty segment and a trailing `/**`
 * for any rest, the empty one included. A trailing slash makes another path; case matters.
 */
export function compileRoutes<Route extends { readonly match: string }>(routes: readonly Route[]): RouteTable<Route> {
  const compiled = routes.map((route) => {
    const [method = '', path = ''] = route.match.split(' ');
    return { route, method, path: pathPattern(normalPath(path)) };
  });
  return (method, path) => {
    const query = path.indexOf('?');
    const wanted = query === -1 ? path : path.slice(0, query);
    return compiled.find((one) => (one.method === '*' || one.method === method) && one.path.test(wanted))?.route;
  };
}

/** What makes a path other than its normal form: an empty or a dot segment, a percent sign, an unescaped backslash is none. */
const SUSPECT = /\/\/|\/\.|%/;

/**
 * The normal form of an origin-form target, the query left as it is: unreserved characters unescaped and the digits of other
 * escapes in capitals (RFC 3986 §6.2.2), dot segments removed (§5.2.4), and runs of slashes made one. The last goes beyond
 * the RFC: many applications do it themselves, and `//orders` must not slip past the route of `/orders`. An escaped slash
 * stays escaped.
 */
export function normalPath(target: string): string {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  if (!SUSPECT.test(path)) return target;
  const unescaped = path.replace(/%[0-9a-fA-F]{2}/g, unescapeUnreserved).replace(/\/{2,}/g, '/');
  return withoutDots(unescaped) + (query === -1 ? '' : target.slice(query));
}

/** How a request goes on: by a route, with the path that matched; without one, with its own; or not at all. */
export type Routed<Route> =
  | { readonly kind: 'route'; readonly route: Route; readonly path: string }
  | { readonly kind: 'none' }
  /** Applications that read the path in different ways would not agree on the route. */
  | { readonly kind: 'ambiguous' };

/**
 * Finds the route of `target`. The normal form is unambiguous but for `#` and `\`, which RFC 3986 does not allow in a path:
 * some applications cut at the one and take the other for a slash (https://url.spec.whatwg.org/#path-state). And where no
 * route matches, the application gets `target` itself, and may or may not make runs of slashes one before it removes dot
 * segments. Where such a reading has another route, nobody can tell whether a transaction is wanted.
 */
export function routeOf<Route>(table: RouteTable<Route>, method: string, target: string): Routed<Route> {
  const path = normalPath(target);
  const route = table(method, path);
  // What is forwarded is what the application reads: `path` once a route has it.
  const others = otherReadings(route === undefined ? target : path);
  if (others.some((reading) => table(method, reading) !== route)) return { kind: 'ambiguous' };
  return route === undefined ? { kind: 'none' } : { kind: 'route', route, path };
}

/** What an application may take the path of `target` for, where that is not clear. */
function otherReadings(target: string): readonly string[] {
  const [path = ''] = target.split('?', 1);
  const hasMarks = /[#\\]/.test(path);
  if (!hasMarks && !SUSPECT.test(path)) return [];
  const [cut = ''] = path.split('#', 1);
  const plain = hasMarks ? [path, cut, path.replaceAll('\\', '/'), cut.replaceAll('\\', '/')] : [path];
  return plain.flatMap((reading) => [normalPath(reading), resolvedFirst(reading)]);
}

/** Dot segments removed with empty segments counted, as RFC 3986 §5.2.4 has it, and only then slashes made one. */
function resolvedFirst(path: string): string {
  return normalPath(withoutDots(path.replace(/%[0-9a-fA-F]{2}/g, unescapeUnreserved)));
}

function withoutDots(path: string): string {
  const segments: string[] = [];
  const parts = path.split('/').slice(1);
  parts.forEach((part, index) => {
    const isLast = index === parts.length - 1;
    if (part === '..') segments.pop();
    if (part === '.' || part === '..') {
      if (isLast) segments.push('');
    } else {
      segments.push(part);
    }
  });
  return `/${segments.join('/')}`;
}

function unescapeUnreserved(escape: string): string {
  const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
  return /[A-Za-z0-9._~-]/.test(character) ? character : escape.toUpperCase();
}

function pathPattern(path: string): RegExp {
  const isOpen = path.endsWith('/**');
  const segments = (isOpen ? path.slice(0, -3) : path)
    .split('/')
    .map((segment) => (segment === '*' ? '[^/]+' : segment.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')));
  return new RegExp(`^${segments.join('/')}${isOpen ? '(?:/.*)?' : ''}$`, 's');
}
