/**
 * Waiting for row locks that other global transactions hold. Those who wait for one row stand in a line: the first looks again and
 * again, the others when it is their turn, so that a hot row costs one try at a time and nobody is overtaken by one who waits as
 * well. Whoever has locks in the database looks without waiting for its turn. Two who wait for each other are found out at once, as
 * far as both wait in this sidecar.
 */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { GlobalStatus, Gid, Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import { NOBODY } from '../sql/work.ts';

/** What a statement has run into. */
export interface LockConflict {
  readonly holder: Gid;
  /** Of the row lock: its relation and its key. */
  readonly row: RowName;
  /** The local transaction that waits keeps local locks which the holder's rollback may need. */
  readonly keepsLocks: boolean;
  /** It has locks in the database, of whatever kind: the first of the line may wait there for it. So it never waits for its turn. */
  readonly holdsLocks: boolean;
}

/** The columns `relation` and `key` of a row of atomesh.row_lock. */
export interface RowName {
  readonly relation: string;
  readonly key: string;
}

/**
 * - `committed`: the holder is decided to commit, so its locks may be taken over at once.
 * - `rolling-back`: the holder is decided to roll back, and the local transaction that waits may stand in its way.
 * - `deadlock`: the holder waits for a row of the one who would wait for it.
 * - `retry`: run the statement again.
 * - `timeout`: the deadline has passed.
 */
export type LockWaitResult = 'committed' | 'rolling-back' | 'deadlock' | 'retry' | 'timeout';

/** One statement that may have to wait, from its first try to its end. */
export interface LockWaiter {
  /** Waits a while for the holder to give way, never beyond the deadline. Never rejects: a coordinator that is silent has said nothing. */
  wait(conflict: LockConflict): Promise<LockWaitResult>;
  /** The statement has run, and so has the row, or it is given up. */
  end(isTaken: boolean): void;
}

/** A statement that waits: for a global transaction, or for `NOBODY`. */
export interface Waiting {
  readonly gid: Gid;
  readonly holder: Gid;
  readonly row: RowName;
  readonly since: Instant;
}

export interface LockHolders {
  /** `deadline`: in milliseconds since the epoch. */
  waiter(gid: Gid, deadline: number): LockWaiter;
  /** When a statement that will lock rows of these relations may run for the first time; undefined: now. Never long. Object ids, or names. */
  turn(relations: readonly (number | string)[]): Promise<unknown> | undefined;
  /** This sidecar is about to finish a branch of `gid`: who has waited long for it comes before those who have not begun. */
  releasing(gid: Gid): void;
  /** This sidecar has finished a branch of `gid`: whoever waits for it looks again at once. */
  released(gid: Gid): void;
  /** Who waits now, in no particular order. */
  waiting(): readonly Waiting[];
}

const PAUSE_MS_MIN = 5;
const PAUSE_MS_MAX = 200;
/** Who has waited for so long is no longer overtaken by statements that have not begun. Keeping them back costs those that want other rows. */
const LONG_MS = 200;
/** How long statements are kept back at most, for one release. */
const KEPT_BACK_MS_MAX = 50;

/** Asks the coordinator what has become of a holder, and pauses with growing intervals while it is undecided. */
export function createLockHolders(coordinator: CoordinatorClient): LockHolders {
  return new Holders(coordinator);
}

/** A statement in the line for a row. The first of the line asks and sleeps; the others wait for their turn. */
interface Place {
  readonly gid: Gid;
  readonly row: RowName;
  readonly since: Instant;
  readonly line: Place[];
  holder: Gid;
  keepsLocks: boolean;
  holdsLocks: boolean;
  /** While others are kept back for it: ends that. */
  served: { readonly over: Promise<void>; readonly end: () => void } | undefined;
  /** Ends what it waits for now: its turn or its sleep. */
  wake: (why: 'turn' | 'released' | 'rolling-back') => void;
}

class Holders implements LockHolders {
  readonly #coordinator: CoordinatorClient;
  /** By row; no line is empty. */
  readonly #lines = new Map<string, Place[]>();
  readonly #byGid = new Map<Gid, Set<Place>>();
  readonly #byHolder = new Map<Gid, Set<Place>>();
  /** Those that others are kept back for, by relation. */
  readonly #served = new Map<string, Set<Place>>();

  constructor(coordinator: CoordinatorClient) {
    this.#coordinator = coordinator;
  }

  waiter(gid: Gid, deadline: number): LockWaiter {
    let place: Place | undefined;
    let tries = 0;
    return {
      wait: async (conflict) => {
        tries += 1;
        place?.served?.end();
        if (place !== undefined && rowText(place.row) !== rowText(conflict.row)) {
          this.#leave(place, false);
          place = undefined;
        }
        if (now() >= deadline) return 'timeout';
        place ??= this.#join(gid, conflict);
        this.#meet(place, conflict.holder);
        place.keepsLocks = conflict.keepsLocks;
        place.holdsLocks = conflict.holdsLocks;
        if (this.#isDeadlock(place)) return 'deadlock';
        return this.#wait(place, deadline, tries);
      },
      end: (isTaken) => {
        if (place !== undefined) this.#leave(place, isTaken);
        place = undefined;
      },
    };
  }

  turn(relations: readonly (number | string)[]): Promise<unknown> | undefined {
    if (this.#served.size === 0) return undefined;
    const before = relations.flatMap((relation) => [...(this.#served.get(String(relation)) ?? [])]);
    return before.length === 0 ? undefined : Promise.all(before.flatMap(({ served }) => served?.over ?? []));
  }

  releasing(gid: Gid): void {
    for (const place of this.#byHolder.get(gid) ?? []) {
      if (place.line[0] === place && place.served === undefined && now() - place.since >= LONG_MS) this.#serve(place);
    }
  }

  #serve(place: Place): void {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const { relation } = place.row;
    const end = (): void => {
      cancel();
      place.served = undefined;
      drop(this.#served, relation, place);
      resolve();
    };
    const cancel = at((now() + KEPT_BACK_MS_MAX) as Instant, end);
    place.served = { over, end };
    add(this.#served, relation, place);
  }

  released(gid: Gid): void {
    for (const place of this.#byHolder.get(gid) ?? []) place.wake('released');
  }

  waiting(): readonly Waiting[] {
    return [...this.#byGid.values()].flatMap((places) =>
      [...places].map(({ gid, holder, row, since }) => ({ gid, holder, row, since })),
    );
  }

  async #wait(place: Place, deadline: number, tries: number): Promise<LockWaitResult> {
    while (place.line[0] !== place && !place.holdsLocks) {
      const woken = await asleep(place, deadline);
      if (woken === 'rolling-back') return 'rolling-back';
      if (woken === 'time') return 'timeout';
    }
    const status: GlobalStatus | undefined = await this.#coordinator.read(place.holder).then(
      (transaction) => transaction?.status,
      () => undefined,
    );
    if (status === 'submitted' || status === 'succeed') return 'committed';
    if (status === 'aborting') {
      for (const other of place.line) {
        if (other !== place && other.keepsLocks && other.holder === place.holder) other.wake('rolling-back');
      }
      if (place.keepsLocks) return 'rolling-back';
    }
    const pause = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(tries, 10));
    await asleep(place, Math.min(deadline, now() + pause));
    return 'retry';
  }

  #join(gid: Gid, { row, holder, keepsLocks, holdsLocks }: LockConflict): Place {
    const line = this.#lines.get(rowText(row)) ?? [];
    this.#lines.set(rowText(row), line);
    const place: Place = {
      gid,
      row,
      since: now(),
      line,
      holder,
      keepsLocks,
      holdsLocks,
      served: undefined,
      wake: () => undefined,
    };
    line.push(place);
    // The first asks again: one that keeps locks must hear at once of a holder that is rolled back.
    if (keepsLocks && line[0] !== place) line[0]?.wake('released');
    add(this.#byGid, gid, place);
    add(this.#byHolder, holder, place);
    return place;
  }

  #meet(place: Place, holder: Gid): void {
    drop(this.#byHolder, place.holder, place);
    place.holder = holder;
    add(this.#byHolder, holder, place);
  }

  /** The next one's turn has come: to wait for whoever has just taken the row, if it was taken. */
  #leave(place: Place, isTaken: boolean): void {
    place.served?.end();
    const { line } = place;
    const wasFirst = line[0] === place;
    line.splice(line.indexOf(place), 1);
    drop(this.#byGid, place.gid, place);
    drop(this.#byHolder, place.holder, place);
    // What is taken for nobody is nobody's: the next one finds out whose it is by then.
    if (isTaken && place.gid !== NOBODY) for (const other of line) this.#meet(other, place.gid);
    if (line.length === 0) this.#lines.delete(rowText(place.row));
    else if (wasFirst) line[0]?.wake('turn');
  }

  /** True when the holder waits, through whomever, for the one who has come to wait for it. */
  #isDeadlock({ gid, holder }: Place): boolean {
    const seen = new Set<Gid>();
    const next = [holder];
    for (let one = next.pop(); one !== undefined; one = next.pop()) {
      if (one === gid) return true;
      if (seen.has(one)) continue;
      seen.add(one);
      for (const place of this.#byGid.get(one) ?? []) next.push(place.holder);
    }
    return false;
  }
}

/** Sleeps until it is woken or the time has come. */
function asleep(place: Place, untilMs: number): Promise<'turn' | 'released' | 'rolling-back' | 'time'> {
  return new Promise((resolve) => {
    const cancel = at(untilMs as Instant, () => end('time'));
    const end = (why: 'turn' | 'released' | 'rolling-back' | 'time'): void => {
      cancel();
      place.wake = () => undefined;
      resolve(why);
    };
    place.wake = end;
  });
}

function rowText({ relation, key }: RowName): string {
  return `${relation} ${key}`;
}

function add<Key>(places: Map<Key, Set<Place>>, key: Key, place: Place): void {
  const set = places.get(key) ?? new Set();
  places.set(key, set);
  set.add(place);
}

function drop<Key>(places: Map<Key, Set<Place>>, key: Key, place: Place): void {
  const set = places.get(key);
  set?.delete(place);
  if (set?.size === 0) places.delete(key);
}
