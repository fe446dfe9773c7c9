/**
 * Stands in for the mail service, and for the services of languages that are not run: says yes to everything, but not to `nobody`
 * and not to `nothing`.
 */
import { createServer, type IncomingMessage } from 'node:http';

export interface StandIn extends AsyncDisposable {
  /** What it was asked for, in the order of the calls. */
  readonly calls: readonly Call[];
}

export interface Call {
  readonly path: string;
  /** What stood in the header `atomesh-gid`; an empty text when there was none. */
  readonly gid: string;
  /** What stood in the header `atomesh-op`: the coordinator calls with it, a service that simply calls does not. */
  readonly operation: string;
  readonly body: string;
}

/** Listens on 127.0.0.1 at each of `ports`. */
export async function openStandIn(ports: readonly number[]): Promise<StandIn> {
  const calls: Call[] = [];
  await using stack = new AsyncDisposableStack();
  for (const port of ports) {
    const server = createServer(async (request, response) => {
      const body = await textOf(request);
      const header = (name: string): string => String(request.headers[name] ?? '');
      calls.push({ path: request.url ?? '', gid: header('atomesh-gid'), operation: header('atomesh-op'), body });
      const isRefused = /"no(?:body|thing)"/.test(body);
      response.writeHead(isRefused ? 409 : 200, { 'content-type': 'application/json' }).end('{"detail":"as played"}');
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', reject).listen(port, '127.0.0.1', resolve);
    await promise;
    stack.defer(() => {
      server.closeAllConnections();
      server.close();
    });
  }
  const owned = stack.move();
  return { calls, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** What came of the body: a caller may go in the middle of it. */
async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  } catch {
    // Nobody is left to be answered.
  }
  return Buffer.concat(chunks).toString();
}
