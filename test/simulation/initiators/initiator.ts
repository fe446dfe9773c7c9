/** What applications of every mode do: ask, ask again when no answer comes, and hold the coordinator to what it answers. */
import type { CodedError } from '../../../src/contract/errors.ts';
import type { NewTransaction } from '../../../src/contract/new-transaction.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import { outcomeOf, type Outcome as Decided } from '../../../src/engine/status.ts';
import type { Outcome, Runner } from '../../../src/runner/runner.ts';
import type { World } from '../world.ts';

const ATTEMPTS = 6;
/** How long one who wants to be answered at the rest waits for it. */
const WAIT_MS = 2000;
const never = new AbortController().signal;

export class Initiator {
  readonly world: World;
  readonly name: string;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }

  /** Where it can be asked. */
  get host(): string {
    return `${this.name}.1`;
  }

  /** Asks until there is a definite answer, or until patience is over. `see` sees every answer that leaves a coordinator. */
  async repeat<T>(
    run: (runner: Runner) => Promise<Outcome<T>>,
    seeValue: (value: T) => void,
    seeError: (error: CodedError) => void = () => undefined,
  ): Promise<Outcome<T> | undefined> {
    const { random, time } = this.world;
    const see = (outcome: Outcome<T>): void => {
      if (outcome.ok) seeValue(outcome.value);
      else seeError(outcome.error);
    };
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const outcome = await this.world.ask(run, see, 800);
      if (outcome !== undefined && (outcome.ok || outcome.error.retry === 'never')) return outcome;
      await time.sleep(random.between(10, 300));
    }
    return undefined;
  }

  /** Begins it; true when it knows that the coordinator has it. Now and then the gid comes again with another request. */
  async start(request: NewTransaction, status: 'prepared' | 'submitted'): Promise<boolean> {
    const { history } = this.world;
    const { gid } = request;
    const isSubmitted = status === 'submitted' && request.mode === 'msg';
    const outcome = await this.repeat(
      (runner) => runner.startNew(request, status),
      ({ created }) => {
        this.isDurable('S2 no lost gid', gid, () => true);
        if (isSubmitted) this.isDecided(gid, 'commit');
        if (!created)
          history.count(status === 'submitted' ? 'submit came again' : 'begin answered from what was there');
      },
      (error) => {
        if (error.code === 'TRANSACTION_ROLLED_BACK') this.isDecided(gid, 'rollback');
      },
    );
    if (outcome?.ok !== true) return false;
    if (this.world.happens('begin comes again with another request')) {
      await this.repeat(
        (runner) => runner.startNew({ ...request, identity: 'another' }, status),
        () => history.violated('S27 idempotent begin', `${gid} was begun again with another request`),
      );
    }
    return true;
  }

  submit(gid: Gid): Promise<unknown> {
    return this.repeat(
      (runner) => runner.submit(gid),
      () => this.isDecided(gid, 'commit'),
      (error) => {
        if (error.code !== 'TRANSACTION_ROLLED_BACK') return;
        this.world.history.count('submit answered rolled back');
        this.isDecided(gid, 'rollback');
      },
    );
  }

  abort(gid: Gid): Promise<unknown> {
    return this.repeat(
      (runner) => runner.abort(gid, { reason: 'changed my mind' }),
      () => this.isDecided(gid, 'rollback'),
      (error) => {
        if (error.code === 'TRANSACTION_DECIDED') this.isDecided(gid, 'commit');
      },
    );
  }

  /** Does `act` and is answered when nothing is under way any more. */
  async andRest(
    gid: Gid,
    act: (runner: Runner) => Promise<Outcome<GlobalTransaction>>,
  ): Promise<Outcome<GlobalTransaction> | undefined> {
    const { world, name } = this;
    const { time, history } = world;
    const run = async (runner: Runner): Promise<Outcome<GlobalTransaction>> => {
      const startedAt = time.now;
      const answer = await runner.andWait(gid, WAIT_MS, never, () => act(runner));
      const isUnfinished = answer.ok && answer.value.finishedAt === undefined;
      if (isUnfinished && time.now < startedAt + WAIT_MS && world.isCalling(runner, gid)) {
        history.violated('early answer', `${name} was told that ${gid} rests, and a call is in flight`);
      }
      return answer;
    };
    const rested = await world.ask(run, (answer) => answer.ok && history.sawTransaction(answer.value, name), 3000);
    if (rested?.ok) history.count('waiter told of a rest');
    return rested;
  }

  /** An operator gives it up. */
  stop(gid: Gid): Promise<unknown> {
    return this.repeat(
      (runner) => runner.happen(gid, { kind: 'stop' }),
      () => this.isDecided(gid, 'rollback'),
    );
  }

  async waitForEnd(gid: Gid): Promise<void> {
    const { history } = this.world;
    const outcome = await this.world.ask(
      (runner) => runner.waitForEnd(gid, 3000, never),
      (answer) => {
        if (!answer.ok) return;
        history.sawTransaction(answer.value, this.name);
        if (answer.value.finishedAt !== undefined) history.count('waiter told of the end');
      },
      4000,
    );
    if (outcome?.ok === false && outcome.error.code === 'GID_UNKNOWN') {
      history.violated('S2 no lost gid', `${gid} is unknown to one who waits for it`);
    }
  }

  /** What the initiator was told stands in the store as it would be found after a crash now. */
  isDecided(gid: Gid, outcome: Decided): void {
    this.world.history.sawOutcome(gid, outcome, this.name);
    this.isDurable('S2 no lost decision', gid, (transaction) => outcomeOf(transaction) === outcome);
  }

  isDurable(property: string, gid: Gid, holds: (transaction: GlobalTransaction) => boolean): void {
    const row = this.world.store.durable(gid);
    if (row === undefined || !holds(row.stored.transaction)) {
      this.world.history.violated(property, `what ${this.name} was told of ${gid} would not survive a crash now`);
    }
  }

  /** How long this initiator wants things to take. */
  drawDurations(): Pick<NewTransaction, 'retryIntervalMs' | 'requestTimeoutMs'> {
    const { random } = this.world;
    return { retryIntervalMs: random.between(20, 150), requestTimeoutMs: random.between(100, 500) };
  }
}
