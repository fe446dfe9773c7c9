/** Headers that an initiator wants its branches to be called with: one that cannot be sent would hold the transaction up for ever. */
import { HEADER_BYTES_MAX, headerFault } from '../contract/branch-headers.ts';
import type { NewTransaction } from '../contract/new-transaction.ts';
import type { Read } from './custom-data.ts';

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
    const fault = headerFault(name, value, isGrpc);
    if (fault !== undefined) return refuse(fault);
    bytes += name.length + Buffer.byteLength(value);
    if (bytes > HEADER_BYTES_MAX) return refuse(`more than ${HEADER_BYTES_MAX} bytes in all`);
    sent.push([name, isGrpc ? value : Buffer.from(value).toString('latin1')]);
  }
  return { ok: true, value: sent.length === 0 ? {} : { headers: Object.fromEntries(sent) } };
}

function refuse(fault: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message: `branch_headers: ${fault}` };
}
