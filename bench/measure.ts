/** What the parts of the benchmark share: results, medians, sides that take turns, load, processes. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** One measured number. */
export interface Result {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What it is compared with, measured in the same run, in the same unit. */
  readonly baseline?: number;
  /** `value / baseline`. */
  readonly ratio?: number;
  /** The least ratio, or the most of `value` when there is no baseline, that passes. */
  readonly target?: number;
  /** True when there is no target. */
  readonly pass: boolean;
}

/** A part of the benchmark: `npm run bench -- --only <name>`. */
export interface Part {
  readonly name: string;
  readonly run: (wishes: Wishes) => Promise<readonly Result[]>;
}

/** What the command line asks for, where it does. */
export interface Wishes {
  /** Transactions that are unfinished at a restart: `--transactions 10000`. */
  readonly transactions?: number;
}

/** The middle of the numbers; of an even count the upper one. */
export function medianOf(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** The number below which `fraction` of the numbers lie: 0.99 for p99. */
export function percentileOf(numbers: readonly number[], fraction: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}

/** Measures each side `rounds` times, turn about, so that what else the machine does falls on all; answers their medians. */
export async function alternate<Name extends string>(
  rounds: number,
  sides: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Readonly<Record<Name, number>>> {
  const names = Object.keys(sides) as Name[];
  const measured = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) measured.get(name)?.push(await sides[name]());
  }
  return Object.fromEntries(names.map((name) => [name, medianOf(measured.get(name) ?? [])])) as Record<Name, number>;
}

/**
 * Runs `once` over and over in `inFlight` places at a time, for `seconds` or until `count` runs have begun. Answers how many ended and how long
 * it took, in seconds.
 */
export async function closedLoop(
  inFlight: number,
  until: { readonly seconds: number } | { readonly count: number },
  once: (place: number) => Promise<void>,
): Promise<{ readonly count: number; readonly seconds: number }> {
  const start = performance.now();
  const end = 'seconds' in until ? start + until.seconds * 1000 : Infinity;
  const most = 'count' in until ? until.count : Infinity;
  let count = 0;
  const place = async (index: number): Promise<void> => {
    while (count < most && performance.now() < end) {
      count += 1;
      await once(index);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, index) => place(index)));
  return { count, seconds: (performance.now() - start) / 1000 };
}

/** A process of the benchmark. It has said `{ port }` before it is given out. */
export interface Child extends AsyncDisposable {
  readonly port: number;
  /** Sends a question and waits for the answer. */
  ask(question: string): Promise<unknown>;
}

/** Starts a module of this folder as a process of its own. */
export async function startChild(module: string, ...args: readonly string[]): Promise<Child> {
  const child = fork(new URL(module, import.meta.url), args, { execArgv: ['--expose-gc'] });
  const [ready] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`${module} ended with ${String(code)}`))),
  ])) as [{ port: number }];
  return {
    port: ready.port,
    ask: async (question) => {
      child.send(question);
      const [answer] = (await once(child, 'message')) as [unknown];
      return answer;
    },
    [Symbol.asyncDispose]: async () => {
      const exit = once(child, 'exit');
      child.disconnect();
      await exit;
    },
  };
}

/** Starts a sidecar as a process of its own; `options` as in the YAML. Its port is that of its only listener. */
export function startSidecarChild(options: Readonly<Record<string, unknown>>): Promise<Child> {
  return startChild('./sidecar-process.ts', JSON.stringify({ service: 'bench', ...options }));
}

/** Nobody is there: for what names no global transaction, so that the coordinator is not asked. */
export const NO_COORDINATOR = { url: 'http://127.0.0.1:9' };

/** A sidecar in front of the database `postgres` of the server on that port, as a process of its own; `options` of the database. */
export function startDatabaseSidecar(
  postgresPort: number,
  coordinator: { readonly url: string },
  options: Readonly<Record<string, unknown>> = {},
): Promise<Child> {
  const upstream = `postgres://127.0.0.1:${postgresPort}/postgres`;
  const database = { name: 'bench', listen: '127.0.0.1:0', upstream, credentials: { user: 'postgres' }, ...options };
  return startSidecarChild({ coordinator, databases: [database] });
}

/** Asks a process that generates load. @throws Error with what it says has gone wrong. */
export async function askLoad<Answer extends object>(load: Child, question: object): Promise<Answer> {
  const answer = (await load.ask(JSON.stringify(question))) as Answer | { readonly error: string };
  if ('error' in answer) throw new Error(answer.error);
  return answer;
}

/** Processor time that `children` spend together while `work` runs, in seconds. They answer the question `cpu` with microseconds. */
export async function cpuSecondsOf(children: readonly Child[], work: () => Promise<void>): Promise<number> {
  const spent = async (): Promise<number> => {
    const each = await Promise.all(children.map((child) => child.ask('cpu')));
    return each.reduce<number>((sum, microseconds) => sum + Number(microseconds), 0) / 1e6;
  };
  const before = await spent();
  await work();
  return (await spent()) - before;
}

export interface LoadAnswer {
  readonly status: number;
  readonly body: string;
}

/** An HTTP/1.1 connection that does as little as possible, so that the load costs less than what it measures. */
export class LoadConnection {
  readonly #socket: Socket;
  #received = '';
  #resolve: ((answer: LoadAnswer) => void) | undefined;
  #reject: ((error: Error) => void) | undefined;
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#receive(chunk.toString('latin1')));
    socket.on('error', (error) => this.#reject?.(error));
    socket.on('close', () => {
      this.#isClosed = true;
      this.#reject?.(new Error('the server closed the connection'));
    });
  }

  static async open(port: number): Promise<LoadConnection> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new LoadConnection(socket);
  }

  /** Sends a whole request, as it goes over the wire, and gives its answer once that has come in full. */
  send(request: string): Promise<LoadAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new Error('the server has closed the connection'));
      this.#resolve = resolve;
      this.#reject = reject;
      this.#socket.write(request, 'latin1');
    });
  }

  close(): void {
    this.#reject = undefined;
    this.#socket.destroy();
  }

  #receive(text: string): void {
    this.#received = this.#received === '' ? text : this.#received + text;
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const length = /content-length: ([0-9]+)/i.exec(this.#received)?.[1];
    if (this.#received.length < headEnd + 4 + Number(length ?? 0)) return;
    const answer = { status: Number(this.#received.slice(9, 12)), body: this.#received.slice(headEnd + 4) };
    this.#received = '';
    this.#resolve?.(answer);
  }
}

/** A load as `closedLoop` makes it, over connections of its own, a place each. */
export async function loadServer(
  port: number,
  inFlight: number,
  until: { readonly seconds: number } | { readonly count: number },
  once: (connection: LoadConnection) => Promise<void>,
): ReturnType<typeof closedLoop> {
  const connections = await Promise.all(Array.from({ length: inFlight }, () => LoadConnection.open(port)));
  try {
    return await closedLoop(inFlight, until, (place) => {
      const connection = connections[place];
      if (connection === undefined) throw new Error(`there is no connection ${place}`);
      return once(connection);
    });
  } finally {
    for (const connection of connections) connection.close();
  }
}

/** A GET request as text. */
export function getText(path: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: bench\r\n\r\n`;
}

/** A POST request with a JSON body as text. */
export function postText(path: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}
