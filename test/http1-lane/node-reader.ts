/** Node's own reader of HTTP/1, as the listeners use it, without a network. */
import { createServer, type IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';

/** A request that node's reader took, whole. */
export interface NodeRequest {
  readonly method: string | undefined;
  readonly target: string | undefined;
  readonly headers: readonly string[];
  readonly body: string;
}

/** What node reads from a connection on which exactly `bytes` come: the whole requests, and whether it refused something. */
export async function readByNode(
  bytes: Buffer,
): Promise<{ readonly requests: readonly NodeRequest[]; readonly isRefused: boolean }> {
  const requests: NodeRequest[] = [];
  let isRefused = false;
  const done = Promise.withResolvers<void>();
  const server = createServer({ requireHostHeader: false, maxHeaderSize: 16_384 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      requests.push({
        method: request.method,
        target: request.url,
        headers: request.rawHeaders,
        body: Buffer.concat(chunks).toString('latin1'),
      });
      response.end();
    });
    request.on('error', () => undefined);
  });
  server.maxHeadersCount = 0;
  const leave = (_request: IncomingMessage, socket: Duplex): void => {
    isRefused = true; // for the lane, leaving HTTP is as good as refused
    socket.destroy();
  };
  server.on('upgrade', leave).on('connect', leave);
  server.on('clientError', (_error, socket) => {
    isRefused = true;
    socket.destroy();
  });
  const connection = new Duplex({
    read: () => undefined,
    write: (_chunk, _encoding, next) => next(),
    destroy: (_error, next) => {
      next(null);
      done.resolve();
    },
    final: (next) => {
      next();
      done.resolve();
    },
  });
  server.emit('connection', connection);
  connection.push(bytes);
  connection.push(null);
  await done.promise;
  // The end of a message is told a few turns after its last byte.
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  connection.destroy();
  return { requests, isRefused };
}
