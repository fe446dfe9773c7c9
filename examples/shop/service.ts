/** What the shop's services share, as any team has it: JSON over HTTP and local transactions. Nothing of Atomesh in it. */
import { createServer, type IncomingMessage } from 'node:http';
import pg from 'pg';

export interface Call {
  /** The global transaction that the sidecar put this request into; undefined without a sidecar. */
  readonly gid: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Reply {
  readonly status: number;
  readonly body: object;
}

/** Work that cannot be done for a reason that the caller should hear. */
export class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const BODY_BYTES_MAX = 64 * 1024;

/** Answers `METHOD /path` with the handler of that name, on 127.0.0.1 at $PORT. */
export function serve(handlers: Readonly<Record<string, (call: Call) => Promise<Reply>>>): void {
  const server = createServer(async (request, response) => {
    const { status, body } = await answer(handlers[`${request.method} ${request.url}`], request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  server.listen(Number(process.env['PORT']), '127.0.0.1');
  process.once('SIGTERM', () => process.exit(0));
}

async function answer(handler: ((call: Call) => Promise<Reply>) | undefined, request: IncomingMessage): Promise<Reply> {
  try {
    if (handler === undefined) throw new Refusal(404, 'no such page');
    const gid = request.headers['atomesh-gid'];
    return await handler({ gid: typeof gid === 'string' ? gid : undefined, body: await read(request) });
  } catch (error) {
    if (error instanceof Refusal) return { status: error.status, body: { error: error.message } };
    console.error(error);
    return { status: 500, body: { error: error instanceof Error ? error.message : 'unknown' } };
  }
}

async function read(request: IncomingMessage): Promise<Call['body']> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Refusal(413, 'the request is too large');
    chunks.push(chunk);
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString() || '{}');
    if (typeof body === 'object' && body !== null) return body as Call['body'];
  } catch {
    // Falls through to the refusal.
  }
  throw new Refusal(400, 'expected a JSON object');
}

/** A text field of a request. */
export function text(body: Call['body'], name: string): string {
  const value = body[name];
  if (typeof value === 'string' && value !== '' && value.length <= 100) return value;
  throw new Refusal(400, `expected a text as "${name}"`);
}

/** A field of a request that counts things: a whole number above zero. */
export function count(body: Call['body'], name: string): number {
  const value = body[name];
  if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 1_000_000) return value;
  throw new Refusal(400, `expected a whole number above zero as "${name}"`);
}

/** Connections to $DATABASE_URL. */
export function connect(): pg.Pool {
  const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 5, connectionTimeoutMillis: 5000 });
  // A connection that breaks while nobody uses it is replaced at the next query.
  pool.on('error', (error) => console.error('an idle connection broke:', error.message));
  return pool;
}

/** Runs `work` in one local transaction, which belongs to the global transaction `gid` if there is one. */
export async function inTransaction<T>(
  pool: pg.Pool,
  gid: string | undefined,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // Without a listener, a connection that breaks between two statements would end the process.
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('begin');
    if (gid !== undefined) await client.query("select set_config('atomesh.gid', $1, true)", [gid]);
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((failure: Error) => {
      broken = failure;
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}
