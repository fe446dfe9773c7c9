/** One request and its answer on a pool of connections. */
import type { Dispatcher } from 'undici';
import type { Instant } from '../contract/transaction.ts';
import { at } from '../platform/clock.ts';

/** More than any answer of a coordinator: a page of 1,000 transactions. */
const BODY_BYTES_MAX = 256 * 1024 * 1024;

/** How an exchange ended. */
export type ExchangeEnd =
  | { readonly kind: 'answered'; readonly status: number; readonly text: string }
  /** `mayRepeat`: the connection was closed by the other side before a byte of the answer, as happens to a kept-alive one. */
  | { readonly kind: 'lost'; readonly error: Error; readonly mayRepeat: boolean }
  | { readonly kind: 'late' };

/** Sends `options` over `dispatcher` and waits for the whole answer until `until`. Never rejects. */
export function exchange(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  until: Instant,
): Promise<ExchangeEnd> {
  return new Promise((resolve) => {
    const reader = new ExchangeReader(resolve, until);
    try {
      dispatcher.dispatch(options, reader);
    } catch (error) {
      reader.onResponseError(undefined, error);
    }
  });
}

class ExchangeReader implements Dispatcher.DispatchHandler {
  readonly #resolve: (end: ExchangeEnd) => void;
  readonly #cancelTimer: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #isOver = false;
  #status = 0;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(resolve: (end: ExchangeEnd) => void, until: Instant) {
    this.#resolve = resolve;
    this.#cancelTimer = at(until, () => this.#end({ kind: 'late' }, new Error('no answer in time')));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // The time was up while the request waited for a connection: it is not sent at all.
    if (this.#isOver) controller.abort(new Error('no answer in time'));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    if (status >= 200) this.#status = status;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > BODY_BYTES_MAX) {
      const error = new Error(`the answer is larger than ${BODY_BYTES_MAX} bytes`);
      this.#end({ kind: 'lost', error, mayRepeat: false }, error);
    }
  }

  onResponseEnd(): void {
    const [first] = this.#chunks;
    const whole = first !== undefined && this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks);
    this.#end({ kind: 'answered', status: this.#status, text: whole.toString() });
  }

  onResponseError(_controller: unknown, thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    this.#end({ kind: 'lost', error, mayRepeat: this.#status === 0 && isReset(error) });
  }

  #end(end: ExchangeEnd, abort?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelTimer();
    this.#resolve(end);
    if (abort !== undefined) this.#controller?.abort(abort);
  }
}

/** undici's UND_ERR_SOCKET is "other side closed"; the others are the kernel's words for the same. */
function isReset(error: Error): boolean {
  const code = 'code' in error ? error.code : undefined;
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}
