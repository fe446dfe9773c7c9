/** Name resolution that does not lead to a cloud's metadata service: a URL rule alone would miss a name that points there. */
import type { LookupAddress, LookupOptions } from 'node:dns';
import { isMetadataAddress } from '../contract/branch-url.ts';

type Done = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void;

/** A resolver as `net.connect` takes one. */
export type Lookup = (host: string, options: LookupOptions, done: Done) => void;

/** `resolve`, except that a name of which any address is a metadata address is an error. */
export function guarded(resolve: Lookup): Lookup {
  return (host, options, done) => {
    resolve(host, options, (error, address, family) => {
      const addresses = typeof address === 'string' ? [address] : (address ?? []).map((entry) => entry.address);
      if (error === null && addresses.some(isMetadataAddress)) {
        done(new Error(`not called: ${host} leads to a link-local (metadata) address`), []);
      } else {
        done(error, address, family);
      }
    });
  };
}
