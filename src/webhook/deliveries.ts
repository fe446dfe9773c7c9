/** Posts JSON to one URL, again until it is taken: in the background, bounded in number, time and tries. */
import { Agent } from 'undici';
import type { Instant } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Secret } from '../platform/option-types.ts';

/** Deliveries that wait for their turn or their next try; what comes beyond is dropped, and said so in the log. */
const WAITING_MAX = 10_000;
const IN_FLIGHT_MAX = 4;
/** How long one try may take. */
const TRY_MS = 10_000;
/** The pause after the first try that failed; doubles up to the cap. With so many tries the last is some five minutes after the first. */
const PAUSE_MS = 1000;
const PAUSE_CAP_MS = 60_000;
const TRIES = 10;
const ANSWER_BYTES_MAX = 65_536;

export interface DeliveryOptions {
  /** What it is for, in the log. */
  readonly name: string;
  readonly url: Secret;
  /** Sent as bearer token. */
  readonly token: Secret | undefined;
  readonly log: Log;
}

interface Delivery {
  readonly body: string;
  readonly about: object;
  tries: number;
}

/** A 2xx answer takes a delivery; anything else, and no answer within ten seconds, is tried again. The order is not kept. */
export class Deliveries {
  readonly #options: DeliveryOptions;
  readonly #agent: Agent;
  readonly #ready: Delivery[] = [];
  readonly #pauses = new Set<() => void>();
  readonly #closing = new AbortController();
  #inFlight = 0;
  #dropped = 0;
  #onIdle: (() => void) | undefined;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#agent = new Agent({ connections: IN_FLIGHT_MAX, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
  }

  /** Takes `payload` on; `about` names it in the log. Never throws and never waits. */
  add(payload: object, about: object): void {
    if (this.#closing.signal.aborted) return;
    if (this.#ready.length + this.#pauses.size >= WAITING_MAX) {
      this.#dropped += 1;
      if (this.#dropped === 1) this.#log('warn', about, 'too many deliveries wait; new ones are dropped');
      return;
    }
    if (this.#dropped > 0) this.#log('warn', { dropped: this.#dropped }, 'deliveries were dropped: too many waited');
    this.#dropped = 0;
    this.#ready.push({ body: JSON.stringify(payload), about, tries: 0 });
    this.#next();
  }

  /** Tries what is ready for `graceMs` more, and gives up what is left. */
  async close(graceMs: number): Promise<void> {
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    const cancel = at((now() + graceMs) as Instant, () => this.#onIdle?.());
    if (this.#inFlight > 0 || this.#ready.length > 0) await idle;
    cancel();
    this.#closing.abort();
    const left = this.#ready.length + this.#pauses.size;
    if (left > 0) this.#log('warn', { left }, 'deliveries are given up: the coordinator stops');
    for (const end of this.#pauses) end();
    await this.#agent.destroy();
  }

  #next(): void {
    while (this.#inFlight < IN_FLIGHT_MAX && !this.#closing.signal.aborted) {
      const delivery = this.#ready.shift();
      if (delivery === undefined) break;
      this.#inFlight += 1;
      void this.#try(delivery).then(() => {
        this.#inFlight -= 1;
        this.#next();
        if (this.#inFlight === 0) this.#onIdle?.();
      });
    }
  }

  async #try(delivery: Delivery): Promise<void> {
    const fault = await this.#post(delivery.body);
    if (fault === undefined || this.#closing.signal.aborted) return;
    delivery.tries += 1;
    if (delivery.tries >= TRIES) {
      this.#log('error', { ...delivery.about, tries: TRIES, fault }, 'a delivery is given up');
      return;
    }
    const pauseMs = Math.min(PAUSE_CAP_MS, PAUSE_MS * 2 ** (delivery.tries - 1));
    const cancel = at((now() + pauseMs) as Instant, () => {
      this.#pauses.delete(cancel);
      this.#ready.push(delivery);
      this.#next();
    });
    this.#pauses.add(cancel);
  }

  /** Undefined when it was taken, else why not. Never rejects. */
  async #post(body: string): Promise<string | undefined> {
    const { url, token } = this.#options;
    const late = new AbortController();
    const cancel = at((now() + TRY_MS) as Instant, () => late.abort(new Error(`no answer within ${TRY_MS} ms`)));
    try {
      const { origin, pathname, search } = new URL(url.reveal());
      const answer = await this.#agent.request({
        origin,
        path: pathname + search,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(token === undefined ? {} : { authorization: `Bearer ${token.reveal()}` }),
        },
        body,
        signal: AbortSignal.any([late.signal, this.#closing.signal]),
      });
      await answer.body.dump({ limit: ANSWER_BYTES_MAX });
      return answer.statusCode >= 200 && answer.statusCode < 300 ? undefined : `HTTP ${answer.statusCode}`;
    } catch (cause) {
      return cause instanceof Error ? cause.message || cause.name : String(cause);
    } finally {
      cancel();
    }
  }

  #log(level: 'warn' | 'error', fields: object, message: string): void {
    const { log, name } = this.#options;
    log[level]({ webhook: name, ...fields }, message);
  }
}
