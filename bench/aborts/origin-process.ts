/**
 * Servers that end no answer but those to `/whole`, over HTTP/1 and HTTP/2: `/silent` gets nothing, `/body` a head and the beginning of
 * a body, and an upload is read and gets nothing. Asked `ports`, the process says where they listen; asked anything else, how many
 * requests each has seen that it leaves unanswered, how many of them are open, and how many connections.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import type { Writable } from 'node:stream';

/** What a server has seen, and what is open at it. */
export interface OriginState {
  readonly seen: number;
  readonly open: number;
  readonly connections: number;
}

class Counted {
  readonly server: Server;
  private seen = 0;
  private open = 0;
  private connections = 0;

  constructor(server: Server) {
    this.server = server;
    server.on('connection', (socket) => {
      this.connections += 1;
      socket.once('close', () => (this.connections -= 1));
    });
  }

  state(): OriginState {
    const { seen, open, connections } = this;
    return { seen, open, connections };
  }

  serve(path: string | undefined, response: Writable): void {
    response.on('error', () => undefined);
    if (path === '/whole') return void response.end('whole');
    this.seen += 1;
    this.open += 1;
    response.once('close', () => (this.open -= 1));
    if (path === '/body') response.write('the beginning of a body');
  }
}

const http1: Counted = new Counted(
  createServer((request, response) => {
    request.resume();
    http1.serve(request.url, response);
  }),
);
const http2: Counted = new Counted(createHttp2Server());
http2.server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
  stream.resume();
  if (headers[':path'] === '/body' || headers[':path'] === '/whole') stream.respond();
  http2.serve(String(headers[':path']), stream);
});
for (const { server } of [http1, http2]) {
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 });
  await once(server, 'listening');
}
const ports = [http1, http2].map(({ server }) => (server.address() as AddressInfo).port);
process.send?.({ port: ports[0] });
process.on('message', (question) =>
  process.send?.(question === 'ports' ? ports : question === 'http1' ? http1.state() : http2.state()),
);
process.on('disconnect', () => process.exit(0));
