/** One life of a coordinator process: the real runner, whose every input can be held back (a pause) or lost (a crash). */
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Decide } from '../../src/runner/fold.ts';
import type { Store, Transport } from '../../src/runner/ports.ts';
import { createRunner } from '../../src/runner/run.ts';
import type { Runner } from '../../src/runner/runner.ts';
import type { CallChecks } from './checks.ts';
import type { Caller } from './store.ts';
import type { Time } from './time.ts';

const SILENT: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  fatal: () => undefined,
  child: () => SILENT,
};

/** How a wrong variant gets in: through the runner's own parameters. */
export interface Variant {
  readonly decide?: Decide;
  readonly store?: (store: Store) => Store;
  readonly transport?: (transport: Transport) => Transport;
  readonly checksVersion?: boolean;
  readonly checksLease?: boolean;
}

export interface LifeOptions {
  readonly name: string;
  readonly time: Time;
  /** How far its clock is off, in milliseconds. */
  readonly skewMs: number;
  readonly leaseMs: number;
  readonly callsMax: number;
  readonly variant: Variant;
  readonly checks: CallChecks;
  readonly openStore: (caller: Caller) => Store;
  readonly openTransport: (caller: Life) => Transport;
  readonly newGid: () => Gid;
}

export class Life implements Caller {
  readonly name: string;
  readonly runner: Runner;
  readonly checks: CallChecks;
  readonly #options: LifeOptions;
  #state: 'running' | 'paused' | 'dead' = 'running';
  #inbox: (() => void)[] = [];

  constructor(options: LifeOptions) {
    const { time, variant, skewMs } = options;
    this.#options = options;
    this.name = options.name;
    this.checks = options.checks;
    const store = options.checks.watch(options.openStore(this));
    const transport = options.openTransport(this);
    this.runner = createRunner({
      store: variant.store?.(store) ?? store,
      transport: variant.transport?.(transport) ?? transport,
      clock: {
        now: () => this.now() as Instant,
        at: (instant, run) => time.at(instant - skewMs, () => this.deliver(run)),
      },
      newGid: options.newGid,
      owner: options.name,
      leaseMs: options.leaseMs,
      retentionMs: 3_600_000,
      limits: { branches: 100, unfinished: 1000, calls: options.callsMax },
      log: SILENT,
      ...(variant.decide === undefined ? {} : { decide: variant.decide }),
    });
    this.runner.start();
  }

  get isAlive(): boolean {
    return this.#state !== 'dead';
  }

  get isPaused(): boolean {
    return this.#state === 'paused';
  }

  now(): number {
    return this.#options.time.now + this.#options.skewMs;
  }

  deliver(run: () => void): void {
    if (this.#state === 'running') run();
    else if (this.#state === 'paused') this.#inbox.push(run);
  }

  crash(): void {
    this.#state = 'dead';
    this.#inbox = [];
  }

  pause(): void {
    if (this.#state === 'running') this.#state = 'paused';
  }

  /** What came meanwhile comes now, one after another. */
  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'running';
    const inbox = this.#inbox;
    this.#inbox = [];
    for (const run of inbox) this.#options.time.after(0, () => this.deliver(run));
  }
}
