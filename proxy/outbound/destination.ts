/** Where a call of the application goes. */
import { CodedError } from '../../src/contract/errors.ts';
import type { RequestHead } from '../http/admission.ts';
import { normalPath } from '../routes/paths.ts';
import type { SidecarOptions } from '../options.ts';
import { parseAuthority } from '../http/targets.ts';

export interface Destination {
  /** Scheme, host and port; its path says nothing. */
  readonly url: URL;
  /** With the query. */
  readonly path: string;
}

/** Finds the destination of a call, or says why it has none. */
export type Destinations = (head: RequestHead) => Destination | CodedError;

/**
 * A call names its destination in one of three ways: an absolute target, as proxies get it; the authority of the tunnel or connection
 * that it came through; or the name of an upstream as first segment of its path.
 */
export function openDestinations(upstreams: NonNullable<SidecarOptions['outbound']>['upstreams']): Destinations {
  const named = new Map(Object.entries(upstreams).map(([name, { url }]) => [name, new URL(url)]));
  return ({ target, authority }) => {
    if (target.startsWith('/')) {
      if (authority === undefined) return upstreamOf(named, normalPath(target));
      // A gRPC client has no base URL, but an authority that it can be told to use.
      if (named.has(authority)) return upstreamOf(named, `/${authority}${normalPath(target)}`);
      const url = parseAuthority('http', authority);
      return url === undefined ? badTarget() : { url, path: target };
    }
    const [, scheme = '', host = '', rest = ''] = /^(https?):\/\/([^/?#]+)([^#]*)$/i.exec(target) ?? [];
    const url = parseAuthority(scheme.toLowerCase(), host);
    if (url === undefined) return badTarget();
    return { url, path: rest.startsWith('/') ? rest : `/${rest}` };
  };
}

function upstreamOf(named: ReadonlyMap<string, URL>, path: string): Destination | CodedError {
  const [, name = '', rest = ''] = /^\/([^/?]*)(.*)$/s.exec(path) ?? [];
  const url = named.get(name);
  if (url === undefined) return unknownUpstream(name, [...named.keys()]);
  const base = url.pathname.replace(/\/$/, '');
  return { url, path: `${base}${rest.startsWith('/') ? rest : `/${rest}`}` };
}

function badTarget(): CodedError {
  return new CodedError('BAD_REQUEST', 'The target of the request is not a URL that can be forwarded', {
    hint: 'Send http://host/path (as to a proxy), CONNECT host:port, or /<upstream name>/path',
  });
}

function unknownUpstream(name: string, known: readonly string[]): CodedError {
  const names = known.length === 0 ? 'none are configured' : `known are: ${known.join(', ')}`;
  return new CodedError('ROUTE_UNKNOWN', `There is no upstream named "${name.slice(0, 100)}"`, {
    hint: `Name one under outbound.upstreams (${names}), or use the listener as an HTTP proxy`,
  });
}
