/** Which outbound route a call takes: the first that matches. */
import { routeOf, type Routed, type RouteTable } from './paths.ts';
import { compileRoute, type Route, type RouteOptions } from './route.ts';

/** A call as routes see it. */
export interface RoutableCall {
  readonly method: string;
  /** `URL.origin` of the destination. */
  readonly origin: string;
  /** In origin-form, as it came. */
  readonly target: string;
  /** The type of its content is `application/grpc`. */
  readonly isGrpc: boolean;
}

export interface Routes {
  /** The route, with the one form of the path that it was matched against; see `routeOf`. */
  find(call: RoutableCall): Routed<Route>;
}

/** Compiles routes that are without faults. */
export function openRoutes(options: readonly RouteOptions[]): Routes {
  const routes = options.map(compileRoute);
  return {
    find({ method, origin, target, isGrpc }) {
      const candidates = routes.filter(
        ({ pattern }) =>
          pattern.origin === origin &&
          pattern.isGrpc === isGrpc &&
          (pattern.method === '*' || pattern.method === method),
      );
      if (candidates.length === 0) return { kind: 'none' };
      const table: RouteTable<Route> = (_method, path) => {
        const [wanted = ''] = path.split('?', 1);
        return candidates.find(({ pattern }) => pattern.path.test(wanted));
      };
      return routeOf(table, method, target);
    },
  };
}

/** The parameters of the path that `route` matched, unescaped. */
export function parametersOf({ pattern }: Route, path: string): ReadonlyMap<string, string> {
  const [wanted = ''] = path.split('?', 1);
  const [, ...values] = pattern.path.exec(wanted) ?? [];
  return new Map(pattern.names.map((name, index) => [name, unescaped(values[index] ?? '')]));
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not the percent-encoding of a text: taken as it is written
  }
}
