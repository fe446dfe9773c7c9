/** The headers that an initiator wants to be sent along: those that are its to choose. */
import { TRANSPORT_HEADERS } from '../contract/branch-headers.ts';

/** Names in lower case, with their values. Which characters are possible is for the transport to say. */
export function ownHeaders(
  headers: Readonly<Record<string, string>> | undefined,
): readonly (readonly [name: string, value: string])[] {
  if (headers === undefined) return [];
  return Object.entries(headers)
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => !TRANSPORT_HEADERS.has(name));
}
