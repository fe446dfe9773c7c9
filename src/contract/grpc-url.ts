/** Where a branch is called over gRPC: `host:port/package.Service/Method` as DTM writes it, or with a scheme in front. */
import { isMetadataAddress } from './branch-url.ts';

const URL_CHARACTERS_MAX = 2000;
const FORM = /^(?:(grpcs?):\/\/)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+):([0-9]{1,5})(\/[a-z_][\w.]*\/[a-z_]\w*)$/i;

export interface GrpcUrl {
  /** `grpc://host:port`, or `grpcs://…` for TLS. */
  readonly origin: string;
  /** `host:port`, the host in lower case, an IPv6 address in brackets. */
  readonly address: string;
  readonly isSecure: boolean;
  /** `/package.Service/Method`. */
  readonly method: string;
}

/**
 * The parts of `text`, or why it cannot be a branch's URL. Without a scheme, and with `grpc://`, the call is in plain text;
 * `grpcs://` is TLS. Link-local addresses are refused for the reason given at `branchUrlFault`.
 */
export function parseGrpcUrl(text: string): GrpcUrl | { readonly fault: string } {
  if (text.length > URL_CHARACTERS_MAX) return { fault: `expected a URL of at most ${URL_CHARACTERS_MAX} characters` };
  const [, scheme = 'grpc', host = '', port = '', method = ''] = FORM.exec(text) ?? [];
  // Browsers' rules make one form of an address of its many: 0xa9fea9fe and 2852039166 are 169.254.169.254.
  const url = URL.parse(`http://${host}:${port}`);
  if (url === null || method === '' || Number(port) === 0) {
    return { fault: 'expected host:port/package.Service/Method, or the same after grpc:// or grpcs:// (TLS)' };
  }
  const { hostname } = url;
  if (isMetadataAddress(hostname.startsWith('[') ? hostname.slice(1, -1) : hostname)) {
    return { fault: 'expected a URL that does not name a link-local (metadata) address' };
  }
  const address = `${hostname}:${Number(port)}`;
  const isSecure = scheme.toLowerCase() === 'grpcs';
  return { origin: `${isSecure ? 'grpcs' : 'grpc'}://${address}`, address, isSecure, method };
}
