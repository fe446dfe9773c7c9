/** A service that a workflow calls: it writes down what it was asked, and answers as a test says. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Heard {
  /** `POST /out {"n":1}` */
  readonly what: string;
  readonly headers: IncomingHttpHeaders;
}

export interface Participant extends AsyncDisposable {
  readonly url: string;
  readonly heard: Heard[];
  /** What was asked, in its order. */
  readonly calls: readonly string[];
  /** The status of the next answers, by `METHOD /path`; `silence`: none. Anything else gets 200, and of a HEAD the length 12345. */
  readonly answers: Map<string, number | 'silence'>;
}

export async function startParticipant(): Promise<Participant> {
  const heard: Heard[] = [];
  const answers = new Map<string, number | 'silence'>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const what = `${request.method} ${request.url}`;
      const body = Buffer.concat(chunks).toString();
      heard.push({ what: body === '' ? what : `${what} ${body}`, headers: request.headers });
      const status = answers.get(what) ?? 200;
      const length = request.method === 'HEAD' ? { 'content-length': '12345' } : {};
      if (status !== 'silence') response.writeHead(status, { 'x-own': 'yes', ...length }).end(`answer ${heard.length}`);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard,
    get calls() {
      return heard.map(({ what }) => what);
    },
    answers,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
