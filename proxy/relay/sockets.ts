/** The two sockets of a session: who reads slowly slows down who writes, a side that has ended is told to the other, all ends. */
import type { Socket } from 'node:net';
import { hangUp } from './hang-up.ts';

const UPSTREAM_EVENTS = ['data', 'drain', 'end', 'close'] as const;

/** Beyond this many bytes the answers of a turn are not gathered any longer. */
const GATHERED_BYTES_MAX = 256 * 1024;

export interface SocketEvents {
  readonly onClientData: (chunk: Buffer) => void;
  readonly onServerData: (chunk: Buffer) => void;
  /** False while the client must not be read from, whatever the server could take. */
  readonly mayReadClient: () => boolean;
  /** One of the two is gone, and the other will be. May be told twice. */
  readonly onEnd: () => void;
}

export class Sockets {
  /** Resolves when the server's side is closed. */
  readonly closed: Promise<void>;

  readonly #client: Socket;
  readonly #upstream: Socket;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  /** How many things must happen before the client hears more. */
  #holds = 0;
  /** The server's side outlives the client. */
  #isKept = false;
  /** The server's side is somebody else's. */
  #isTaken = false;
  readonly #events: SocketEvents;
  readonly #resolveClosed: () => void;
  /** What happens on the server's side. */
  readonly #onUpstream: { readonly [Event in (typeof UPSTREAM_EVENTS)[number]]: (chunk: Buffer) => void };

  constructor(client: Socket, upstream: Socket, events: SocketEvents) {
    this.#client = client;
    this.#upstream = upstream;
    this.#events = events;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    this.#onUpstream = {
      data: events.onServerData,
      drain: () => events.mayReadClient() && client.resume(),
      end: () => this.#endClient(),
      close: () => {
        this.#endClient();
        events.onEnd();
        resolve();
      },
    };
    for (const event of UPSTREAM_EVENTS) upstream.on(event, this.#onUpstream[event]);
    client.on('data', events.onClientData);
    client.on('drain', () => this.#isTaken || upstream.resume());
    client.on('close', () => this.#clientClosed());
    // One that has only ended its side still gets its answers.
    client.on('end', () => this.#isTaken || this.#isKept || upstream.end());
    const ignore = (): void => undefined;
    client.on('error', ignore);
    upstream.on('error', ignore);
  }

  /** To be called when what the client sent with its start-up packet has been passed on: it may have ended its side with it. */
  begin(): void {
    if (this.#client.readableEnded) this.#upstream.end();
  }

  toServer(bytes: Buffer): void {
    if (!this.#upstream.write(bytes)) this.#client.pause();
  }

  /** Writes to the client, behind everything that was written or gathered before. */
  toClient(bytes: Buffer): void {
    if (this.#gathered.length > 0 || this.#holds > 0) this.gather(bytes);
    else if (!this.#client.write(bytes)) this.#pauseUpstream();
  }

  /** Writes to the client at the end of this turn of the event loop at the latest, in one write with what else is gathered. */
  gather(bytes: Buffer): void {
    if (this.#gathered.length === 0) setImmediate(() => this.#flushUnlessHeld());
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.length;
    if (this.#gatheredBytes >= GATHERED_BYTES_MAX) this.#flushUnlessHeld();
  }

  /** What is said to the client from now on goes out when `until` has resolved, which it must by itself. */
  holdClient(until: Promise<void>): void {
    this.#holds += 1;
    this.#upstream.pause();
    void until.then(() => {
      this.#holds -= 1;
      this.#flushUnlessHeld();
      if (!this.#client.writableNeedDrain) this.#upstream.resume();
    });
  }

  pauseClient(): void {
    this.#client.pause();
  }

  resumeClient(): void {
    if (!this.#upstream.writableNeedDrain) this.#client.resume();
  }

  /** Ends both sides at once; the client gets `last` behind what was said to it before. */
  hangUp(last?: Buffer): void {
    this.#flush();
    hangUp(this.#client, last);
    if (!this.#isTaken) this.#upstream.destroy();
  }

  /** As long as `isKept`, the server's side outlives the client. */
  keepUpstream(isKept: boolean): void {
    this.#isKept = isKept;
    if (isKept || this.#isTaken) return;
    if (this.#client.closed) this.#clientClosed();
    else if (this.#client.readableEnded) this.#upstream.end();
  }

  /**
   * The server's side is the caller's from now on, paused. The client has to be hung up then, and nothing more is said to the server here.
   * Undefined where that side has ended, or is about to.
   */
  takeUpstream(): Socket | undefined {
    const upstream = this.#upstream;
    if (this.#isTaken || upstream.destroyed || upstream.writableEnded || upstream.readableEnded) return undefined;
    this.#isTaken = true;
    upstream.pause();
    for (const event of UPSTREAM_EVENTS) upstream.off(event, this.#onUpstream[event]);
    this.#resolveClosed();
    return upstream;
  }

  /** A client that is gone is not acted for: the server rolls back what it had not committed. */
  #clientClosed(): void {
    // What was to slow the server down for it does so no more.
    if (this.#isKept && !this.#isTaken) return void this.#upstream.resume();
    if (!this.#isTaken) this.#upstream.destroy();
    this.#events.onEnd();
  }

  /** The server has closed. The client gets what was said to the last byte, however slowly it reads, and is then closed too. */
  #endClient(): void {
    const client = this.#client;
    this.#flush();
    if (client.writableEnded || client.destroyed) return;
    client.once('finish', () => hangUp(client));
    client.end();
  }

  #flushUnlessHeld(): void {
    if (this.#holds === 0) this.#flush();
  }

  #flush(): void {
    const gathered = this.#gathered;
    const [first] = gathered;
    if (first === undefined) return;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    if (!this.#client.write(gathered.length === 1 ? first : Buffer.concat(gathered))) this.#pauseUpstream();
  }

  #pauseUpstream(): void {
    if (!this.#isTaken && !this.#client.destroyed) this.#upstream.pause();
  }
}
