/**
 * What the sessions of one database know of its tables and views. Neither server tells that one was altered, so facts are asked for again
 * while they are used: a busy table is asked about in the background and never waited for.
 */
import { CodedError } from '../../../src/contract/errors.ts';
import type { Instant } from '../../../src/contract/transaction.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { AskedTable } from '../catalog-sql.ts';

/** Facts of one kind. Names are as the client wrote them. */
export interface Facts<T> {
  /** `none`: there is nothing of that name; undefined: not known, or too old. */
  known(database: string, table: string): T | 'none' | undefined;
  /**
   * Asks about these. All who ask at once share a question.
   * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) when the database cannot be asked.
   */
  learn(tables: readonly AskedTable[]): Promise<void>;
  /** A table was not what its facts said: all facts are forgotten, and so is what an answer on its way says. */
  moved(): void;
}

/** How the database is asked: answers in the order of the tables, undefined for one that there is not. */
type Ask<T> = (tables: readonly AskedTable[]) => Promise<readonly (T | undefined)[]>;

interface Clock {
  now(): Instant;
}

/** Facts hold for so long from the moment that they were asked for … */
const HOLD_MS = 1_000;
/** … or for so many times as long as the server took to answer: who has thousands of tables takes its time … */
const HOLD_TIMES = 4;
/** … and for no longer than this. */
const HOLD_MS_MAX = 10_000;
/** They are asked for again, when they are used, after this share of the time. */
const REFRESH_SHARE = 0.5;
/** Together with all others that have been used since they came, after this share: so that they have one rhythm, and one question. */
const JOIN_SHARE = 0.25;
/** Tables in one question. */
const ASKED_AT_ONCE = 20;
/** How often `learn` asks once more because something has moved meanwhile. */
const TRIES_MAX = 3;
const TABLES_MAX = 2_000;

/** Facts over any way to ask. It is asked one question at a time. */
export function cacheFacts<T extends object>(ask: Ask<T>, log: Log, clock: Clock): Facts<T> {
  const cache = new FactsCache(ask, log, clock);
  return {
    known: (database, table) => cache.known(database, table),
    learn: (tables) => cache.learn(tables),
    moved: () => cache.moved(),
  };
}

interface Entry<T> {
  readonly asked: AskedTable;
  readonly facts: T | 'none';
  /** When the question was asked; milliseconds. */
  readonly since: number;
  readonly holdMs: number;
  isUsed: boolean;
}

class FactsCache<T extends object> {
  readonly #ask: Ask<T>;
  readonly #log: Log;
  readonly #clock: Clock;
  /** In the order in which they came: one that is used comes again soon. */
  readonly #entries = new Map<string, Entry<T>>();
  /** What the next question is about. */
  #wanted = new Map<string, AskedTable>();
  /** The next question, which waits for the end of the one that is under way. */
  #next: Promise<void> | undefined;
  #current: Promise<void> = Promise.resolve();
  #isRefreshing = false;
  #generation = 0;

  constructor(ask: Ask<T>, log: Log, clock: Clock) {
    this.#ask = ask;
    this.#log = log;
    this.#clock = clock;
  }

  known(database: string, table: string): T | 'none' | undefined {
    const entry = this.#entries.get(keyOf({ database, table }));
    if (entry === undefined) return undefined;
    const age = this.#clock.now() - entry.since;
    // A clock that was set back makes facts old as well.
    if (age >= entry.holdMs || age < 0) return undefined;
    entry.isUsed = true;
    if (age >= entry.holdMs * REFRESH_SHARE) this.#refresh();
    return entry.facts;
  }

  async learn(tables: readonly AskedTable[]): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const generation = this.#generation;
      await this.#question(tables);
      if (generation === this.#generation) return;
    }
  }

  moved(): void {
    this.#generation += 1;
    this.#entries.clear();
  }

  /** Nobody waits for it: whoever uses a table of it meanwhile has what is known. */
  #refresh(): void {
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    const due = [...this.#entries.values()].filter(
      ({ isUsed, since, holdMs }) => isUsed && this.#clock.now() - since >= holdMs * JOIN_SHARE,
    );
    this.#question(due.map(({ asked }) => asked))
      .catch(() => undefined)
      .finally(() => {
        this.#isRefreshing = false;
      });
  }

  /** Puts the tables into the next question. */
  #question(tables: readonly AskedTable[]): Promise<void> {
    for (const table of tables) this.#wanted.set(keyOf(table), table);
    if (this.#next !== undefined) return this.#next;
    const next = this.#current
      .catch(() => undefined)
      .then(() => {
        const wanted = [...this.#wanted.values()];
        this.#wanted = new Map();
        this.#next = undefined;
        return this.#askAbout(wanted);
      });
    this.#next = next;
    this.#current = next;
    return next;
  }

  async #askAbout(tables: readonly AskedTable[]): Promise<void> {
    try {
      for (let at = 0; at < tables.length; at += ASKED_AT_ONCE) {
        await this.#askSome(tables.slice(at, at + ASKED_AT_ONCE));
      }
    } catch (error) {
      const { message } = error as Error;
      this.#log.warn({ err: message }, 'the facts of tables cannot be read');
      throw new CodedError('UPSTREAM_UNREACHABLE', `the facts of tables cannot be read: ${message}`, {
        retry: 'safe',
        hint: 'Check upstream, tls and credentials of this database.',
        cause: error,
      });
    }
  }

  async #askSome(tables: readonly AskedTable[]): Promise<void> {
    const generation = this.#generation;
    const since = this.#clock.now();
    const facts = await this.#ask(tables);
    if (generation !== this.#generation) return;
    const holdMs = Math.min(HOLD_MS_MAX, Math.max(HOLD_MS, HOLD_TIMES * (this.#clock.now() - since)));
    for (const [index, asked] of tables.entries()) {
      const key = keyOf(asked);
      this.#entries.delete(key);
      this.#entries.set(key, { asked, facts: facts[index] ?? 'none', since, holdMs, isUsed: false });
    }
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= TABLES_MAX) break;
      this.#entries.delete(key);
    }
  }
}

/** By the names as they were written: whether two of them are one table is for the server to say. No name has this character. */
function keyOf({ database, table }: AskedTable): string {
  return `${database}\0${table}`;
}
