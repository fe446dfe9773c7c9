/** A TCP relay that reads along how PostgreSQL's messages are framed, and cuts a connection between two of them or inside one. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { BACKEND, createFrameReader, type Direction } from '../../proxy/postgres/wire/frames.ts';
import { createStartupReader } from '../../proxy/postgres/wire/startup.ts';

/** How a connection ends: both sides hear an orderly end; a reset; or nothing at all until `cut` is called, and then a reset. */
export type Manner = 'fin' | 'rst' | 'stall';

/** Where and how to cut. Messages of the login do not count. */
export interface Plan {
  /** The `application_name` of the connections that are counted together. */
  readonly application: string;
  readonly direction: Direction;
  /** How many messages still go through whole. */
  readonly after: number;
  /** Half of the next message goes through too. */
  readonly isInside: boolean;
  readonly manner: Manner;
}

/** A plan that is being carried out. */
export interface Watch {
  /** Messages that have gone through since, by direction. */
  readonly counts: Readonly<Record<Direction, number>>;
  /** Errors that the server has sent since. */
  readonly errors: number;
  readonly isReached: boolean;
  /** Resolves when the connection is cut, or stalls. */
  readonly reached: Promise<void>;
  /** Ends what stalls, and the watch. */
  end(): void;
}

export interface CuttingRelay extends AsyncDisposable {
  readonly port: number;
  watch(plan: Plan): Watch;
}

interface Watched extends Plan {
  readonly counts: Record<Direction, number>;
  errors: number;
  isOver: boolean;
  reach(connection: Connection): void;
}

/** Starts a relay to that port of 127.0.0.1. */
export async function openCuttingRelay(target: number): Promise<CuttingRelay> {
  const connections = new Set<Connection>();
  const watches = new Map<string, Watched>();
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port: target, noDelay: true, allowHalfOpen: true });
    const connection = new Connection(near, far, watches);
    connections.add(connection);
    near.once('close', () => connections.delete(connection));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    watch(plan) {
      const reached = Promise.withResolvers<void>();
      let stalled: Connection | undefined;
      let isReached = false;
      const watched: Watched = {
        ...plan,
        counts: { frontend: 0, backend: 0 },
        errors: 0,
        isOver: false,
        reach(connection) {
          watched.isOver = true;
          isReached = true;
          if (plan.manner === 'stall') stalled = connection;
          connection.cut(plan.manner);
          reached.resolve();
        },
      };
      watches.set(plan.application, watched);
      return {
        counts: watched.counts,
        get errors() {
          return watched.errors;
        },
        get isReached() {
          return isReached;
        },
        reached: reached.promise,
        end() {
          watched.isOver = true;
          watches.delete(plan.application);
          stalled?.cut('rst');
        },
      };
    },
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection.cut('rst');
      server.close();
      await once(server, 'close');
    },
  };
}

const FRAME_BYTES_MAX = 64 * 1024 * 1024;

class Connection {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #watches: ReadonlyMap<string, Watched>;
  readonly #startup = createStartupReader();
  readonly #readers = {
    frontend: createFrameReader({ direction: 'frontend', holds: () => true, maxBytes: FRAME_BYTES_MAX }),
    backend: createFrameReader({ direction: 'backend', holds: () => true, maxBytes: FRAME_BYTES_MAX }),
  } as const;
  #application: string | undefined;
  #isLoggedIn = false;
  #isCut = false;

  constructor(near: Socket, far: Socket, watches: ReadonlyMap<string, Watched>) {
    this.#near = near;
    this.#far = far;
    this.#watches = watches;
    near.on('data', (chunk: Buffer) => this.#fromClient(chunk));
    far.on('data', (chunk: Buffer) => this.#pass('backend', chunk));
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      socket
        .on('error', () => this.cut('rst'))
        .on('end', () => other.end())
        .on('close', () => other.destroySoon());
    }
  }

  cut(manner: Manner): void {
    this.#isCut = true;
    for (const socket of [this.#near, this.#far]) {
      if (manner === 'fin') socket.end();
      else if (manner === 'rst') socket.resetAndDestroy();
      else socket.pause();
    }
  }

  #fromClient(chunk: Buffer): void {
    if (this.#isCut) return;
    if (this.#application !== undefined) return this.#pass('frontend', chunk);
    const startup = this.#startup.push(chunk);
    if (startup?.kind !== 'packet') return;
    this.#far.write(startup.bytes);
    const { packet, rest } = startup;
    if (packet.kind !== 'startup') return;
    const named = packet.parameters.findLast(([name]) => name.toString() === 'application_name');
    this.#application = named?.[1].toString() ?? '';
    if (rest.length > 0) this.#pass('frontend', rest);
  }

  /** Passes on what has come whole; the rest of a message waits for its end. */
  #pass(direction: Direction, chunk: Buffer): void {
    if (this.#isCut) return;
    const reader = this.#readers[direction];
    const to = direction === 'frontend' ? this.#far : this.#near;
    reader.push(chunk);
    to.cork();
    while (!this.#isCut && reader.next()) {
      this.#passMessage(direction, to, reader.type, reader.bytes.subarray(reader.start, reader.end));
    }
    to.uncork();
  }

  #passMessage(direction: Direction, to: Socket, type: number, message: Buffer): void {
    const watched = this.#isLoggedIn ? this.#watches.get(this.#application ?? '') : undefined;
    if (watched === undefined) to.write(message);
    else this.#passWatched(watched, direction, to, type, message);
    if (direction === 'backend' && type === BACKEND.readyForQuery) this.#isLoggedIn = true;
  }

  #passWatched(watched: Watched, direction: Direction, to: Socket, type: number, message: Buffer): void {
    const isThere = !watched.isOver && watched.direction === direction && watched.counts[direction] === watched.after;
    if (isThere && watched.isInside) {
      to.write(message.subarray(0, Math.ceil(message.length / 2)));
      flush(to);
      return watched.reach(this);
    }
    to.write(message);
    watched.counts[direction] += 1;
    if (direction === 'backend' && type === BACKEND.error) watched.errors += 1;
    if (watched.isOver || watched.isInside || watched.direction !== direction) return;
    if (watched.counts[direction] !== watched.after) return;
    flush(to);
    watched.reach(this);
  }
}

/** A reset throws away what has not gone out. */
function flush(socket: Socket): void {
  socket.uncork();
  socket.cork();
}
