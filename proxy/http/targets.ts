/**
 * Where the outbound listener may connect to: anywhere that the application could by itself, except to the listener (a loop)
 * and to the addresses where clouds hand out the machine's credentials. Literal addresses are judged at once, names when they
 * are resolved: the addresses that were judged are the ones that are connected to.
 */
import { lookup as dnsLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isMetadataAddress } from '../../src/contract/branch-url.ts';
import { CodedError } from '../../src/contract/errors.ts';

export interface TargetGuard {
  /** Why `host` (a name, or an address without brackets) is refused at `port`; undefined when it is not, or not yet. */
  fault(host: string, port: number): CodedError | undefined;
  /** True when `authority` is the listener's own address: it says nothing about where a request is to go. */
  isOwn(authority: string): boolean;
  /** Resolves names for connections to `port`, and fails with a `CodedError` when a name means a refused address. */
  lookupFor(port: number): LookupFunction;
}

/** `ownPort`: the port of the listener, known once it listens. */
export function openTargetGuard(ownPort: () => number): TargetGuard {
  const faultOf = (address: string, port: number): CodedError | undefined => {
    if (isMetadataAddress(address)) return refused(address, 'is a link-local (metadata) address');
    if (port === ownPort() && isThisMachine(address)) return refused(address, 'is the outbound listener itself');
    return undefined;
  };
  return {
    fault: (host, port) => (isIP(host) === 0 ? undefined : faultOf(host, port)),
    isOwn(authority) {
      const url = parseAuthority('http', authority);
      if (url === undefined || portOf(url) !== ownPort()) return false;
      return url.hostname === 'localhost' || (isIP(bareHost(url)) !== 0 && isThisMachine(bareHost(url)));
    },
    lookupFor: (port) => (host, options, callback) => {
      dnsLookup(host, { ...options, all: true }, (error, addresses) => {
        if (error !== null) return callback(error, '', 0);
        for (const { address } of addresses) {
          const fault = faultOf(address, port);
          if (fault !== undefined) return callback(fault, '', 0);
        }
        const [first] = addresses;
        if (options.all === true) callback(null, addresses);
        else callback(null, first?.address ?? '', first?.family ?? 0);
      });
    },
  };
}

/** An authority, `host` or `host:port` with IPv6 in brackets, in the form that `URL` gives it; undefined when it is none. */
export function parseAuthority(scheme: string, authority: string): URL | undefined {
  if (/[/?#@\s\\]/.test(authority)) return undefined;
  const url = URL.parse(`${scheme}://${authority}`);
  return url === null || url.hostname === '' ? undefined : url;
}

/** The host of a URL without the brackets of an IPv6 address. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** The port of a URL, the scheme's own when it names none. */
export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

function isThisMachine(address: string): boolean {
  const here = new BlockList();
  here.addSubnet('127.0.0.0', 8, 'ipv4');
  here.addAddress('0.0.0.0', 'ipv4');
  here.addAddress('::1', 'ipv6');
  here.addAddress('::', 'ipv6');
  for (const entries of Object.values(networkInterfaces())) {
    for (const entry of entries ?? []) here.addAddress(entry.address, entry.family === 'IPv6' ? 'ipv6' : 'ipv4');
  }
  return here.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function refused(address: string, why: string): CodedError {
  return new CodedError('BAD_REQUEST', `The target ${address} is refused: it ${why}`, {
    hint: 'Name the service that is meant; the sidecar does not connect there',
  });
}
