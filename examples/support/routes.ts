/** An HTTP service of an example: a handler for each path, on 127.0.0.1 at $PORT. */
import { createServer } from 'node:http';
import { type BranchReply, type BranchRequest, branchListener } from '../../src/client/index.ts';

export type Handler = (request: BranchRequest) => Promise<BranchReply>;

/** Serves until SIGTERM. A path without a handler is answered with 404. */
export function serveRoutes(routes: Readonly<Record<string, Handler>>): void {
  const listener = branchListener(async (request) => {
    // The listener hands on the request's own URL.
    const [path = ''] = typeof request.query === 'string' ? request.query.split('?', 1) : [];
    const handler = routes[path];
    if (handler === undefined) return reply(404, { error: 'no such page' });
    try {
      return await handler(request);
    } catch (error) {
      console.error(error);
      return reply(500, { error: error instanceof Error ? error.message : 'unknown' });
    }
  });
  const server = createServer((request, response) => void listener(request, response));
  server.listen(Number(process.env['PORT']), '127.0.0.1');
  process.once('SIGTERM', () => process.exit(0));
}

/** An answer to somebody who is no coordinator. */
export function reply(status: number, body: object): BranchReply {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

/** A text field of a request's JSON body; undefined when there is none. */
export function textOf({ body }: BranchRequest, name: string): string | undefined {
  const fields: unknown = body instanceof Uint8Array ? parsed(Buffer.from(body).toString()) : body;
  if (typeof fields !== 'object' || fields === null) return undefined;
  const value = (fields as Readonly<Record<string, unknown>>)[name];
  return typeof value === 'string' ? value : undefined;
}

/** What the environment says under `name`. Throws `Error` when it says nothing. */
export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`the environment has no ${name}`);
  return value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
