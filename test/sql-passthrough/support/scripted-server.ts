/** A server that says what it is told, and keeps every byte that it gets. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createFrameReader, FRONTEND } from '../../../proxy/postgres/wire/frames.ts';
import { encodeBackend, type BackendMessage } from '../../../proxy/postgres/wire/messages.ts';
import { createStartupReader } from '../../../proxy/postgres/wire/startup.ts';

/** One accepted connection. */
export interface Accepted {
  /** Everything that came, the start-up packet first. */
  bytes(): Buffer;
  readonly closed: Promise<unknown>;
}

export interface ScriptedServer extends AsyncDisposable {
  readonly port: number;
  /** The connections since the last call, oldest first. */
  take(): readonly Accepted[];
  /** What is answered from now on to the first request of a new connection, in place of the right answer. The connection then ends. */
  say(garbage: Buffer | undefined): void;
}

const text = (value: string): Buffer => Buffer.from(value);
const encodeAll = (...messages: readonly BackendMessage[]): Buffer => Buffer.concat(messages.map(encodeBackend));

/** What it says to everybody who logs in. */
export const GREETING: Buffer = encodeAll(
  { kind: 'authentication', method: 'ok' },
  { kind: 'parameter-status', name: text('server_version'), value: text('18.0') },
  { kind: 'parameter-status', name: text('client_encoding'), value: text('UTF8') },
  { kind: 'backend-key-data', processId: 7, secret: text('abcd') },
  { kind: 'ready-for-query', status: 'I' },
);
/** Requests that a client waits for an answer behind. */
const ANSWERED: readonly number[] = [FRONTEND.query, FRONTEND.sync, FRONTEND.flush];
const READY = encodeAll({ kind: 'ready-for-query', status: 'I' });

export async function startScriptedServer(): Promise<ScriptedServer> {
  const sockets = new Set<Socket>();
  let accepted: Accepted[] = [];
  let garbage: Buffer | undefined;
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    const chunks: Buffer[] = [];
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    accepted.push({
      bytes: () => Buffer.concat(chunks),
      closed: new Promise((resolve) => socket.once('close', resolve)),
    });
    serve(socket, (chunk) => chunks.push(chunk), garbage);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    take() {
      const taken = accepted;
      accepted = [];
      return taken;
    },
    say(bytes) {
      garbage = bytes;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function serve(socket: Socket, keep: (chunk: Buffer) => void, garbage: Buffer | undefined): void {
  const startup = createStartupReader();
  const reader = createFrameReader({ direction: 'frontend', holds: () => true, maxBytes: 64 * 1024 * 1024 });
  let isStarted = false;
  const answer = (chunk: Buffer): void => {
    reader.push(chunk);
    while (reader.next()) {
      if (!ANSWERED.includes(reader.type)) continue;
      if (garbage !== undefined) {
        socket.end(garbage);
        return;
      }
      // A query is answered with its own text, so that a foreign byte would show.
      if (reader.type === FRONTEND.sync) socket.write(READY);
      if (reader.type === FRONTEND.query) socket.write(echo(Buffer.from(reader.body().subarray(0, -1))));
    }
  };
  socket.on('data', (chunk: Buffer) => {
    keep(chunk);
    if (isStarted) return answer(chunk);
    const started = startup.push(chunk);
    if (started === undefined || started.kind !== 'packet') return undefined;
    isStarted = true;
    if (started.packet.kind !== 'startup') return void socket.end();
    socket.write(GREETING);
    return answer(started.rest);
  });
  socket.once('end', () => socket.end());
}

function echo(sql: Buffer): Buffer {
  return encodeAll(
    { kind: 'data-row', values: [sql] },
    { kind: 'command-complete', tag: text('SELECT 1') },
    { kind: 'ready-for-query', status: 'I' },
  );
}
