/** What the two services share, as any team has it: JSON over HTTP, and a pool of connections. */
import { createServer, type IncomingMessage } from 'node:http';
import pg from 'pg';

export interface Reply {
  readonly status: number;
  readonly body: object;
}

/** Connections to $DATABASE_URL. */
export const pool: pg.Pool = new pg.Pool({
  connectionString: process.env['DATABASE_URL'],
  max: 5,
  connectionTimeoutMillis: 5000,
});
pool.on('error', (error) => console.error('an idle connection broke:', error.message));

const BODY_BYTES_MAX = 64 * 1024;

/** Answers `METHOD /path` with the handler of that name, on 127.0.0.1 at $PORT. */
export function serve(
  handlers: Readonly<Record<string, (body: Readonly<Record<string, unknown>>) => Promise<Reply>>>,
): void {
  const server = createServer(async (request, response) => {
    const { status, body } = await answer(request).catch((error: unknown): Reply => {
      console.error(error);
      return { status: 500, body: { error: error instanceof Error ? error.message : 'unknown' } };
    });
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  server.listen(Number(process.env['PORT']), '127.0.0.1');

  async function answer(request: IncomingMessage): Promise<Reply> {
    const handler = handlers[`${request.method} ${request.url}`];
    if (handler === undefined) return { status: 404, body: { error: 'no such page' } };
    return handler(JSON.parse(await read(request)) as Readonly<Record<string, unknown>>);
  }
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error('the request is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString() || '{}';
}
