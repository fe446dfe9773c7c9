/** All ways of calling branches: the transaction's protocol and the branch's URL say which. */
import type { BranchCall, Transport } from '../runner/ports.ts';
import type { Secret } from '../platform/option-types.ts';
import type { BranchTls } from './branch-tls.ts';
import { dtmHttpCalls } from './dtm-http.ts';
import { createGrpcTransport } from './grpc.ts';
import { createHttpCaller } from './http-caller.ts';
import { nativeCalls } from './http.ts';
import { jsonRpcCalls } from './json-rpc.ts';

export interface TransportOptions {
  /** Sent as bearer token with native calls, and with no others: those go where any client says. */
  readonly token?: Secret | undefined;
  /** The origins (`http://orders:9702`, `grpc://orders:9000`) that may be called; undefined: any that is no metadata service. */
  readonly allow?: readonly string[] | undefined;
  readonly tls?: BranchTls;
}

export interface Transports extends Transport {
  /** Cuts calls in flight (they answer `unknown`) and closes the connections. */
  close(): Promise<void>;
}

/** A transport for every protocol, which holds connections until it is closed. Throws when the certificates of `tls` are none. */
export function createTransports({ token, ...options }: TransportOptions = {}): Transports {
  const caller = createHttpCaller(options);
  const grpc = createGrpcTransport(options);
  const ways: Readonly<Record<Way, Transport>> = {
    native: nativeCalls(caller, token),
    'native-grpc': grpc,
    none: { call: () => Promise.resolve({ result: 'success' }) },
    http: dtmHttpCalls(caller),
    'json-rpc': jsonRpcCalls(caller),
    grpc,
  };
  return {
    call: (request, signal) => ways[wayOf(request)].call(request, signal),
    close: async () => {
      grpc.close();
      await caller.close();
    },
  };
}

/** `none`: nothing is to be called, which succeeds. */
export type Way = 'native' | 'native-grpc' | 'none' | 'http' | 'json-rpc' | 'grpc';

/**
 * DTM's rule (dtmsvr, trans_status.go `getURLResult`): the scheme counts more than the protocol of the transaction, so that one
 * transaction can have branches of both kinds. `grpc://` and `grpcs://` are ours, and say the same of calls in the native way.
 */
export function wayOf({ protocol, url }: Pick<BranchCall, 'protocol' | 'url'>): Way {
  const namesGrpc = /^grpcs?:\/\//i.test(url);
  if (protocol === undefined) return namesGrpc ? 'native-grpc' : 'native';
  if (url === '') return 'none';
  if (namesGrpc) return 'grpc';
  if (protocol === 'json-rpc' && url.includes('method')) return 'json-rpc';
  return protocol === 'http' || /^https?:\/\//i.test(url) ? 'http' : 'grpc';
}
