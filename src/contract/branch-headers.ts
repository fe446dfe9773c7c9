/** Which headers may be sent along with the call of a branch: one that cannot be sent would hold the transaction up for ever. */

/** Names and values together. Servers take 8 to 64 KiB of headers: a call with more than that would never be answered. */
export const HEADER_BYTES_MAX = 65_536;

/** RFC 9110 §5.6.2, `token`. */
const HTTP_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
// oxlint-disable-next-line no-control-regex -- RFC 9110 §5.5: a field value has no control characters but the tab
const HTTP_VALUE = /^[^\u0000-\u0008\u000a-\u001f\u007f]*$/;
/** gRPC over HTTP/2, `Custom-Metadata`: names in small letters (sent so), values in printable ASCII but for those named `-bin`. */
const GRPC_NAME = /^[0-9A-Za-z_.-]+$/;
const GRPC_VALUE = /^[\x20-\x7e]*$/;

/** What belongs to one connection (RFC 9110 §7.6.1), frames the message, or names the server: the transport's own. In lower case. */
export const TRANSPORT_HEADERS: ReadonlySet<string> = new Set([
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

/** What says which operation of which branch is asked for, and what an operator has decided about it: the coordinator's own. In lower case. */
export const IDENTITY_HEADERS: ReadonlySet<string> = new Set([
  'atomesh-gid',
  'atomesh-branch',
  'atomesh-op',
  'atomesh-resolution',
]);

/** Why the header cannot be sent, over HTTP or over gRPC; undefined when it can. */
export function headerFault(name: string, value: string, isGrpc: boolean): string | undefined {
  const shown = JSON.stringify(name.slice(0, 60));
  if (!(isGrpc ? GRPC_NAME : HTTP_NAME).test(name)) return `${shown} is no name of a header`;
  if (isGrpc && !GRPC_VALUE.test(value) && !name.toLowerCase().endsWith('-bin')) {
    return `the value of ${shown} is not printable ASCII, which gRPC wants unless the name ends in -bin`;
  }
  return !isGrpc && !HTTP_VALUE.test(value) ? `the value of ${shown} holds control characters` : undefined;
}
