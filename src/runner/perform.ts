/** Performs what was decided and saved: wakes, and calls to branches. */
import { assert } from '../platform/assert.ts';
import type { Log } from '../platform/log.ts';
import { INITIATOR, type Gid, type Instant, type Operation } from '../contract/transaction.ts';
import type { Effect } from '../engine/effect.ts';
import { resolutionOf } from '../engine/branches/calls.ts';
import type { Branch, GlobalTransaction } from '../engine/global-transaction.ts';
import { CallQueue } from './calls.ts';
import { holdsLease, type Driven, type RunnerEvent } from './driven.ts';
import { WOKEN, type Posted } from './fold.ts';
import type { BranchCall, Clock, Transport } from './ports.ts';
import { Wakes } from './wakes.ts';

export interface PerformerOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Log;
  readonly leaseMs: number;
  /** Calls in flight, in all. */
  readonly callsMax: number;
  readonly onEvent: (event: RunnerEvent) => void;
  /** Where answers go. */
  readonly post: (driven: Driven, posted: Posted) => void;
  readonly onWake: (gid: Gid) => void;
}

type CallEffect = Extract<Effect, { kind: 'call' }>;

export class Performer {
  readonly wakes: Wakes;
  readonly #options: PerformerOptions;
  readonly #calls: CallQueue<{ readonly driven: Driven; readonly effect: CallEffect }>;

  constructor(options: PerformerOptions) {
    this.#options = options;
    this.wakes = new Wakes(options.clock, options.onWake);
    this.#calls = new CallQueue(options.callsMax, ({ driven, effect }) => this.#call(driven, effect));
  }

  /** Branch calls in flight. */
  get calls(): number {
    return this.#calls.inFlight;
  }

  /** Performs `effects`, which are all that is due: a call that is under way is not made again, and a wake that is not among them is none any more. */
  perform(driven: Driven, effects: readonly Effect[]): void {
    let wakeAt: Instant | undefined;
    driven.due = effects;
    for (const effect of effects) {
      if (effect.kind === 'wake') wakeAt = effect.at;
      else if (!driven.calling.has(effect.branch)) {
        driven.calling.add(effect.branch);
        this.#calls.add(effect.urls[0] ?? '', { driven, effect });
      }
    }
    if (wakeAt === undefined) this.wakes.remove(driven.gid);
    else this.wakes.set(driven.gid, wakeAt);
  }

  /** Starts nothing more; calls in flight go on. */
  close(): void {
    for (const { driven, effect } of this.#calls.close()) driven.calling.delete(effect.branch);
    this.wakes.clear();
  }

  async #call(driven: Driven, effect: CallEffect): Promise<void> {
    const { transport, clock, log, leaseMs, onEvent, post } = this.#options;
    const { branch: id, operation, urls } = effect;
    const startedAt = clock.now();
    if (driven.isDropped) return;
    if (!holdsLease(driven, startedAt, leaseMs) || !isDue(driven, effect, startedAt)) {
      // Its turn came too late: somebody else may be driving by now, which the next turn finds out by saving; or something
      // was decided meanwhile or has to be, and the next turn finds what is to be called instead.
      driven.calling.delete(id);
      return post(driven, WOKEN);
    }
    const { transaction } = driven;
    const branch =
      id === INITIATOR ? transaction.callback : transaction.branches.find((candidate) => candidate.id === id);
    assert(branch !== undefined, `branch ${id} of ${driven.gid} exists`);
    driven.calls ??= new AbortController();
    const request = callOf(transaction, branch, operation, urls[0] ?? '');
    const reply = await transport.call(request, driven.calls.signal).catch((cause: unknown) => {
      log.error({ gid: driven.gid, branch: id, err: cause }, 'the transport failed instead of answering unknown');
      return { result: 'unknown' as const, detail: String(cause) };
    });
    if (driven.isDropped) return;
    const durationMs = clock.now() - startedAt;
    onEvent({ kind: 'called', transaction, branch, operation, ...reply, durationMs });
    post(driven, { event: { kind: 'replied', branch: id, operation, ...reply }, losses: 0 });
  }
}

function isDue({ due }: Driven, { branch, operation, before }: CallEffect, now: Instant): boolean {
  if (before !== undefined && before <= now) return false;
  return due.some((effect) => effect.kind === 'call' && effect.branch === branch && effect.operation === operation);
}

function callOf(transaction: GlobalTransaction, branch: Branch, operation: Operation, url: string): BranchCall {
  const { gid, mode, protocol, headers, name } = transaction;
  const { payload, isNative, results } = branch;
  const request = branch.requests?.[operation];
  const resolution = resolutionOf(branch);
  return {
    gid,
    mode,
    branch: branch.id,
    operation,
    url,
    timeoutMs: branch.requestTimeoutMs ?? transaction.requestTimeoutMs,
    ...(protocol === undefined || isNative === true ? {} : { protocol }),
    ...(headers === undefined ? {} : { headers }),
    ...(payload === undefined ? {} : { payload }),
    ...(name === undefined ? {} : { name }),
    ...(request === undefined ? {} : { request }),
    ...(results === undefined ? {} : { results }),
    ...(resolution === undefined ? {} : { resolution }),
  };
}
