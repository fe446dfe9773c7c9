/** Applications: they begin, take part, and ask for commit or rollback, repeat themselves, and now and then fall silent. */
import type { CodedError } from '../../src/contract/errors.ts';
import type { BeginRequest } from '../../src/contract/messages.ts';
import { isFinal, type Gid } from '../../src/contract/transaction.ts';
import { requestIdentity } from '../../src/engine/begin.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { STATUS_RULES, type Outcome as Decided } from '../../src/engine/status.ts';
import type { Outcome, Runner } from '../../src/runner/runner.ts';
import type { Participant } from './participant.ts';
import type { World } from './world.ts';

const ATTEMPTS = 6;

/** One application's global transaction, from begin to whatever end it takes. */
export class Client {
  readonly #world: World;
  readonly #name: string;

  constructor(world: World, name: string) {
    this.#world = world;
    this.#name = name;
  }

  async run(): Promise<void> {
    const { random, time } = this.#world;
    await time.sleep(random.between(0, 2000));
    const gid = await this.#begin();
    if (gid === undefined) return;
    const participants = this.#world.participants.filter(() => random.chance(0.6));
    const joined = await Promise.all(participants.map((participant) => this.#join(gid, participant)));
    if (this.#world.happens('client falls silent')) return;
    const isGood = joined.every((landed) => landed);
    if (isGood && this.#world.happens('submit and abort race'))
      await Promise.all([this.#submit(gid), this.#abort(gid)]);
    else if (isGood && random.chance(0.85)) await this.#submit(gid);
    else await this.#abort(gid);
    if (random.chance(0.5)) await this.#waitForEnd(gid);
  }

  async #begin(): Promise<Gid | undefined> {
    const { random } = this.#world;
    const request: BeginRequest = {
      ...(random.chance(0.6) ? { gid: this.#name as Gid } : {}),
      timeoutMs: random.between(500, 6000),
      retryIntervalMs: random.between(20, 150),
      requestTimeoutMs: random.between(100, 500),
      initiator: this.#name,
    };
    const outcome = await this.#repeat(
      (runner) => runner.begin(request),
      ({ transaction, created }) => {
        this.#isDurable('S2 no lost gid', transaction.gid, () => true);
        if (!created) this.#world.history.count('begin answered from what was there');
        if (requestIdentity(request) !== requestIdentity({ ...request, ...transactionRequest(transaction) })) {
          this.#world.history.violated('S27 idempotent begin', `${transaction.gid} was answered for another request`);
        }
      },
    );
    if (outcome?.ok !== true) return undefined;
    const { gid } = outcome.value.transaction;
    if (this.#world.happens('begin comes again with another request')) {
      const other = { ...request, gid, timeoutMs: 7000 };
      await this.#repeat(
        (runner) => runner.begin(other),
        () => {
          this.#world.history.violated('S27 idempotent begin', `${gid} was begun again with another request`);
        },
      );
    }
    return gid;
  }

  /** The branch is enlisted before its local commit, which may come late. True when the application knows that it has landed. */
  async #join(gid: Gid, participant: Participant): Promise<boolean> {
    const { random, time } = this.#world;
    await time.sleep(random.between(1, 60));
    const replicas = random.chance(0.5) ? ['1', '2'] : ['1'];
    for (const replica of replicas) {
      const base = `http://${participant.name}.${replica}`;
      const request = {
        kind: 'undo' as const,
        resource: participant.name,
        operations: { commit: `${base}/commit`, rollback: `${base}/rollback` },
      };
      const outcome = await this.#repeat(
        (runner) => runner.enlist(gid, request),
        ({ branchId }) => {
          this.#isDurable('S2 no lost branch', gid, ({ branches }) =>
            branches.some(({ id, resource }) => id === branchId && resource === participant.name),
          );
        },
      );
      if (outcome?.ok !== true) return false;
    }
    if (this.#world.happens('local commit fails')) return false;
    const isLate = this.#world.happens('local commit is late');
    const landing = time.sleep(isLate ? random.between(500, 8000) : random.between(1, 30)).then(() => {
      return participant.land(gid, this.#world.happens('row is changed by somebody else')) === 'landed';
    });
    return Promise.race([landing, time.sleep(1500).then(() => false)]);
  }

  #submit(gid: Gid): Promise<unknown> {
    return this.#repeat(
      (runner) => runner.submit(gid),
      () => this.#isDecided(gid, 'commit'),
      (error) => {
        if (error.code !== 'TRANSACTION_ROLLED_BACK') return;
        this.#world.history.count('submit answered rolled back');
        this.#isDecided(gid, 'rollback');
      },
    );
  }

  #abort(gid: Gid): Promise<unknown> {
    return this.#repeat(
      (runner) => runner.abort(gid, { reason: 'changed my mind' }),
      () => this.#isDecided(gid, 'rollback'),
      (error) => {
        if (error.code === 'TRANSACTION_DECIDED') this.#isDecided(gid, 'commit');
      },
    );
  }

  async #waitForEnd(gid: Gid): Promise<void> {
    const { history } = this.#world;
    const outcome = await this.#world.ask(
      (runner) => runner.waitForEnd(gid, 3000, new AbortController().signal),
      (answer) => {
        if (!answer.ok) return;
        history.sawTransaction(answer.value, `${this.#name}, waiting`);
        if (isFinal(answer.value.status)) history.count('waiter told of the end');
      },
      4000,
    );
    if (outcome?.ok === false && outcome.error.code === 'GID_UNKNOWN') {
      history.violated('S2 no lost gid', `${gid} is unknown to one who waits for it`);
    }
  }

  /** Asks until there is a definite answer, or until patience is over. `see` sees every answer that leaves a coordinator. */
  async #repeat<T>(
    run: (runner: Runner) => Promise<Outcome<T>>,
    seeValue: (value: T) => void,
    seeError: (error: CodedError) => void = () => undefined,
  ): Promise<Outcome<T> | undefined> {
    const { random, time, history } = this.#world;
    const see = (outcome: Outcome<T>): void => {
      if (outcome.ok) return seeValue(outcome.value);
      if (outcome.error.code === 'TRANSACTION_DECIDED') history.count('enlist refused after the decision');
      seeError(outcome.error);
    };
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const outcome = await this.#world.ask(run, see, 800);
      if (outcome !== undefined && (outcome.ok || outcome.error.retry === 'never')) return outcome;
      await time.sleep(random.between(10, 300));
    }
    return undefined;
  }

  #isDecided(gid: Gid, outcome: Decided): void {
    this.#world.history.sawOutcome(gid, outcome, this.#name);
    this.#isDurable('S2 no lost decision', gid, ({ status }) => STATUS_RULES[status].outcome === outcome);
  }

  #isDurable(property: string, gid: Gid, holds: (transaction: GlobalTransaction) => boolean): void {
    const row = this.#world.store.durable(gid);
    if (row === undefined || !holds(row.stored.transaction)) {
      this.#world.history.violated(property, `what ${this.#name} was told of ${gid} would not survive a crash now`);
    }
  }
}

/** The request that a transaction says it was begun with. */
function transactionRequest(transaction: GlobalTransaction): Partial<BeginRequest> {
  const { createdAt, deadline, retryIntervalMs, requestTimeoutMs, initiator } = transaction;
  return {
    timeoutMs: deadline - createdAt,
    retryIntervalMs,
    requestTimeoutMs,
    ...(initiator === undefined ? {} : { initiator }),
  };
}
