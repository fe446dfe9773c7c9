/** Headers that an initiator wants its branches to be called with: one that cannot be sent would hold the transaction up for ever. */
import type { NewTransaction } from '../contract/new-transaction.ts';
import type { Read } from './custom-data.ts';

/** Names and values together. Servers take 8 to 64 KiB of headers: a call with more than that would never be answered. */
const BYTES_MAX = 65_536;
/** RFC 9110 §5.6.2, `token`. */
const HTTP_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
// oxlint-disable-next-line no-control-regex -- RFC 9110 §5.5: a field value has no control characters but the tab
const HTTP_VALUE = /^[^\u0000-\u0008\u000a-\u001f\u007f]*$/;
/** gRPC over HTTP/2, `Custom-Metadata`: names in small letters (sent so), values in printable ASCII but for those named `-bin`. */
const GRPC_NAME = /^[0-9A-Za-z_.-]+$/;
const GRPC_VALUE = /^[\x20-\x7e]*$/;

/**
 * The headers as they are sent, one character a byte: what is not ASCII goes out as UTF-8, as Go's clients and servers have it. With
 * `isGrpc` (some branch is called over gRPC) only what gRPC can carry is taken. Answers why they cannot be sent.
 */
export function readHeaders(
  headers: Readonly<Record<string, string>>,
  isGrpc: boolean,
): Read<Pick<NewTransaction, 'headers'>> {
  const sent: [string, string][] = [];
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    const shown = JSON.stringify(name.slice(0, 60));
    if (!(isGrpc ? GRPC_NAME : HTTP_NAME).test(name)) return refuse(`${shown} is no name of a header`);
    if (isGrpc && !GRPC_VALUE.test(value) && !name.toLowerCase().endsWith('-bin')) {
      return refuse(`the value of ${shown} is not printable ASCII, which gRPC wants unless the name ends in -bin`);
    }
    if (!isGrpc && !HTTP_VALUE.test(value)) return refuse(`the value of ${shown} holds control characters`);
    bytes += name.length + Buffer.byteLength(value);
    if (bytes > BYTES_MAX) return refuse(`more than ${BYTES_MAX} bytes in all`);
    sent.push([name, isGrpc ? value : Buffer.from(value).toString('latin1')]);
  }
  return { ok: true, value: sent.length === 0 ? {} : { headers: Object.fromEntries(sent) } };
}

function refuse(fault: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message: `branch_headers: ${fault}` };
}
