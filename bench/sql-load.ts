/** A PostgreSQL client that does as little as possible, in a process of its own: prepared statements, one at a time. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { closedLoop } from './measure.ts';
import { encodeBind } from '../proxy/postgres/wire/bind.ts';
import { SYNC } from '../proxy/postgres/wire/bodiless.ts';
import { encodeExecute } from '../proxy/postgres/wire/execute.ts';
import { encodeParse } from '../proxy/postgres/wire/parse.ts';
import { encodeQuery } from '../proxy/postgres/wire/query.ts';
import { encodeStartupPacket } from '../proxy/postgres/wire/startup.ts';

/** What is run: by how many clients, for how long, and which statements make one unit of work. */
export interface SqlLoad {
  readonly port: number;
  readonly database: string;
  readonly clients: number;
  readonly seconds: number;
  /** Instead of `seconds`: this many units of work in all. */
  readonly count?: number;
  /** A simple query that each client runs once, at its start: the client's own, by its number. */
  readonly prepare: readonly string[];
  /** Prepared statements of one unit of work, a round trip each. `$1` is a row: each client has rows of its own. */
  readonly work: readonly { readonly text: string; readonly hasParameter: boolean }[];
}

export interface SqlLoadAnswer {
  /** Units of work per second. */
  readonly perSecond: number;
  /** Median time of one unit, in milliseconds. */
  readonly medianMs: number;
}

const EMPTY = Buffer.alloc(0);

class LoadClient {
  readonly #socket: Socket;
  #tail = EMPTY;
  #resolve: (() => void) | undefined;
  #reject: ((error: Error) => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('close', () => this.#reject?.(new Error('the server closed the connection')));
  }

  static async open(port: number, database: string): Promise<LoadClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const client = new LoadClient(socket);
    const parameters = [
      ['user', 'postgres'],
      ['database', database],
    ].map(([name, value]) => [Buffer.from(name ?? ''), Buffer.from(value ?? '')] as const);
    await client.send(encodeStartupPacket({ kind: 'startup', protocol: 196_608, parameters }));
    return client;
  }

  /** Sends messages that end with one ReadyForQuery, and waits for it. An error rejects. */
  send(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#socket.write(bytes);
    });
  }

  end(): void {
    this.#reject = undefined;
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#tail.length === 0 ? chunk : Buffer.concat([this.#tail, chunk]);
    const at = bytes.length - 6;
    // ReadyForQuery is always the last message of an answer: Z, length 5, the status.
    if (at < 0 || bytes[at] !== 0x5a || bytes.readInt32BE(at + 1) !== 5) {
      this.#tail = Buffer.from(bytes.subarray(-64));
      return;
    }
    this.#tail = EMPTY;
    if (bytes[0] === 0x45) this.#reject?.(new Error(bytes.toString('latin1')));
    else this.#resolve?.();
  }
}

/** Rows that a client goes through, so that it does not meet its own row again at once. */
const ROWS_EACH = 500;

function unitOf(load: SqlLoad, step: number, row: number): Buffer {
  const values = load.work[step]?.hasParameter === true ? [Buffer.from(String(row))] : [];
  const statement = Buffer.from(`work${step}`);
  const bind = encodeBind({ kind: 'bind', portal: EMPTY, statement, formats: [], values, resultFormats: [] });
  return Buffer.concat([bind, encodeExecute({ kind: 'execute', portal: EMPTY, maxRows: 0 }), SYNC]);
}

async function run(load: SqlLoad): Promise<SqlLoadAnswer> {
  const clients = await Promise.all(
    Array.from({ length: load.clients }, () => LoadClient.open(load.port, load.database)),
  );
  for (const [index, client] of clients.entries()) {
    const first = load.prepare[index];
    if (first !== undefined) await client.send(encodeQuery({ kind: 'query', text: Buffer.from(first) }));
    for (const [step, { text }] of load.work.entries()) {
      const parse = encodeParse({
        kind: 'parse',
        statement: Buffer.from(`work${step}`),
        text: Buffer.from(text),
        parameterTypes: [],
      });
      await client.send(Buffer.concat([parse, SYNC]));
    }
  }
  const units = clients.map((_, index) =>
    Array.from({ length: ROWS_EACH }, (_row, row) =>
      load.work.map((_step, step) => unitOf(load, step, index + row * load.clients + 1)),
    ),
  );
  const next = clients.map(() => 0);
  const times: number[] = [];
  const { count, seconds } = await closedLoop(
    load.clients,
    load.count === undefined ? { seconds: load.seconds } : { count: load.count },
    async (place) => {
      const start = performance.now();
      const row = next[place] ?? 0;
      next[place] = (row + 1) % ROWS_EACH;
      for (const bytes of units[place]?.[row] ?? []) await clients[place]?.send(bytes);
      times.push(performance.now() - start);
    },
  );
  for (const client of clients) client.end();
  times.sort((a, b) => a - b);
  return { perSecond: count / seconds, medianMs: times[Math.floor(times.length / 2)] ?? Number.NaN };
}

if (process.send !== undefined && import.meta.main) {
  process.on('message', (question: string) => {
    run(JSON.parse(question) as SqlLoad).then(
      (answer) => process.send?.(answer),
      (error: unknown) => process.send?.({ error: String(error) }),
    );
  });
  process.send({ port: 0 });
}
