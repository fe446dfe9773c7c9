/** Name resolution for gRPC channels that does not lead to a cloud's metadata service. */
import { lookup, type LookupAddress } from 'node:dns';
import { experimental, Metadata, status } from '@grpc/grpc-js';
import type { Instant } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';
import { guarded, type Lookup } from './guarded-lookup.ts';

/** Targets of this scheme (`guarded:///host:port`) are resolved here. */
export const GUARDED_SCHEME = 'guarded';

/** A channel asks anew whenever a connection fails; each answer makes it try to connect, which without a pause would never end. */
const PAUSE_MS = 1000;

type Resolver = experimental.Resolver;
type Listener = experimental.ResolverListener;

/** Makes `GUARDED_SCHEME` known to the gRPC library; as often as you like. */
export function registerGuardedResolver(): void {
  experimental.registerResolver(GUARDED_SCHEME, GuardedResolver);
}

const resolve: Lookup = guarded(lookup);

class GuardedResolver implements Resolver {
  readonly #host: string;
  readonly #port: number;
  readonly #listener: Listener;
  /** Set while it is too early to ask again. */
  #cancelPause: (() => void) | undefined;
  #isWanted = false;
  #isPending = false;
  #turn = 0;

  constructor(target: experimental.GrpcUri, listener: Listener) {
    const { host, port } = partsOf(target);
    this.#host = host;
    this.#port = port;
    this.#listener = listener;
  }

  /** What TLS certificates are checked against and servers see as `:authority`. */
  static getDefaultAuthority(target: experimental.GrpcUri): string {
    return target.path;
  }

  updateResolution(): void {
    if (this.#isPending) return;
    if (this.#cancelPause !== undefined) {
      this.#isWanted = true;
      return;
    }
    this.#isWanted = false;
    this.#cancelPause = at((now() + PAUSE_MS) as Instant, () => {
      this.#cancelPause = undefined;
      if (this.#isWanted) this.updateResolution();
    });
    this.#resolve();
  }

  destroy(): void {
    this.#cancelPause?.();
    this.#cancelPause = undefined;
    this.#isWanted = false;
    this.#isPending = false;
    this.#turn += 1;
  }

  #resolve(): void {
    this.#turn += 1;
    const turn = this.#turn;
    this.#isPending = true;
    resolve(this.#host, { all: true }, (error, addresses) => {
      // Destroyed, and perhaps asked again since.
      if (turn !== this.#turn) return;
      this.#isPending = false;
      const failure = { code: status.UNAVAILABLE, details: error?.message ?? '', metadata: new Metadata() };
      const found: experimental.StatusOr<experimental.Endpoint[]> =
        error === null
          ? experimental.statusOrFromValue(this.#endpoints(addresses as LookupAddress[]))
          : experimental.statusOrFromError(failure);
      this.#listener(found, {}, null, '');
    });
  }

  #endpoints(addresses: readonly LookupAddress[]): experimental.Endpoint[] {
    return addresses.map(({ address }) => ({ addresses: [{ host: address, port: this.#port }] }));
  }
}

function partsOf({ path }: experimental.GrpcUri): { readonly host: string; readonly port: number } {
  const colon = path.lastIndexOf(':');
  return { host: path.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(path.slice(colon + 1)) };
}
