/** A world with a seed: coordinators, a store, participants, clients, and a bad day. */
import { isFinal, type CallResult, type Gid } from '../../src/contract/transaction.ts';
import { needsAttention } from '../../src/engine/status.ts';
import type { Peers } from '../../src/runner/peers.ts';
import type { Outcome, Runner } from '../../src/runner/runner.ts';
import { CallChecks } from './checks/calls.ts';
import { checkEnd, checkFinal, isLeftToOperator, type Scene } from './checks/end.ts';
import { Ledger } from './checks/ledger.ts';
import { Life, type Story, type Variant } from './coordinator.ts';
import { drawFaults, FAULT_KINDS, type FaultKind, type Faults } from './faults.ts';
import { History, type Violation } from './history.ts';
import { Initiator } from './initiators/initiator.ts';
import { runMesh } from './initiators/mesh.ts';
import { runMeshMessage } from './initiators/mesh-message.ts';
import { runMeshWorkflow } from './initiators/mesh-workflow.ts';
import { runMessage } from './initiators/message.ts';
import { runSaga } from './initiators/saga.ts';
import { runTwoPhase } from './initiators/two-phase.ts';
import { runWorkflow } from './initiators/workflow.ts';
import { Network, type Request } from './network.ts';
import { Participant } from './participants/participant.ts';
import { peersOf } from './peers.ts';
import { Random } from './random.ts';
import { SimulatedStore } from './store.ts';
import { Time } from './time.ts';

const PEACE = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as Faults;
/** L1: long enough for the longest deadline, two leases, a scan, and the longest pause that can have built up. */
const HEALING_MS = 180_000;

/** What applications do; those of a mesh are the most. */
const INITIATORS: Readonly<Record<Story, (initiator: Initiator) => Promise<void>>> = {
  mesh: runMesh,
  saga: runSaga,
  tcc: (initiator) => runTwoPhase(initiator, 'tcc'),
  xa: (initiator) => runTwoPhase(initiator, 'xa'),
  msg: runMessage,
  workflow: runWorkflow,
  'mesh message': runMeshMessage,
  'mesh workflow': runMeshWorkflow,
};
const STORIES: readonly Story[] = [
  'mesh',
  'mesh',
  'mesh message',
  'mesh workflow',
  'saga',
  'saga',
  'tcc',
  'xa',
  'msg',
  'workflow',
];

export interface Run {
  readonly hash: string;
  readonly violation: Violation | undefined;
  readonly counts: History['counts'];
  readonly lines: readonly string[];
}

/** Lives through one seed. `variant`: what is wrong with the coordinator, if something is meant to be. */
export async function simulate(seed: number, variant: Variant = {}, keepsLines: boolean = false): Promise<Run> {
  const world = new World(seed, variant, keepsLines);
  await world.run().catch((error: unknown) => world.history.violated('L3 bounded work', String(error)));
  const { hash, violation, counts, lines } = world.history;
  return { hash, violation, counts, lines };
}

export class World {
  readonly random: Random;
  readonly time: Time = new Time();
  readonly history: History;
  readonly store: SimulatedStore;
  readonly participants: readonly Participant[];
  readonly #network: Network;
  readonly #variant: Variant;
  readonly #scene: Scene;
  readonly #names: readonly string[];
  readonly #lives: Life[];
  readonly #leaseMs: number;
  readonly #callsMax: number;
  readonly #skewsMs: readonly number[];
  /** Several coordinators share a store that outlives them; a single one has its store inside and takes it along when it dies. */
  readonly #isShared: boolean;
  /** They talk to each other; else each refuses what another one holds. */
  readonly #arePeers: boolean;
  #faults: Faults;
  /** Requests that have arrived and are not answered yet. */
  readonly #asked = new Set<{ readonly life: Life; readonly at: number }>();
  #gids = 0;
  #livesSoFar = 0;
  readonly #endings: (() => void)[] = [];
  /** After the healing an operator resolves dirty branches; else they are left as they are. */
  #isOperated = false;

  constructor(seed: number, variant: Variant, keepsLines: boolean) {
    this.random = new Random(seed);
    this.history = new History(this.time, keepsLines);
    this.#variant = variant;
    this.#faults = drawFaults(this.random);
    this.#isShared = this.random.chance(0.6);
    this.#arePeers = this.#isShared && this.random.chance(0.6);
    this.#leaseMs = this.random.between(400, 2000);
    const names = this.#isShared ? ['A', 'B', 'C'].slice(0, this.random.between(2, 3)) : ['A'];
    if (names.length === 3) this.history.count('three coordinators');
    const differ = this.#isShared && this.happens('clocks differ');
    this.#callsMax = this.random.between(1, 8);
    this.#skewsMs = names.map((_, index) => (differ && index > 0 ? this.random.between(-5000, 5000) : 0));
    this.participants = ['s1', 's2', 's3'].map((name) => new Participant(name, this.history));
    this.#scene = { participants: this.participants, history: this.history, ledger: new Ledger() };
    const common = { time: this.time, random: this.random, history: this.history, faults: () => this.#faults };
    this.store = new SimulatedStore({
      ...common,
      laws: { checksVersion: variant.checksVersion ?? true, checksLease: variant.checksLease ?? true },
      onFinal: (transaction) => checkFinal(transaction, this.#scene),
      onLeft: (owner) => this.#tellLeft(owner),
    });
    const byName = new Map(this.participants.map((participant) => [participant.name, participant]));
    this.#network = new Network({ ...common, participants: byName });
    this.#names = names;
    this.#lives = names.map((_, index) => this.#bringUp(index));
  }

  async run(): Promise<void> {
    const { random, time, history, participants } = this;
    const chaosEnds = time.now + random.between(2000, 9000);
    const clients = Array.from({ length: random.between(1, 6) }, (_, index) => this.#initiate(`c${index}`));
    let isQuiet = false;
    void Promise.all(clients).then(
      () => (isQuiet = true),
      (error: unknown) => history.violated('defect', String(error)),
    );
    for (const { name } of participants) {
      if (this.happens('replica is gone for good')) this.#network.takeDown(`${name}.2`, Number.POSITIVE_INFINITY);
    }
    this.#misfortune();
    const isBroken = (): boolean => history.violation !== undefined;
    await time.run(chaosEnds, isBroken);
    if (isBroken()) return;
    this.#heal();
    await time.run(time.now + HEALING_MS, () => isBroken() || (isQuiet && this.#isAtRest()));
    // What comes late comes now, and must change nothing.
    if (!isBroken()) await time.run(time.now + 5000, isBroken);
    if (isBroken()) return;
    this.#checkAnswered();
    if (!isQuiet) history.violated('L1 progress', 'a client still waits for an answer');
    checkEnd(this.store, this.#scene);
    for (const check of this.#endings) check();
    for (const life of this.#lives) life.crash();
  }

  /** Lets an initiator be asked at this host. */
  serve(host: string, handler: (request: Request) => Promise<CallResult>): void {
    this.#network.serve(host, handler);
  }

  /** A participant called by an initiator itself. */
  callDirectly(request: Request): Promise<CallResult> {
    return this.#network.callDirectly(request, 600);
  }

  /** Has `check` look when everything has come to rest. */
  atEnd(check: () => void): void {
    this.#endings.push(check);
  }

  /** Draws whether this kind of fault happens now. */
  happens(kind: FaultKind): boolean {
    const happens = this.random.chance(this.#faults[kind]);
    if (happens) this.history.count(kind);
    return happens;
  }

  /** Sends a request to some coordinator; undefined when no answer came in time. `see` sees each answer as it leaves a coordinator. */
  ask<T>(
    run: (runner: Runner) => Promise<Outcome<T>>,
    see: (outcome: Outcome<T>) => void,
    waitMs: number,
  ): Promise<Outcome<T> | undefined> {
    const { random, time, history } = this;
    return new Promise((resolve) => {
      time.after(waitMs, () => resolve(undefined));
      if (this.happens('request is lost')) return;
      const copies = this.happens('request is delivered twice') ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        time.after(random.between(1, 20), () => {
          const life = random.pick(this.#lives);
          const asked = { life, at: time.now };
          const arrive = async (): Promise<void> => {
            this.#asked.add(asked);
            const outcome = await run(life.runner);
            this.#asked.delete(asked);
            history.note(`${life.name} answers ${outcome.ok ? 'ok' : outcome.error.code}`);
            see(outcome);
            if (this.happens('answer to the client is lost')) return;
            time.after(random.between(1, 20), () => resolve(outcome));
          };
          life.deliver(() => void arrive().catch((error: unknown) => history.violated('defect', String(error))));
        });
      }
    });
  }

  /** True when this coordinator certainly drives the transaction, and a call for it is in flight. */
  isCalling(runner: Runner, gid: Gid): boolean {
    const life = this.#lives.find((each) => each.runner === runner);
    return !this.#isShared && life?.isAlive === true && !life.isStopping && life.checks.isCalling(gid);
  }

  async #initiate(name: string): Promise<void> {
    const { random, time } = this;
    const story = this.#variant.only ?? random.pick(STORIES);
    await time.sleep(random.between(0, 2000));
    await INITIATORS[story](new Initiator(this, name));
  }

  #bringUp(index: number): Life {
    const name = this.#names[index] ?? '';
    const skewMs = this.#skewsMs[index] ?? 0;
    const clocksAgree = this.#skewsMs.every((skew) => skew === 0) && this.#faults['clock jumps'] === 0;
    return new Life({
      // Whom events are handed to must be one process alone.
      name: this.#arePeers ? `${name}#${(this.#livesSoFar += 1)}` : name,
      time: this.time,
      skewMs,
      leaseMs: this.#leaseMs,
      callsMax: this.#callsMax,
      variant: this.#variant,
      checks: new CallChecks({ history: this.history, store: this.store, ledger: this.#scene.ledger, clocksAgree }),
      openStore: (caller) => this.store.portFor(caller),
      openTransport: (life) => this.#network.transportFor(life),
      peersOf: this.#arePeers ? (life) => this.#peersOf(life) : undefined,
      newGid: () => `made-${(this.#gids += 1)}` as Gid,
    });
  }

  #peersOf(life: Life): Peers {
    const { time, random, history, store } = this;
    const happens = (kind: FaultKind): boolean => this.happens(kind);
    return peersOf(life, { time, random, history, store, lives: () => this.#lives, happens });
  }

  /** The others hear of it, if that does not get lost. */
  #tellLeft(owner: string): void {
    for (const life of this.#lives) {
      if (life.name === owner || this.happens('peer is not reached')) continue;
      this.time.after(this.random.between(1, 10), () => life.deliver(() => life.onLeft()));
    }
  }

  /** Four times a second somebody may die, stop, or sleep too long. */
  #misfortune(): void {
    const { random, time } = this;
    time.after(250, () => {
      if (this.#faults === PEACE) return;
      for (const [index, life] of this.#lives.entries()) {
        if (!life.isAlive) continue;
        if (random.chance(this.#faults['coordinator crashes'] / 4)) this.#crash(life, index);
        else if (random.chance(this.#faults['coordinator is stopped'] / 4)) this.#stop(life, index);
        else if (random.chance(this.#faults['coordinator is paused'] / 4)) this.#pause(life);
        else if (random.chance(this.#faults['clock jumps'] / 4)) this.#setClock(life);
      }
      if (this.#isShared && random.chance(this.#faults['store loses what is not synced'] / 4)) {
        this.history.count('store loses what is not synced');
        this.store.crash();
      }
      if (random.chance(this.#faults['participant restarts'])) {
        this.history.count('participant restarts');
        this.#network.takeDown(`${random.pick(this.participants).name}.1`, time.now + random.between(100, 1500));
      }
      this.#misfortune();
    });
  }

  #crash(life: Life, index: number): void {
    this.history.count('coordinator crashes');
    life.crash();
    if (!this.#isShared) {
      this.history.count('store loses what is not synced');
      this.store.crash();
    }
    this.#restart(life, index);
  }

  #stop(life: Life, index: number): void {
    const { random, time } = this;
    this.history.count('coordinator is stopped');
    void life.stop(random.between(10, 500)).then(() => {
      if (this.#lives[index] !== life) return;
      life.crash();
      this.#restart(life, index);
    });
    // A process that does not end is killed.
    time.after(2000, () => {
      if (this.#lives[index] !== life || !life.isAlive) return;
      life.crash();
      this.#restart(life, index);
    });
  }

  #restart(life: Life, index: number): void {
    this.time.after(this.random.between(10, 1500), () => {
      if (this.#lives[index] !== life) return;
      const isOwner = [...this.store.rows().values()].some(
        ({ owner, stored }) => owner === life.name && !isFinal(stored.transaction.status),
      );
      if (isOwner) this.history.count('taken up by its owner after a restart');
      this.#lives[index] = this.#bringUp(index);
    });
  }

  #setClock(life: Life): void {
    this.history.count('clock jumps');
    life.setClock(this.random.between(-20_000, 20_000));
  }

  #pause(life: Life): void {
    if (life.isPaused) return;
    this.history.count('coordinator is paused');
    life.pause();
    this.time.after(this.random.between(50, 3 * this.#leaseMs), () => life.resume());
  }

  /** Everything works from now on, and the operator looks at half of the dirty branches. */
  #heal(): void {
    this.history.note('healed');
    this.#faults = PEACE;
    for (const [index, life] of this.#lives.entries()) {
      life.setClock(this.#skewsMs[index] ?? 0);
      life.resume();
    }
    for (const { name } of this.participants) this.#network.takeDown(`${name}.1`, 0);
    this.#isOperated = this.random.chance(0.5);
    this.#operate();
  }

  #operate(): void {
    this.time.after(1000, () => {
      for (const [gid, { stored }] of this.store.rows()) {
        if (!this.#isOperated || !needsAttention(stored.transaction)) continue;
        for (const participant of this.participants) participant.resolve(gid);
        this.history.count('dirty branch resolved by retry');
        void this.ask(
          (runner) => runner.retry(gid),
          () => undefined,
          500,
        );
      }
      for (const life of this.#lives) life.resume();
      this.#operate();
    });
  }

  /** A coordinator that lives answers everybody. */
  #checkAnswered(): void {
    for (const { life, at } of this.#asked) {
      if (!life.isAlive || this.time.now - at < 5000) continue;
      this.history.violated(
        'L1 progress',
        `a request that ${life.name} got ${this.time.now - at} ms ago is not answered`,
      );
    }
  }

  #isAtRest(): boolean {
    for (const { stored } of this.store.rows().values()) {
      if (isFinal(stored.transaction.status)) continue;
      if (this.#isOperated || !isLeftToOperator(stored.transaction, this.participants)) return false;
    }
    return true;
  }
}
