/**
 * COPY … FROM STDIN inside an operation. Whoever serves the statement waits for its end, so the client's data pass him by.
 * Source: PostgreSQL documentation, "COPY Operations": while it takes data a server ignores Flush and Sync, so of a Sync that came
 * right behind the Execute there is no answer, but of the one behind the data; any other message ends the COPY with an error.
 */
import type { Inbox } from '../session/inbox.ts';
import type { ClientFrame } from '../session/pass-watch.ts';
import { BACKEND, FRONTEND } from '../wire/frames.ts';

export class CopyIn {
  readonly #inbox: Inbox;
  readonly #toServer: (bytes: Buffer) => void;
  /** `data`: the server takes data; `sync`: they have ended, and the Sync behind them is the one that will be answered. */
  #state: 'none' | 'data' | 'sync' = 'none';
  #isSyncLost = false;

  constructor(inbox: Inbox, toServer: (bytes: Buffer) => void) {
    this.#inbox = inbox;
    this.#toServer = toServer;
  }

  /** The server waits for data. `isSyncLost`: it was sent a Sync, which it will ignore. What has arrived already goes first. */
  begin(isSyncLost: boolean): void {
    this.#state = 'data';
    this.#isSyncLost = isSyncLost;
    for (let head = this.#inbox.head; head !== undefined && this.take(head); head = this.#inbox.head)
      this.#inbox.drop();
  }

  /** True when a message of the client's was a part of the COPY, and has been dealt with. */
  take({ type, bytes }: ClientFrame): boolean {
    if (this.#state === 'none') return false;
    const isData = type === FRONTEND.copyData;
    const isEnd = type === FRONTEND.copyDone || type === FRONTEND.copyFail;
    if (this.#state === 'data') {
      if (type === FRONTEND.sync || type === FRONTEND.flush) return true;
      if (!isData) this.#end();
      this.#toServer(bytes);
      return true;
    }
    if (!isData && !isEnd && type !== FRONTEND.sync) return false;
    if (type === FRONTEND.sync) this.#state = 'none';
    this.#toServer(bytes);
    return true;
  }

  /** The server has answered something. */
  answered(type: number): void {
    if (type === BACKEND.readyForQuery) this.#state = 'none';
    else if (type === BACKEND.error && this.#state === 'data') this.#end();
  }

  #end(): void {
    this.#state = this.#isSyncLost ? 'sync' : 'none';
  }
}
