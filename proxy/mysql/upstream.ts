/** Connections to a MySQL or MariaDB server. The server speaks first and asks for no TLS: what comes behind TCP is the login's affair. */
import type { Socket } from 'node:net';
import type { MysqlDatabaseOptions } from '../options.ts';
import { addressOfUrl, reachServer, type UpstreamAddress } from '../relay/upstream.ts';

/** The parts of a `mysql://host:port/database` URL, of which the database may be missing. */
export function upstreamAddress(url: string): UpstreamAddress {
  return addressOfUrl(url, { port: 3306, database: '' });
}

/** Opens a connection on which the server is about to speak. Rejects with `UpstreamFault` after 10 s at the latest. */
export function connectUpstream(options: Pick<MysqlDatabaseOptions, 'upstream'>): Promise<Socket> {
  return reachServer(upstreamAddress(options.upstream), (socket) => Promise.resolve(socket));
}
