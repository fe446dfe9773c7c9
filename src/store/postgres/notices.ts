/** Hears of work that other coordinators have left: LISTEN, where the database has it; elsewhere the runner finds it by looking. */
import type pg from 'pg';
import type { Instant } from '../../contract/transaction.ts';
import { at, now } from '../../platform/clock.ts';
import type { Log } from '../../platform/log.ts';
import { openClient, sqlState } from './line.ts';
import { quoted } from './schema.ts';

const RECONNECT_MS = 1000;

export interface NoticeOptions {
  readonly url: string;
  readonly channel: string;
  readonly log: Log;
  /** Called with what a sender said; with undefined after each time that notices may have been missed. */
  readonly onNotice: (text: string | undefined) => void;
}

export class Notices {
  readonly #options: NoticeOptions;
  #client: pg.Client | undefined;
  #isClosed = false;
  #cancelRetry: (() => void) | undefined;
  /** False when the database has no notifications (CockroachDB, and poolers that share connections). */
  isSupported = true;

  constructor(options: NoticeOptions) {
    this.#options = options;
  }

  /** Connects and listens; comes back by itself. Never rejects. */
  async open(): Promise<void> {
    const { url, channel, log, onNotice } = this.#options;
    this.#cancelRetry = undefined;
    try {
      const client = await openClient(url);
      this.#client = client;
      client.on('notification', ({ payload }) => onNotice(payload ?? ''));
      client.once('end', () => this.#retry());
      await client.query(`LISTEN ${quoted(channel)}`);
      if (this.#isClosed) await client.end();
      else onNotice(undefined);
    } catch (error) {
      const code = sqlState(error);
      if (code?.startsWith('42') === true || code === '0A000') {
        this.isSupported = false;
        log.info({}, 'the database has no notifications: work that another coordinator leaves is found by looking');
      }
      void this.#client?.end().catch(() => undefined);
      this.#retry();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry?.();
    await this.#client?.end().catch(() => undefined);
  }

  #retry(): void {
    if (this.#isClosed || !this.isSupported || this.#cancelRetry !== undefined) return;
    this.#cancelRetry = at((now() + RECONNECT_MS) as Instant, () => void this.open());
  }
}
