/** What must hold of every branch call when it leaves a coordinator. */
import type { BranchId, CallResult, Gid, Operation } from '../../../src/contract/transaction.ts';
import type { Branch, GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import { STATUS_RULES } from '../../../src/engine/status.ts';
import type { BranchCall, Store } from '../../../src/runner/ports.ts';
import { outcomeAskedBy, type History } from '../history.ts';
import type { SimulatedStore } from '../store.ts';
import type { Ledger } from './ledger.ts';
import { before } from './sequence.ts';

interface Ended {
  readonly at: number;
  readonly result: CallResult;
}

export interface CallChecksOptions {
  readonly history: History;
  readonly store: SimulatedStore;
  /** Shared by all coordinators. */
  readonly ledger: Ledger;
  /** Instants of leases and delays can only be compared when the clocks agree. */
  readonly clocksAgree: boolean;
}

/** The checks of one life of a coordinator. */
export class CallChecks {
  readonly #options: CallChecksOptions;
  readonly #inFlight = new Set<string>();
  /** By gid, then by operation and branch. */
  readonly #ended = new Map<Gid, Map<string, Ended>>();

  constructor(options: CallChecksOptions) {
    this.#options = options;
  }

  /** Sees when this coordinator cannot know any more what it knew of a transaction. */
  watch(store: Store): Store {
    return {
      ...store,
      save: async (next, ...rest) => {
        try {
          const saved = await store.save(next, ...rest);
          if (saved === 'conflict') this.forget(next.gid);
          return saved;
        } catch (error) {
          this.forget(next.gid);
          throw error;
        }
      },
      renew: async (gids, lease) => {
        const lost = await store.renew(gids, lease);
        for (const gid of lost) this.forget(gid);
        return lost;
      },
    };
  }

  /** What this coordinator was answered before does not bind it any more. */
  forget(gid: Gid): void {
    this.#ended.delete(gid);
  }

  forgetAll(): void {
    this.#ended.clear();
  }

  /** True while a call of this coordinator for the transaction is in flight. */
  isCalling(gid: Gid): boolean {
    return [...this.#inFlight].some((key) => key.startsWith(`${gid}/`));
  }

  started(owner: string, call: BranchCall, now: number): void {
    const { history, ledger } = this.#options;
    const { gid, mode, branch, operation } = call;
    const name = `${operation} ${branch} of ${gid}`;
    history.note(`${owner} calls ${name} at ${call.url}`);
    history.sawOutcome(gid, outcomeAskedBy(mode, operation), `branch ${branch}`);
    ledger.ask(gid, branch, operation);
    this.#checkDecision(call, name);
    this.#checkLease(owner, call, name, now);
    this.#checkOrder(call, name);
    this.#checkPace(call, name, now);
    const key = `${gid}/${branch}`;
    if (this.#inFlight.has(key)) history.violated('calls in flight', `${name}: a call to the branch is in flight`);
    this.#inFlight.add(key);
  }

  /** `isAborted`: the coordinator let go of the call, so its answer counts for nothing. */
  ended(call: BranchCall, result: CallResult, isAborted: boolean, now: number): void {
    const { gid, branch, operation } = call;
    this.#inFlight.delete(`${gid}/${branch}`);
    if (isAborted) return;
    const ended = this.#ended.get(gid) ?? new Map<string, Ended>();
    this.#ended.set(gid, ended.set(`${operation} ${branch}`, { at: now, result }));
    if (result === 'success' || result === 'dirty') this.#options.ledger.tell(gid, branch, operation);
    if (result === 'failure' && operation === 'action') this.#options.ledger.refuse(gid, branch);
  }

  /** What a recovery would find right now allows the call. */
  #checkDecision({ gid, mode, branch, operation }: BranchCall, name: string): void {
    const { history, store } = this.#options;
    const transaction = store.durable(gid)?.stored.transaction;
    const outcome = transaction && STATUS_RULES[transaction.status].outcome;
    const isWrong =
      operation === 'msg' || operation === 'workflow'
        ? outcome === undefined || (this.#isCurrent(gid) && outcome !== 'undecided')
        : mode === 'saga' && operation === 'action'
          ? outcome === undefined || (this.#isCurrent(gid) && outcome !== 'commit')
          : outcome !== outcomeAskedBy(mode, operation);
    if (isWrong) history.violated('S7 log before act', `${name} was called while the store says ${outcome}`);
    if (transaction?.finishedAt !== undefined && this.#isCurrent(gid)) {
      history.violated('S19 nothing after the end', `${name} was called, and the transaction is ${transaction.status}`);
    }
    const known = transaction?.branches.find(({ id }) => id === branch);
    if (known !== undefined && this.#isCurrent(gid) && isDone(known, operation)) {
      history.violated('L3 bounded retry', `${name} was called, and the store knows that it is done`);
    }
    if (known !== undefined && known.attempts >= (known.attemptsMax ?? Infinity)) {
      history.violated('L3 bounded retry', `${name} was called more often than its sender wished`);
    }
    if (transaction?.mode === 'saga' && operation === 'action' && !isReached(transaction, branch)) {
      history.violated('S7 log before act', `${name} was called, and a recovery would not compensate it`);
    }
  }

  #checkLease(owner: string, { gid }: BranchCall, name: string, now: number): void {
    const row = this.#options.store.rows().get(gid);
    if (row === undefined || !this.#isCurrent(gid)) return;
    if (row.owner !== owner || row.leaseUntil <= now) {
      this.#options.history.violated('S20 single driver', `${name} was called by ${owner} without a lease`);
    }
  }

  /** True when a coordinator can know by the clock that nobody else drives the transaction. */
  #isCurrent(gid: Gid): boolean {
    return this.#options.clocksAgree && !this.#options.store.disturbed.has(gid);
  }

  #checkOrder({ gid, branch, operation }: BranchCall, name: string): void {
    const { history, store, ledger } = this.#options;
    const transaction = store.rows().get(gid)?.stored.transaction;
    if (transaction === undefined) return;
    for (const first of before(transaction, branch, operation)) {
      if (ledger.isTold(gid, first.branch, first.operation)) continue;
      history.violated('order', `${name} was called before ${first.operation} ${first.branch} was done`);
    }
  }

  #checkPace({ gid, mode, branch, operation }: BranchCall, name: string, now: number): void {
    const { history, store } = this.#options;
    const transaction = store.rows().get(gid)?.stored.transaction;
    if (transaction?.holdUntil !== undefined && operation === 'action' && this.#isCurrent(gid)) {
      if (now < transaction.holdUntil) history.violated('delay', `${name} was called before its time`);
    }
    const known = transaction?.branches.find(({ id }) => id === branch);
    const isHeld = known?.delayMs !== undefined && known.attempts === 0 && this.#isCurrent(gid);
    if (isHeld && now < (known.notBefore ?? now)) history.violated('delay', `${name} was called before its time`);
    const isBounded = (mode === 'saga' && operation === 'action') || (mode === 'mesh' && operation === 'workflow');
    const isTimed = isBounded && transaction?.deadline !== undefined;
    if (isTimed && this.#isCurrent(gid) && now >= transaction.deadline) {
      history.violated('deadline', `${name} was called after the deadline`);
    }
    const last = this.#ended.get(gid)?.get(`${operation} ${branch}`);
    if (last === undefined || store.disturbed.has(gid)) return;
    if (last.result === 'success' && operation !== 'workflow') {
      history.violated('L3 bounded retry', `${name} was called after its success`);
    }
    if (now - last.at < (known?.retryIntervalMs ?? transaction?.retryIntervalMs ?? 0) / 2) {
      history.violated('L3 bounded retry', `${name} was called ${now - last.at} ms after an answer ${last.result}`);
    }
  }
}

function isDone({ status, action }: Branch, operation: Operation): boolean {
  return status === 'succeed' || status === 'abandoned' || (operation === 'action' && action !== undefined);
}

/** Every action before this one is known to have succeeded. */
function isReached(transaction: GlobalTransaction, branch: BranchId): boolean {
  return before(transaction, branch, 'action').every(
    ({ branch: other }) => transaction.branches.find(({ id }) => id === other)?.action === 'succeed',
  );
}
