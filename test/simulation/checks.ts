/** What must hold of every branch call when it leaves the coordinator, when a transaction is over, and when the world has come to rest. */
import { isFinal, type BranchId, type CallResult, type Gid } from '../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { operationFor } from '../../src/engine/operations.ts';
import { STATUS_RULES } from '../../src/engine/status.ts';
import type { BranchCall, Store } from '../../src/runner/ports.ts';
import { outcomeOf, type History } from './history.ts';
import type { Participant } from './participant.ts';
import type { SimulatedStore } from './store.ts';

interface Ended {
  readonly at: number;
  readonly result: CallResult;
}

/** Which branches anybody has been told to be done with, or dirty; shared by all coordinators. */
export type Told = Map<Gid, Set<BranchId>>;

/** The checks of one life of a coordinator. */
export class CallChecks {
  readonly #history: History;
  readonly #store: SimulatedStore;
  readonly #told: Told;
  /** Lease instants can only be compared when the clocks agree. */
  readonly #clocksAgree: boolean;
  readonly #inFlight = new Set<string>();
  readonly #ended = new Map<Gid, Map<BranchId, Ended>>();

  constructor(history: History, store: SimulatedStore, told: Told, clocksAgree: boolean) {
    this.#history = history;
    this.#store = store;
    this.#told = told;
    this.#clocksAgree = clocksAgree;
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

  forget(gid: Gid): void {
    this.#ended.delete(gid);
  }

  started(owner: string, call: BranchCall, now: number): void {
    const { gid, branch, operation } = call;
    const name = `${operation} ${branch} of ${gid}`;
    this.#history.note(`${owner} calls ${name} at ${call.url}`);
    this.#history.sawOutcome(gid, outcomeOf(operation), `branch ${branch}`);
    this.#checkDecision(call, name);
    this.#checkLease(owner, call, name, now);
    this.#checkOrder(call, name);
    this.#checkPace(call, name, now);
    const key = `${gid}/${branch}`;
    if (this.#inFlight.has(key)) this.#history.violated('calls in flight', `${name} is in flight and is made again`);
    this.#inFlight.add(key);
  }

  /** `isAborted`: the coordinator let go of the call, so its answer counts for nothing. */
  ended(call: BranchCall, result: CallResult, isAborted: boolean, now: number): void {
    this.#inFlight.delete(`${call.gid}/${call.branch}`);
    if (isAborted) return;
    const ended = this.#ended.get(call.gid) ?? new Map<BranchId, Ended>();
    this.#ended.set(call.gid, ended.set(call.branch, { at: now, result }));
    if (result !== 'success' && result !== 'dirty') return;
    this.#told.set(call.gid, (this.#told.get(call.gid) ?? new Set()).add(call.branch));
  }

  #checkDecision({ gid, operation }: BranchCall, name: string): void {
    const durable = this.#store.durable(gid);
    const outcome = durable && STATUS_RULES[durable.stored.transaction.status].outcome;
    if (outcome !== outcomeOf(operation)) {
      this.#history.violated('S7 log before act', `${name} was called while the store says ${outcome}`);
    }
  }

  #checkLease(owner: string, { gid }: BranchCall, name: string, now: number): void {
    const row = this.#store.rows().get(gid);
    if (row === undefined || this.#store.disturbed.has(gid) || !this.#clocksAgree) return;
    if (row.owner !== owner || row.leaseUntil <= now) {
      this.#history.violated('S20 single driver', `${name} was called by ${owner} without a lease`);
    }
  }

  #checkOrder({ gid, branch, operation }: BranchCall, name: string): void {
    if (outcomeOf(operation) !== 'rollback') return;
    const branches = this.#store.rows().get(gid)?.stored.transaction.branches ?? [];
    const sequence = branches.find(({ id }) => id === branch)?.sequence ?? 0;
    for (const later of branches) {
      if (later.sequence <= sequence || operationFor(later.kind, 'rollback') === undefined) continue;
      if (!this.#told.get(gid)?.has(later.id)) {
        this.#history.violated('reverse order', `${name} was called before branch ${later.id} was rolled back`);
      }
    }
  }

  #checkPace({ gid, branch }: BranchCall, name: string, now: number): void {
    const last = this.#ended.get(gid)?.get(branch);
    if (last === undefined || this.#store.disturbed.has(gid)) return;
    if (last.result === 'success') this.#history.violated('L3 bounded retry', `${name} was called after its success`);
    const firstMs = this.#store.rows().get(gid)?.stored.transaction.retryIntervalMs ?? 0;
    if (now - last.at < firstMs / 2) {
      this.#history.violated(
        'L3 bounded retry',
        `${name} was called ${now - last.at} ms after an answer ${last.result}`,
      );
    }
  }
}

/** A final state is written only when every participant has done what it says. */
export function checkFinal(
  transaction: GlobalTransaction,
  participants: readonly Participant[],
  history: History,
): void {
  const { gid, status, branches } = transaction;
  for (const participant of participants) {
    if (!branches.some(({ resource }) => resource === participant.name)) continue;
    const { committed, fenced } = participant.state(gid);
    const isDone = status === 'succeed' ? committed : fenced;
    if (!isDone) history.violated('S3 atomic outcome', `${gid} is ${status}, and ${participant.name} has not done it`);
  }
}

/** Everything is decided and done, once and everywhere, or waits for the operator and says so. */
export function checkEnd(store: SimulatedStore, participants: readonly Participant[], history: History): void {
  for (const { stored } of store.rows().values()) {
    const { transaction } = stored;
    if (isFinal(transaction.status)) history.count(transaction.status === 'succeed' ? 'committed' : 'rolled back');
    else if (isLeftToOperator(transaction, participants)) history.count('dirty branch left to the operator');
    else
      history.violated('L1 progress', `${transaction.gid} is still ${transaction.status} long after everything works`);
  }
  for (const participant of participants) {
    for (const gid of participant.gids())
      checkEffect(gid, participant, store.rows().get(gid)?.stored.transaction, history);
  }
}

function checkEffect(
  gid: Gid,
  participant: Participant,
  transaction: GlobalTransaction | undefined,
  history: History,
): void {
  const { effect, landed, changed } = participant.state(gid);
  const branch = transaction?.branches.find(({ resource }) => resource === participant.name);
  if (transaction === undefined) return history.violated('S2 no lost gid', `${gid} is lost`);
  if (branch === undefined) {
    if (landed)
      history.violated(
        'S9 no registration after decision',
        `${participant.name} took part in ${gid} and is no branch of it`,
      );
    return;
  }
  const expected = transaction.status === 'succeed' || (branch.status === 'dirty' && changed) ? 1 : 0;
  if (effect !== expected) {
    history.violated(
      'S4 exactly-once effect',
      `${gid} is ${transaction.status}; its effect at ${participant.name} is ${effect}`,
    );
  }
}

/** True when nothing can go on before somebody has looked at the rows of a dirty branch. */
export function isLeftToOperator(transaction: GlobalTransaction, participants: readonly Participant[]): boolean {
  return (
    transaction.status === 'aborting' &&
    transaction.branches.every((branch) => {
      const participant = participants.find(({ name }) => name === branch.resource);
      return (
        branch.status === 'succeed' ||
        (branch.status === 'dirty' && participant?.state(transaction.gid).changed === true)
      );
    })
  );
}
