/**
 * Channel binding, and why it cannot cross the sidecar: a client proves which certificate it was shown, and behind two TLS connections that
 * is not the server's. So the offer is taken out (`withoutChannelBinding`); who notices that is told what to do. Only where the listener
 * shows the very certificate of the server it passes, and both ends are bound to each other through the sidecar.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { decodeReport, encodeReport, readReport } from '../wire/error.ts';
import { endPointHash } from './end-point.ts';

const HINT =
  'TLS ends at the sidecar, on both sides of it. Set channel_binding=disable in the client, or databases[].auth.mode: managed in the sidecar.';
const LETTER_HINT = 'H'.charCodeAt(0);

/** True when a client would prove another certificate than the server has shown, or none: the offer must not reach it. */
export function isBindingCut(client: Socket, upstream: Socket): boolean {
  if (!(upstream instanceof TLSSocket)) return false;
  if (!(client instanceof TLSSocket)) return true;
  const shown = endPointHash(client.getX509Certificate());
  const own = endPointHash(upstream.getPeerX509Certificate());
  return shown === undefined || own === undefined || !shown.equals(own);
}

/**
 * The error of a login with our hint, when a client with TLS has told the server that it missed the offer; undefined for any other.
 * PG source: auth-scram.c. libpq tells so by default (`channel_binding=prefer`).
 */
export function explainChannelBinding(body: Buffer): Buffer | undefined {
  const report = decodeReport('error', body);
  if (report.kind === 'fault') return undefined;
  const { code, message = '' } = readReport(report);
  if (code !== '28000' || !/channel binding/.test(message)) return undefined;
  return encodeReport({ ...report, fields: [...report.fields, { letter: LETTER_HINT, value: Buffer.from(HINT) }] });
}
