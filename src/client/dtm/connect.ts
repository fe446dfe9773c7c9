/** A client of a coordinator, Atomesh's or DTM's own. */
import type { DtmClient, DtmConnection } from './client.ts';
import { connectDtmGrpc } from './grpc.ts';
import { connectDtmHttp } from './http.ts';

/**
 * Connects to the coordinator at `url` when first asked: over HTTP, with the global `fetch`, or over gRPC when the URL begins
 * with `grpc://` or `grpcs://`. Throws `TypeError` when `url` is none.
 */
export function connectDtm(connection: DtmConnection): DtmClient {
  return /^grpcs?:/i.test(connection.url) ? connectDtmGrpc(connection) : connectDtmHttp(connection);
}
