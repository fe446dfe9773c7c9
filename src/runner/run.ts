/** The coordinator's verbs over its parts: the driver saves and performs, the claimer recovers, the waiters wait. */
import { hash } from 'node:crypto';
import { assert } from '../platform/assert.ts';
import type { Log } from '../platform/log.ts';
import type { CodedError } from '../contract/errors.ts';
import type {
  AbortRequest,
  BeginRequest,
  EnlistRequest,
  ResolveRequest,
  RetryRequest,
  StopRequest,
  StepRequest,
  SubmitRequest,
} from '../contract/messages.ts';
import type { NewTransaction } from '../contract/new-transaction.ts';
import { isFinal, type Gid, type Instant } from '../contract/transaction.ts';
import { begin, requestIdentity } from '../engine/begin.ts';
import { decide } from '../engine/decide.ts';
import type { Event } from '../engine/event.ts';
import { termsOf, type GlobalTransaction } from '../engine/global-transaction.ts';
import { superseded } from '../engine/branches/runs.ts';
import { start } from '../engine/start.ts';
import { Claimer } from './claim.ts';
import { isOver, type RunnerEvent } from './driven.ts';
import { Driver } from './driver.ts';
import type { Decide } from './fold.ts';
import type { Peers } from './peers.ts';
import type { Clock, ListFilter, Store, Transport } from './ports.ts';
import {
  gidConflict,
  gidUnknown,
  refusedByRule,
  shuttingDown,
  storeFailed,
  tooManyBranches,
  tooManyTransactions,
} from './refusals.ts';
import type { Outcome, Runner } from './runner.ts';
import { type Waiter, Waiters } from './waiters.ts';
import { runOf } from './view.ts';
import { watch } from './watch.ts';

export interface RunnerOptions {
  readonly store: Store;
  readonly transport: Transport;
  readonly clock: Clock;
  /** Makes a gid for a begin that brings none. What it makes is unique, so the requests for runs are told apart by it too. */
  readonly newGid: () => Gid;
  /**
   * Who this coordinator is to the others on the same store. A name that is the same after a restart lets it go on with its
   * own transactions at once; two live coordinators must never share one.
   */
  readonly owner: string;
  /** How long others leave a transaction alone after its owner has last written. */
  readonly leaseMs: number;
  /** How long finished transactions are kept. */
  readonly retentionMs: number;
  readonly limits: { readonly branches: number; readonly unfinished: number; readonly calls: number };
  readonly log: Log;
  /** For metrics. Must not throw. */
  readonly onEvent?: (event: RunnerEvent) => void;
  /** The other coordinators on the store, if there may be any; `owner` must be this process's alone then. */
  readonly peers?: Peers;
  /** The judgement; the engine's own unless a test wants to see a wrong one found. */
  readonly decide?: Decide;
}

/** Makes a coordinator. It answers at once; `start()` lets it recover what others left behind. */
export function createRunner(options: RunnerOptions): Runner {
  return new CoordinatorRunner(options);
}

class CoordinatorRunner implements Runner {
  readonly #options: RunnerOptions;
  readonly #waiters: Waiters;
  readonly #driver: Driver;
  readonly #claimer: Claimer;
  #isStopping = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#waiters = new Waiters(options.clock);
    this.#driver = new Driver({
      ...options,
      decide: options.decide ?? decide,
      onEvent: options.onEvent ?? (() => undefined),
      waiters: this.#waiters,
      onDue: () => this.#scan(),
    });
    this.#claimer = new Claimer({ ...options, driver: this.#driver, unfinishedMax: options.limits.unfinished });
  }

  get load(): { readonly driven: number; readonly calls: number } {
    return { driven: this.#driver.driven, calls: this.#driver.calls };
  }

  get #isFull(): boolean {
    return this.#driver.unfinished >= this.#options.limits.unfinished;
  }

  async begin(
    request: BeginRequest,
  ): Promise<Outcome<{ readonly transaction: GlobalTransaction; readonly created: boolean }>> {
    const { clock, newGid, limits } = this.#options;
    if (this.#isStopping) return refused(shuttingDown());
    if (this.#isFull && request.gid === undefined) return refused(tooManyTransactions(limits.unfinished));
    const gid = request.gid ?? newGid();
    const now = clock.now();
    const transaction = begin(request, gid, hashOf(requestIdentity(request)), now);
    return this.#insert(transaction, now);
  }

  async startNew(request: NewTransaction, status: 'prepared' | 'submitted'): ReturnType<Runner['startNew']> {
    const { clock, limits } = this.#options;
    const { gid, mode, identity, steps } = request;
    if (this.#isStopping) return refused(shuttingDown());
    if (steps.length > limits.branches) return refused(tooManyBranches(gid, limits.branches));
    const now = clock.now();
    const transaction = start(request, status, hashOf(`${mode} ${identity}`), now);
    const inserted = await this.#insert(transaction, now);
    if (!inserted.ok || inserted.value.created || status === 'prepared') return inserted;
    const known = inserted.value.transaction;
    if (isFinal(known.status)) return inserted;
    const { delayMs } = request;
    const submit: Event = { kind: 'submit', ...(delayMs === undefined ? {} : { delayMs }) };
    const outcome = await this.happen(gid, known.status === 'prepared' ? submit : { kind: 'retry' });
    return outcome.ok ? { ok: true, value: { transaction: outcome.value, created: false } } : outcome;
  }

  /**
   * Adds the transaction, unless its gid is known: then the same request answers the one that there is. That one goes on at the limit
   * too, or nothing would ever get below it.
   */
  async #insert(transaction: GlobalTransaction, now: Instant): ReturnType<Runner['startNew']> {
    const { gid } = transaction;
    const { store, limits } = this.#options;
    const isFull = this.#isFull;
    const lease = this.#driver.lease(now);
    try {
      if (!isFull && (await store.insert(transaction, lease)) === 'inserted') {
        this.#driver.adopt({ transaction, version: 1 }, lease.until);
        return { ok: true, value: { transaction, created: true } };
      }
    } catch (cause) {
      return refused(storeFailed(gid, cause));
    }
    const known = await this.read(gid);
    if (!known.ok) {
      const isNew = isFull && known.error.code === 'GID_UNKNOWN';
      return isNew ? refused(tooManyTransactions(limits.unfinished)) : known;
    }
    if (known.value.requestHash !== transaction.requestHash) return refused(gidConflict(gid));
    return { ok: true, value: { transaction: known.value, created: false } };
  }

  async happen(gid: Gid, event: Event): Promise<Outcome<GlobalTransaction>> {
    if (this.#isStopping) return refused(shuttingDown());
    return this.#driver.request(gid, event);
  }

  async happenHere(gid: Gid, event: Event): Promise<Outcome<GlobalTransaction>> {
    if (this.#isStopping) return refused(shuttingDown());
    return this.#driver.request(gid, event, { isForwarded: true });
  }

  async andWait(
    gid: Gid,
    waitMs: number,
    signal: AbortSignal,
    act: () => Promise<Outcome<GlobalTransaction>>,
  ): Promise<Outcome<GlobalTransaction>> {
    const outcome = await act();
    if (!outcome.ok || isOver(outcome.value) || this.#isStopping) return outcome;
    // Only now: a rest from before would be taken for the one that is waited for. Nothing happens between look and wait.
    const { peers, clock } = this.#options;
    const isResting = this.#driver.isResting(gid) ?? peers === undefined;
    if (isResting) return this.read(gid);
    const waiter = this.#waiters.add(gid, 'rest', (clock.now() + waitMs) as Instant, signal);
    try {
      this.#watch(gid, waiter);
      const rested = await waiter.over;
      return rested === undefined ? await this.read(gid) : { ok: true, value: rested };
    } finally {
      waiter.cancel();
    }
  }

  async enlist(gid: Gid, request: EnlistRequest): ReturnType<Runner['enlist']> {
    const { kind, resource, operations, requests, run } = request;
    const terms = termsOf(request);
    const hashed = requests === undefined ? {} : { hash: hashOf(JSON.stringify([operations, terms])) };
    const branch = { kind, resource, operations, ...terms, ...hashed };
    const outcome = await this.happen(gid, { kind: 'enlist', branch, ...ofRun(run) });
    if (!outcome.ok) return outcome;
    const enlisted = outcome.value.branches.find((candidate) => candidate.resource === resource);
    assert(enlisted !== undefined, `what was enlisted in ${gid} is one of its branches`);
    return { ok: true, value: { gid, branchId: enlisted.id, sequence: enlisted.sequence } };
  }

  async run(gid: Gid): ReturnType<Runner['run']> {
    const id = this.#options.newGid();
    const outcome = await this.happen(gid, { kind: 'resume', id });
    if (!outcome.ok) return outcome;
    // Two requests that come together are decided together: each sees the state after both, and only one has the newest run.
    if (outcome.value.run?.id !== id) return refused(refusedByRule(superseded(outcome.value, undefined)));
    const run = runOf(outcome.value);
    assert(run !== undefined, `${gid} has the run that has just begun`);
    return { ok: true, value: run };
  }

  step(gid: Gid, { run, step, data }: StepRequest): Promise<Outcome<GlobalTransaction>> {
    return this.happen(gid, { kind: 'step', run, step: { step, data } });
  }

  submit(gid: Gid, { run, ended }: SubmitRequest = {}): Promise<Outcome<GlobalTransaction>> {
    return this.happen(gid, { kind: 'submit', ...ofRun(run), ...(ended === undefined ? {} : { ended }) });
  }

  abort(gid: Gid, { reason = 'aborted by request', run }: AbortRequest): Promise<Outcome<GlobalTransaction>> {
    return this.happen(gid, { kind: 'abort', reason, ...ofRun(run) });
  }

  retry(gid: Gid, request: RetryRequest = {}): Promise<Outcome<GlobalTransaction>> {
    return this.happen(gid, { kind: 'retry', ...request });
  }

  async resolve(gid: Gid, request: ResolveRequest): Promise<Outcome<GlobalTransaction>> {
    const outcome = await this.happen(gid, { kind: 'resolve', ...request });
    if (outcome.ok) this.#options.log.warn({ gid, ...request }, 'an operator has decided about a dirty branch');
    return outcome;
  }

  async giveUp(gid: Gid, request: StopRequest = {}): Promise<Outcome<GlobalTransaction>> {
    const outcome = await this.happen(gid, { kind: 'stop', ...request });
    if (outcome.ok) this.#options.log.warn({ gid, ...request }, 'an operator has stopped a transaction');
    return outcome;
  }

  async read(gid: Gid): Promise<Outcome<GlobalTransaction>> {
    const driven = this.#driver.peek(gid);
    if (driven !== undefined) return { ok: true, value: driven };
    try {
      const stored = await this.#options.store.read(gid);
      return stored === undefined ? refused(gidUnknown(gid)) : { ok: true, value: stored.transaction };
    } catch (cause) {
      return refused(storeFailed(gid, cause));
    }
  }

  async waitForEnd(gid: Gid, waitMs: number, signal: AbortSignal): Promise<Outcome<GlobalTransaction>> {
    const { clock } = this.#options;
    // Waits before it reads, so that an end in between is not missed.
    const waiter = this.#waiters.add(gid, 'end', (clock.now() + waitMs) as Instant, signal);
    try {
      const known = await this.read(gid);
      if (!known.ok || isOver(known.value) || this.#isStopping) return known;
      this.#watch(gid, waiter);
      const ended = await waiter.over;
      return ended === undefined ? await this.read(gid) : { ok: true, value: ended };
    } finally {
      waiter.cancel();
    }
  }

  async list(filter: ListFilter): Promise<Outcome<readonly GlobalTransaction[]>> {
    try {
      const stored = await this.#options.store.list(filter);
      return { ok: true, value: stored.map(({ transaction }) => transaction) };
    } catch (cause) {
      return refused(storeFailed(undefined, cause));
    }
  }

  start(): void {
    this.#claimer.start();
    this.#options.peers?.onDue(() => this.#scan());
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.#claimer.stop();
    this.#waiters.cancelAll();
    await this.#driver.stop(graceMs);
  }

  #scan(): void {
    const { log } = this.#options;
    void this.#claimer.scan().catch((cause: unknown) => log.error({ err: cause }, 'claiming failed'));
  }

  /** What another coordinator drives does not tell its end here. */
  #watch(gid: Gid, { over }: Waiter): void {
    const { peers, decide: judge = decide } = this.#options;
    if (peers === undefined) return;
    const isOurs = (asked: Gid): boolean => this.#driver.peek(asked) !== undefined;
    watch(gid, over, { ...this.#options, waiters: this.#waiters, decide: judge, isOurs });
  }
}

function hashOf(text: string): string {
  return hash('sha256', text, 'base64url');
}

function ofRun(run: number | undefined): { readonly run?: number } {
  return run === undefined ? {} : { run };
}

function refused(error: CodedError): { readonly ok: false; readonly error: CodedError } {
  return { ok: false, error };
}
