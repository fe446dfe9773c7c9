/** Clients whose every answer is kept as a line of text: a raw one that sends what it is told, and a record of what `pg` receives. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type pg from 'pg';
import { readReport } from '../../proxy/postgres/wire/error.ts';
import { createFrameReader } from '../../proxy/postgres/wire/frames.ts';
import {
  decodeBackend,
  encodeFrontend,
  type BackendMessage,
  type FrontendMessage,
} from '../../proxy/postgres/wire/messages.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';

/** The lines of a session's answers, one a message. */
export class Answers {
  readonly #reader = createFrameReader({ direction: 'backend', holds: () => true, maxBytes: 64 * 1024 * 1024 });
  #lines: string[] = [];
  #readies = 0;
  #wake: (() => void) | undefined;
  isClosed = false;

  constructor(stream: Socket) {
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('close', () => {
      this.isClosed = true;
      this.#wake?.();
    });
  }

  /** The lines since the last call. */
  take(): string[] {
    const lines = this.#lines;
    this.#lines = [];
    this.#readies = 0;
    return lines;
  }

  /** The lines up to the n-th ReadyForQuery, or up to the end of the session. */
  async ready(count: number): Promise<string[]> {
    await this.#until(`${count} ReadyForQuery`, () => this.#readies >= count);
    return this.take();
  }

  /** Waits for a line that begins with `start`; takes nothing. */
  async has(start: string): Promise<void> {
    await this.#until(start, () => this.#lines.some((line) => line.startsWith(start)));
  }

  async #until(what: string, isThere: () => boolean): Promise<void> {
    const late = AbortSignal.timeout(DEADLINE_MS);
    late.addEventListener('abort', () => this.#wake?.());
    while (!isThere() && !this.isClosed) {
      if (late.aborted) throw new Error(`no ${what} within ${DEADLINE_MS} ms; there is ${this.#lines.join(' / ')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #receive(chunk: Buffer): void {
    this.#reader.push(chunk);
    while (this.#reader.next()) {
      const message = decodeBackend(this.#reader.type, this.#reader.body());
      if (message.kind === 'fault') throw new Error(`not the protocol: ${message.message}`);
      if (message.kind === 'parameter-status' || message.kind === 'backend-key-data') continue;
      this.#lines.push(lineOf(message));
      if (message.kind === 'ready-for-query') this.#readies += 1;
    }
    this.#wake?.();
  }
}

const DEADLINE_MS = 60_000;

/** Starts to keep what a connected client of `pg` receives. */
export function record(client: pg.Client): Answers {
  return new Answers((client as unknown as { connection: { stream: Socket } }).connection.stream);
}

/** A client that sends messages as it is told. */
export interface WireClient extends AsyncDisposable {
  readonly answers: Answers;
  /** Sends the messages in one write. */
  send(...messages: readonly FrontendMessage[]): void;
  /** Sends them, and answers the lines up to as many ReadyForQuery as they ask for. */
  ask(...messages: readonly FrontendMessage[]): Promise<string[]>;
}

/** Connects and logs in, without a password. */
export async function openWire(config: pg.ClientConfig): Promise<WireClient> {
  const socket = connect({ host: config.host ?? '127.0.0.1', port: config.port ?? 0, noDelay: true });
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  const answers = new Answers(socket);
  const parameters = [
    ['user', String(config.user)],
    ['database', String(config.database)],
    ['client_encoding', 'UTF8'],
    ...(config.application_name === undefined ? [] : [['application_name', config.application_name] as const]),
  ] as const;
  socket.write(
    encodeStartupPacket({
      kind: 'startup',
      protocol: 196_608,
      parameters: parameters.map(([name, value]) => [Buffer.from(name), Buffer.from(value)]),
    }),
  );
  await answers.ready(1);
  const send = (...messages: readonly FrontendMessage[]): void => {
    socket.write(Buffer.concat(messages.map(encodeFrontend)));
  };
  return {
    answers,
    send,
    ask(...messages) {
      send(...messages);
      return answers.ready(messages.filter(({ kind }) => kind === 'sync' || kind === 'query').length);
    },
    async [Symbol.asyncDispose]() {
      if (!socket.destroyed) {
        // A reset on the way is an end too.
        const closed = new Promise((resolve) => socket.once('close', resolve));
        socket.end(encodeFrontend({ kind: 'terminate' }));
        await closed;
      }
    },
  };
}

/** A parameter. */
export type Value = string | number | Buffer | null;

/** The messages of a client, by short names. */
export const say = {
  query: (text: string): FrontendMessage => ({ kind: 'query', text: Buffer.from(text) }),
  parse: (text: string, statement = '', parameterTypes: readonly number[] = []): FrontendMessage => ({
    kind: 'parse',
    statement: Buffer.from(statement),
    text: Buffer.from(text),
    parameterTypes,
  }),
  /** Buffers go as binary values, everything else as text. */
  bind: (
    values: readonly Value[] = [],
    statement = '',
    portal = '',
    resultFormats: readonly number[] = [],
  ): FrontendMessage => ({
    kind: 'bind',
    portal: Buffer.from(portal),
    statement: Buffer.from(statement),
    formats: values.map((value) => (Buffer.isBuffer(value) ? 1 : 0)),
    values: values.map((value) => (value === null || Buffer.isBuffer(value) ? value : Buffer.from(String(value)))),
    resultFormats,
  }),
  describe: (name = '', target: 'statement' | 'portal' = 'portal'): FrontendMessage => ({
    kind: 'describe',
    target,
    name: Buffer.from(name),
  }),
  execute: (maxRows = 0, portal = ''): FrontendMessage => ({ kind: 'execute', portal: Buffer.from(portal), maxRows }),
  close: (name = '', target: 'statement' | 'portal' = 'statement'): FrontendMessage => ({
    kind: 'close',
    target,
    name: Buffer.from(name),
  }),
  flush: { kind: 'flush' },
  sync: { kind: 'sync' },
  /** Parse, Bind, Describe and Execute of an unnamed statement. */
  run: (text: string, values: readonly Value[] = []): readonly FrontendMessage[] => [
    say.parse(text),
    say.bind(values),
    say.describe(),
    say.execute(),
  ],
} as const satisfies { readonly [name: string]: unknown };

/** A message as a line. What cannot be the same through a sidecar is left out: positions in a text, places in the server's source. */
function lineOf(message: BackendMessage): string {
  if (message.kind === 'row-description') {
    const fields = message.fields.map(
      ({ name, typeOid, typeSize, typeModifier, format }) =>
        `${name.toString()}:${typeOid}:${typeSize}:${typeModifier}:${format}`,
    );
    return `fields ${fields.join(' ')}`;
  }
  if (message.kind === 'data-row') {
    return `row ${JSON.stringify(message.values.map((value) => value?.toString('latin1') ?? null))}`;
  }
  if (message.kind === 'command-complete') return `done ${message.tag.toString()}`;
  if (message.kind === 'ready-for-query') return `ready ${message.status}`;
  if (message.kind === 'error' || message.kind === 'notice') {
    const { severity, code, message: text, detail, schema, table, column, constraint } = readReport(message);
    const rest = [detail, schema, table, column, constraint].filter((part) => part !== undefined);
    return [`${message.kind} ${severity} ${code} ${text}`, ...rest].join(' | ');
  }
  if (message.kind === 'parameter-description') return `parameters ${message.parameterTypes.join(' ')}`;
  if (message.kind === 'copy-data') return `copy ${message.data.toString()}`;
  if (message.kind === 'notification') {
    return `notification ${message.channel.toString()} ${message.payload.toString()}`;
  }
  return message.kind;
}
