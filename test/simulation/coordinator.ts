/** One life of a coordinator process: the real runner, whose every input can be held back (a pause) or lost (a crash). */
import type { Gid, Instant, Mode } from '../../src/contract/transaction.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Log } from '../../src/platform/log.ts';
import type { Decide } from '../../src/runner/fold.ts';
import type { Peers } from '../../src/runner/peers.ts';
import type { Store, Transport } from '../../src/runner/ports.ts';
import { createRunner } from '../../src/runner/run.ts';
import type { Runner } from '../../src/runner/runner.ts';
import type { CallChecks } from './checks/calls.ts';
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

/** What an application does: a mode, or a mesh with a callback. */
export type Story = Mode | 'mesh message' | 'mesh workflow';

/** How a wrong variant gets in: through the runner's own parameters. */
export interface Variant {
  /** Applications that do only this. */
  readonly only?: Story;
  readonly decide?: Decide;
  readonly store?: (store: Store) => Store;
  readonly transport?: (transport: Transport) => Transport;
  readonly peers?: (peers: Peers) => Peers;
  readonly checksVersion?: boolean;
  readonly checksLease?: boolean;
}

export interface LifeOptions {
  readonly name: string;
  readonly time: Time;
  /** How far its clock is off at first, in milliseconds. */
  readonly skewMs: number;
  readonly leaseMs: number;
  readonly callsMax: number;
  readonly variant: Variant;
  readonly checks: CallChecks;
  readonly openStore: (caller: Caller) => Store;
  readonly openTransport: (caller: Life) => Transport;
  /** Absent: it does not talk to the others on its store. */
  readonly peersOf: ((caller: Life) => Peers) | undefined;
  readonly newGid: () => Gid;
}

export class Life implements Caller {
  readonly name: string;
  readonly runner: Runner;
  readonly checks: CallChecks;
  /** Called when another coordinator on the store gives up leases. */
  onLeft: () => void = () => undefined;
  readonly #options: LifeOptions;
  #state: 'running' | 'paused' | 'dead' = 'running';
  #isStopping = false;
  #skewMs: number;
  #inbox: (() => void)[] = [];

  constructor(options: LifeOptions) {
    const { time, variant, checks } = options;
    const judge = variant.decide ?? decide;
    this.#options = options;
    this.#skewMs = options.skewMs;
    this.name = options.name;
    this.checks = options.checks;
    const store = options.checks.watch(options.openStore(this));
    const transport = options.openTransport(this);
    const peers = options.peersOf?.(this);
    this.runner = createRunner({
      store: variant.store?.(store) ?? store,
      transport: variant.transport?.(transport) ?? transport,
      clock: {
        now: () => this.now() as Instant,
        // As timers do, it counts from now on and does not see when the clock is set.
        at: (instant, run) => time.after(instant - this.now(), () => this.deliver(run)),
      },
      newGid: options.newGid,
      owner: options.name,
      leaseMs: options.leaseMs,
      retentionMs: 3_600_000,
      limits: { branches: 100, unfinished: 1000, calls: options.callsMax },
      log: SILENT,
      ...(peers === undefined ? {} : { peers: variant.peers?.(peers) ?? peers }),
      decide: (state, event, now) => {
        // Whoever asks for a retry does not want to wait for any pause.
        if (event.kind === 'retry') checks.forget(state.gid);
        return judge(state, event, now);
      },
    });
    this.runner.start();
  }

  get isAlive(): boolean {
    return this.#state !== 'dead';
  }

  get isPaused(): boolean {
    return this.#state === 'paused';
  }

  /** It was told to stop, and lets everybody go. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    return this.runner.stop(graceMs);
  }

  now(): number {
    return this.#options.time.now + this.#skewMs;
  }

  /** Sets its clock to be off by so much. */
  setClock(skewMs: number): void {
    this.#skewMs = skewMs;
    this.checks.forgetAll();
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
