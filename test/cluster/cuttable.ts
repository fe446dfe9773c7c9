/** A TCP proxy in front of a database, whose connections a test cuts or leaves hanging. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Cuttable extends AsyncDisposable {
  readonly port: number;
  /** Resets every connection, and each new one, until `mend`. */
  cut(): void;
  /** Lets nothing through any more, in neither direction, and says so to nobody: a network that swallows packets. */
  hang(): void;
  /** Everything arrives so many milliseconds late, in both directions, until `mend`. */
  slow(ms: number): void;
  /** New connections go through again; those that were there are reset. */
  mend(): void;
  /**
   * Resets the first connection on which the server says `tag` (as `INSERT 0 1`) and that its transaction is over, and keeps that
   * answer back: what was written counts, and whoever wrote it does not know. Resolves when it has happened.
   */
  loseAnswer(tag: string): Promise<void>;
}

/** Message ReadyForQuery outside of a transaction (https://www.postgresql.org/docs/current/protocol-message-formats.html). */
const IDLE = Buffer.from('Z\0\0\0\u0005I', 'latin1');

/** Starts a proxy to that port of 127.0.0.1. */
export async function startCuttable(target: number): Promise<Cuttable> {
  const sockets = new Set<Socket>();
  let state: 'open' | 'cut' | 'hung' = 'open';
  let lateMs = 0;
  let trap: { readonly tag: string; readonly sprung: () => void } | undefined;
  const own = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  // Timers of one length end in the order in which they began, and those of another length belong to connections that are no more.
  const pass = (to: Socket, bytes: Buffer): void => {
    if (lateMs === 0) to.write(bytes);
    else setTimeout(() => to.write(bytes), lateMs);
  };
  const server = createServer((client) => {
    own(client);
    if (state === 'cut') {
      client.resetAndDestroy();
      return;
    }
    const upstream = own(connect(target, '127.0.0.1'));
    client.on('data', (bytes: Buffer) => {
      if (state === 'open') pass(upstream, bytes);
    });
    upstream.on('data', (bytes: Buffer) => {
      if (trap !== undefined && bytes.includes(`${trap.tag}\0`) && bytes.includes(IDLE)) {
        const { sprung } = trap;
        trap = undefined;
        client.resetAndDestroy();
        sprung();
      } else if (state === 'open') {
        pass(client, bytes);
      }
    });
    client.once('close', () => upstream.destroy());
    upstream.once('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const resetAll = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => {
      state = 'cut';
      resetAll();
    },
    hang: () => {
      state = 'hung';
    },
    slow: (ms) => {
      lateMs = ms;
    },
    mend: () => {
      state = 'open';
      lateMs = 0;
      resetAll();
    },
    loseAnswer: (tag) => new Promise((resolve) => (trap = { tag, sprung: resolve })),
    [Symbol.asyncDispose]: async () => {
      resetAll();
      server.close();
      await once(server, 'close');
    },
  };
}
