/** Workflow: a program at the initiator that records each step, may die anywhere, and is called to run again. */
import type { NewTransaction } from '../../../src/contract/new-transaction.ts';
import type { CallResult, Gid, Operation } from '../../../src/contract/transaction.ts';
import { branchIdOf } from '../../../src/engine/branches/id.ts';
import type { Event } from '../../../src/engine/event.ts';
import type { GlobalTransaction, Progress } from '../../../src/engine/global-transaction.ts';
import type { Participant } from '../participants/participant.ts';
import type { Initiator } from './initiator.ts';

export async function runWorkflow(initiator: Initiator): Promise<void> {
  const { world, name } = initiator;
  const { random } = world;
  const gid = name as Gid;
  const durations = initiator.drawDurations();
  const request: NewTransaction = {
    gid,
    mode: 'workflow',
    identity: name,
    protocol: 'http',
    steps: [],
    ...durations,
    // Shorter than some steps, so that runs meet each other.
    timeoutMs: random.between(150, 1500),
    callback: { url: `http://${initiator.host}/workflow`, name: 'trip' },
  };
  const program = new Program(
    initiator,
    gid,
    Array.from({ length: random.between(1, 3) }, () => random.pick(world.participants)),
  );
  world.serve(initiator.host, async () => {
    world.history.count('workflow run again by a call');
    return (await program.run()) ? 'success' : 'ongoing';
  });
  if (!(await initiator.start(request, 'prepared'))) return;
  world.atEnd(() => program.check());
  await program.run();
  if (random.chance(0.2)) await program.contradict();
  if (random.chance(0.5)) await initiator.waitForEnd(gid);
}

class Program {
  readonly #initiator: Initiator;
  readonly #gid: Gid;
  readonly #steps: readonly Participant[];

  constructor(initiator: Initiator, gid: Gid, steps: readonly Participant[]) {
    this.#initiator = initiator;
    this.#gid = gid;
    this.#steps = steps;
  }

  /** Runs from what is recorded to the end, if it gets there. True when the workflow has ended. */
  async run(): Promise<boolean> {
    const found = await this.#happen({ kind: 'resume' });
    if (found === undefined) return false;
    if (found.finishedAt !== undefined) return true;
    for (const index of this.#steps.keys()) {
      const status = await this.#step(found, index, 'action');
      if (status === undefined || this.#dies()) return false;
      if (status === 'failed') return this.#takeBack(found, index);
    }
    return (await this.#happen({ kind: 'conclude', status: 'succeed' })) !== undefined;
  }

  /** A run of another version of the program says that it ended the other way round, which comes too late. */
  async contradict(): Promise<void> {
    const { status } = this.#initiator.world.store.durable(this.#gid)?.stored.transaction ?? {};
    if (status !== 'succeed' && status !== 'failed') return;
    await this.#happen({ kind: 'conclude', status: status === 'succeed' ? 'failed' : 'succeed' });
  }

  /** Everything has ended as the coordinator says. */
  check(): void {
    const { world } = this.#initiator;
    const status = world.store.rows().get(this.#gid)?.stored.transaction.status;
    for (const [index, participant] of this.#steps.entries()) {
      const effect = participant.branches.state(this.#gid, branchIdOf(index + 1))?.effect ?? 0;
      if (effect === (status === 'succeed' ? 1 : 0)) continue;
      world.history.violated(
        'S3 atomic outcome',
        `workflow ${this.#gid} is ${status}; the effect of step ${index + 1} is ${effect}`,
      );
    }
  }

  /** The failed step too: its failure may be an answer to the second call. */
  async #takeBack(found: GlobalTransaction, failed: number): Promise<boolean> {
    for (let index = failed; index >= 0; index -= 1) {
      if ((await this.#step(found, index, 'compensate')) === undefined || this.#dies()) return false;
    }
    return (await this.#happen({ kind: 'conclude', status: 'failed', reason: 'no room' })) !== undefined;
  }

  /** How the step ended; undefined when this run must stop, because that is not known or another run knows better. */
  async #step(
    { progress = [] }: GlobalTransaction,
    index: number,
    operation: Operation,
  ): Promise<Progress['status'] | undefined> {
    const { world } = this.#initiator;
    const branch = branchIdOf(index + 1);
    const known = progress.find((step) => step.branch === branch && step.operation === operation);
    if (known !== undefined) return known.status;
    await world.time.sleep(world.random.between(1, world.happens('local commit is late') ? 1000 : 50));
    const host = `${this.#steps[index]?.name ?? ''}.1`;
    const url = `http://${host}/${operation}`;
    const result = await world.callDirectly({ gid: this.#gid, mode: 'workflow', branch, operation, url });
    const status = statusOf(result, operation);
    if (status === undefined) return undefined;
    const step: Progress = { branch, operation, status, data: '' };
    return (await this.#happen({ kind: 'record', step })) === undefined ? undefined : status;
  }

  async #happen(event: Event): Promise<GlobalTransaction | undefined> {
    const { world } = this.#initiator;
    const outcome = await this.#initiator.repeat(
      (runner) => runner.happen(this.#gid, event),
      (transaction) => {
        world.history.sawTransaction(transaction, this.#initiator.name);
        this.#initiator.isDurable('S2 no lost step', this.#gid, ({ status, progress = [] }) => {
          if (event.kind === 'conclude') return status === event.status;
          return (
            event.kind !== 'record' ||
            progress.some(({ branch, operation }) => branch === event.step.branch && operation === event.step.operation)
          );
        });
      },
    );
    if (outcome?.ok === false && event.kind === 'record') {
      world.history.count('step of a workflow recorded by another run');
    }
    return outcome?.ok === true ? outcome.value : undefined;
  }

  #dies(): boolean {
    return this.#initiator.world.happens('client falls silent');
  }
}

function statusOf(result: CallResult, operation: Operation): Progress['status'] | undefined {
  if (result === 'success') return 'succeed';
  return result === 'failure' && operation === 'action' ? 'failed' : undefined;
}
