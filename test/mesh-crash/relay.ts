/** Stands between two processes and hands requests on, one at a time of each connection; a test may lose them on either way. */
import { once } from 'node:events';
import { createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request on its way: `before` it arrives, and `after` it was answered, before the asker has the answer. */
export interface Moment {
  readonly when: 'before' | 'after';
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

interface Relay extends AsyncDisposable {
  readonly url: string;
}

/** What becomes of it: `lost` cuts the connection to whoever asks. */
export type Watch = (moment: Moment) => 'pass' | 'lost' | Promise<'pass' | 'lost'>;

/** A relay to `target`, asked about every request twice. */
export async function startRelay(target: string, watch: Watch): Promise<Relay> {
  const serve = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await bytesOf(message);
    const { method = 'GET', url: path = '/', headers } = message;
    const moment = { method, path, headers, body: body.toString() };
    if ((await watch({ when: 'before', ...moment })) === 'lost') return void message.socket.destroy();
    const outgoing = send(new URL(path, target), { method, headers });
    outgoing.end(body);
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    const answered = await bytesOf(answer);
    if ((await watch({ when: 'after', ...moment })) === 'lost') return void message.socket.destroy();
    response.writeHead(answer.statusCode ?? 502, answer.rawHeaders).end(answered);
  };
  const server = createServer((message, response) => {
    message.on('error', () => undefined);
    serve(message, response).catch(() => message.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
