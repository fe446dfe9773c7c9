/** The headers that an initiator wants to be sent along: those that are its to choose. */

/** What belongs to one connection (RFC 9110 §7.6.1), frames the message, or names the server: the transport's own. */
const OURS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Names in lower case, with their values. Which characters are possible is for the transport to say. */
export function ownHeaders(
  headers: Readonly<Record<string, string>> | undefined,
): readonly (readonly [name: string, value: string])[] {
  if (headers === undefined) return [];
  return Object.entries(headers)
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => !OURS.has(name));
}
