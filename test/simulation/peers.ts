/** The way from one coordinator to the others: as sure as any other way. */
import type { Gid } from '../../src/contract/transaction.ts';
import { isFinal } from '../../src/contract/transaction.ts';
import type { Event } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import type { Peers } from '../../src/runner/peers.ts';
import type { Outcome } from '../../src/runner/runner.ts';
import type { Life } from './coordinator.ts';
import type { FaultKind } from './faults.ts';
import type { History } from './history.ts';
import type { Random } from './random.ts';
import type { SimulatedStore } from './store.ts';
import type { Time } from './time.ts';

/** A holder that has not answered by then is taken for silent. */
const ANSWER_MS = 300;

export interface PeersOptions {
  readonly time: Time;
  readonly random: Random;
  readonly history: History;
  readonly store: SimulatedStore;
  /** Those who are up, or lie dead and are not back yet. */
  readonly lives: () => readonly Life[];
  readonly happens: (kind: FaultKind) => boolean;
}

/** What one coordinator sees of the others. */
export function peersOf(life: Life, options: PeersOptions): Peers {
  const { time, random, history, store, lives, happens } = options;
  const ask = async (holder: Life, gid: Gid, event: Event): Promise<Outcome<GlobalTransaction>> => {
    const outcome = await holder.runner.happenHere(gid, event);
    history.note(`${holder.name} answers ${life.name} of ${gid}: ${outcome.ok ? 'ok' : outcome.error.code}`);
    return outcome;
  };
  return {
    happen: (gid, event) => {
      const row = store.rows().get(gid);
      if (row === undefined || isFinal(row.stored.transaction.status)) return Promise.resolve(undefined);
      if (row.leaseUntil <= life.now() || row.owner === life.name) return Promise.resolve(undefined);
      const holder = lives().find(({ name }) => name === row.owner);
      return new Promise((resolve) => {
        const answer = (outcome: Outcome<GlobalTransaction> | undefined): void => life.deliver(() => resolve(outcome));
        time.after(ANSWER_MS, () => answer(undefined));
        if (holder === undefined || happens('peer is not reached')) return;
        time.after(random.between(1, 10), () =>
          holder.deliver(() => {
            history.count('event handed to the holder');
            void ask(holder, gid, event).then((outcome) => {
              // It has stopped or has lost the transaction: somebody else holds it soon.
              const isPassing = !outcome.ok && outcome.error.retry !== 'never';
              time.after(random.between(1, 10), () => answer(isPassing ? undefined : outcome));
            });
          }),
        );
      });
    },
    onDue: (listener) => {
      life.onLeft = () => {
        history.count('told that another has left work');
        listener();
      };
    },
  };
}
