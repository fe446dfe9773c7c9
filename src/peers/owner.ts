/** The name that a coordinator writes into its leases: unique to the process, and it says where the process is reached. */
import { networkInterfaces } from 'node:os';
import type { Address } from '../platform/option-types.ts';
import { newId } from '../platform/random.ts';

/** A name that nobody else has, for a coordinator that others reach at `url`; undefined: they cannot reach it. */
export function ownerAt(url: string | undefined): string {
  return `${url ?? ''}#${newId()}`;
}

/** Where the owner of that name is reached; undefined when it did not say. */
export function urlOfOwner(owner: string): string | undefined {
  const end = owner.lastIndexOf('#');
  return end <= 0 ? undefined : owner.slice(0, end);
}

/**
 * Where a coordinator that listens there is reached, as far as this machine can tell: one that listens everywhere at the machine's
 * first address towards others. Undefined when it has none, or when the system picks the port.
 */
export function urlOfListener({ host, port }: Address): string | undefined {
  const isEverywhere = host === '0.0.0.0' || host === '::';
  const reached = isEverywhere ? firstOutwardAddress() : host;
  if (reached === undefined || port === 0) return undefined;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
}

function firstOutwardAddress(): string | undefined {
  const outward = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  return (outward.find(({ family }) => family === 'IPv4') ?? outward[0])?.address;
}
