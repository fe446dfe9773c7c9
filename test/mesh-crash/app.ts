/**
 * The application that is killed, and the one beside which others are: between any two steps it knocks at the test's gate, which opens
 * once somebody was killed, or at once.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import pg from 'pg';

export interface AppOptions {
  readonly port: number;
  /** The database, through the sidecar. */
  readonly database: pg.ClientConfig;
  /** The outbound listener with the name of the bank, and of the service itself. */
  readonly bank: string;
  readonly self: string;
  /** `GET <gate>/<name>` before the step of that name. */
  readonly gate: string;
}

export async function startApp(options: AppOptions): Promise<void> {
  const server = createServer((request, response) => {
    serve(options, request).then(
      (status) => response.writeHead(status).end(`${status}`),
      (error: unknown) => response.writeHead(503).end(String(error)),
    );
  });
  server.listen(options.port, '127.0.0.1');
  await once(server, 'listening');
}

async function serve(options: AppOptions, request: IncomingMessage): Promise<number> {
  const mark = String(request.headers['atomesh-gid'] ?? '');
  const work = new Work(options, mark);
  switch (request.url) {
    case '/workflow':
      await work.call(`${options.bank}/one`);
      await work.sql('UPDATE account SET balance = balance + 1');
      await work.call(`${options.bank}/two`);
      break;
    case '/message':
      await work.call(`${options.bank}/notify`);
      await work.sql('UPDATE account SET balance = balance + 1');
      break;
    case '/tcc':
      await work.call(`${options.self}/hold/try`);
      break;
    case '/full':
      await work.call(`${options.self}/hold/try`);
      await work.gate('answer');
      return 409;
    case '/saga':
      await work.call(`${options.bank}/book`);
      await work.gate('answer');
      return 409;
    case '/hold/try':
      await work.sql('UPDATE account SET held = held + 1');
      break;
    case '/hold/confirm':
      await work.sql('UPDATE account SET held = held - 1, balance = balance + 1');
      break;
    case '/hold/cancel':
      await work.sql('UPDATE account SET held = held - 1');
      break;
    default:
      return 404;
  }
  await work.gate('answer');
  return 200;
}

class Work {
  readonly #options: AppOptions;
  readonly #mark: string;

  constructor(options: AppOptions, mark: string) {
    this.#options = options;
    this.#mark = mark;
  }

  async gate(step: string): Promise<void> {
    const [gid, , task = ''] = this.#mark.split('/');
    await fetch(`${this.#options.gate}/${gid}/${task.startsWith('run') ? '' : task}${step}`);
  }

  async call(url: string): Promise<void> {
    await this.gate(new URL(url).pathname.split('/').at(-1) ?? '');
    const { ok, status } = await fetch(url, { method: 'POST', headers: { 'atomesh-gid': this.#mark }, body: '{}' });
    if (!ok) throw new Error(`${url} answers ${status}`);
  }

  /** One local transaction, with a gate before each statement. */
  async sql(change: string): Promise<void> {
    const client = new pg.Client(this.#options.database);
    client.on('error', () => undefined);
    try {
      await client.connect();
      for (const statement of ['BEGIN', change, 'COMMIT']) {
        await this.gate(statement.split(' ')[0] ?? '');
        await client.query(`${statement} /*atomesh_gid='${this.#mark}'*/`);
      }
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}
