/** A mesh that is a workflow: a program of calls whose answers are recorded, run again beside itself when it seems to be dead. */
import type { StepView } from '../../../src/contract/messages.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import type { Initiator } from './initiator.ts';
import { beginMesh } from './mesh.ts';
import { drawRoute, enlistAgain, makeCall, type Route } from './routes.ts';

export async function runMeshWorkflow(initiator: Initiator): Promise<void> {
  const { world, name } = initiator;
  const { random } = world;
  const gid = name as Gid;
  const routes = Array.from({ length: random.between(1, 3) }, (_, index) => drawRoute(initiator, `call ${index}`));
  const program = new MeshProgram(initiator, gid, routes);
  const answersAtOnce = random.chance(0.5);
  world.serve(initiator.host, async () => {
    world.history.count('workflow of a mesh run again by a call');
    const running = program.runAgain();
    if (!answersAtOnce) await running;
    return 'success';
  });
  const url = `http://${initiator.host}/run`;
  // Shorter than some steps, so that runs meet each other.
  const callback = { operation: 'workflow', url, afterMs: random.between(150, 1500), payload: name } as const;
  const begun = await beginMesh(initiator, { gid, callback, timeoutMs: random.between(1000, 9000), initiator: name });
  if (begun === undefined) return;
  world.atEnd(() => program.check());
  await program.run(1, []);
  if (random.chance(0.5)) await initiator.waitForEnd(gid);
}

/** Which run has recorded a step: the store holds the coordinator to it. */
function dataOf(run: number, isGood: boolean): string {
  return `${run} ${isGood ? 'good' : 'bad'}`;
}

class MeshProgram {
  readonly #initiator: Initiator;
  readonly #gid: Gid;
  readonly #routes: readonly Route[];
  /** The numbers that runs were answered with. */
  readonly #runs = new Set<number>([1]);
  /** What the runs have come to, by their number. */
  readonly #visited = new Map<number, Set<string>>();

  constructor(initiator: Initiator, gid: Gid, routes: readonly Route[]) {
    this.#initiator = initiator;
    this.#gid = gid;
    this.#routes = routes;
  }

  async runAgain(): Promise<void> {
    const { world, name } = this.#initiator;
    const begun = await this.#initiator.repeat(
      (runner) => runner.run(this.#gid),
      ({ run, payload }) => {
        if (this.#runs.has(run)) world.history.violated('S29 newest run', `${this.#gid} has two runs ${run}`);
        this.#runs.add(run);
        if (payload !== name) world.history.violated('S25 replay', `run ${run} of ${this.#gid} got ${payload}`);
        this.#initiator.isDurable('S2 no lost run', this.#gid, (state) => (state.run?.number ?? 0) >= run);
      },
    );
    if (begun?.ok !== true) return;
    await this.run(begun.value.run, begun.value.steps);
  }

  /** Runs from what is recorded to the end, if it gets there before a newer run begins. */
  async run(run: number, steps: readonly StepView[]): Promise<void> {
    const { world } = this.#initiator;
    const known = new Map(steps.map(({ step, data }) => [step, data]));
    const visited = new Set<string>();
    this.#visited.set(run, visited);
    for (const planned of this.#routes) {
      const recorded = known.get(planned.resource);
      const route = recorded === undefined ? this.#wayOf(planned, run) : planned;
      visited.add(route.resource);
      const isGood =
        recorded === undefined
          ? await this.#step(run, route)
          : await this.#replayed(run, route, recorded.endsWith('good'));
      if (isGood === undefined || world.happens('client falls silent')) return;
      if (!isGood) return this.#end(run, 'abort');
    }
    await this.#end(run, 'submit');
  }

  /** Everything has ended as the coordinator says, once. */
  check(): void {
    const { history, store } = this.#initiator.world;
    const transaction = store.rows().get(this.#gid)?.stored.transaction;
    if (transaction === undefined) return;
    const ended = this.#endOf(transaction.run?.number ?? 1);
    for (const { resource, run } of transaction.branches) {
      if (transaction.status !== 'succeed' || run === undefined || ended.has(resource)) continue;
      history.violated(
        'S31 one way',
        `workflow ${this.#gid} committed ${resource}, which its last run did not come to`,
      );
    }
    const isGood = transaction.status === 'succeed';
    for (const route of this.#routes.flatMap((planned) => [planned, detour(planned)])) {
      if (isGood && !ended.has(route.resource)) continue;
      const fault = effectFault(transaction, this.#gid, route);
      if (fault !== undefined) history.violated('S3 atomic outcome', `workflow ${this.#gid}: ${fault}`);
    }
  }

  /** What the run came to, if it ran here. */
  #endOf(run: number): ReadonlySet<string> {
    return this.#visited.get(run) ?? new Set();
  }

  /** A later run may read something else from its database, and go another way. */
  #wayOf(planned: Route, run: number): Route {
    return run > 1 && this.#initiator.world.happens('a later run goes another way') ? detour(planned) : planned;
  }

  /** A recorded call is not made again; but its branch is one of this run too. */
  async #replayed(run: number, route: Route, isGood: boolean): Promise<boolean | undefined> {
    return (await enlistAgain(this.#initiator, this.#gid, { ...route, run })) ? isGood : undefined;
  }

  /** Whether the step has succeeded; undefined when this run must stop. */
  async #step(run: number, route: Route): Promise<boolean | undefined> {
    const { world } = this.#initiator;
    const result = await makeCall(this.#initiator, this.#gid, { ...route, run });
    if (result === 'superseded') world.history.count('older run refused');
    if (result !== 'success' && result !== 'failure') return undefined;
    const isGood = result === 'success';
    const step = { run, step: route.resource, data: dataOf(run, isGood) };
    const outcome = await this.#initiator.repeat(
      (runner) => runner.step(this.#gid, step),
      () =>
        this.#initiator.isDurable('S2 no lost step', this.#gid, ({ steps = [] }) =>
          steps.some((known) => known.step === step.step && known.data === step.data),
        ),
      (error) => {
        if (error.code === 'RUN_SUPERSEDED') world.history.count('older run refused');
      },
    );
    return outcome?.ok === true ? isGood : undefined;
  }

  async #end(run: number, how: 'submit' | 'abort'): Promise<void> {
    const { world } = this.#initiator;
    let hasGoneAstray = false;
    await this.#initiator.repeat(
      (runner) => (how === 'submit' ? runner.submit(this.#gid, { run }) : runner.abort(this.#gid, { run })),
      () => {
        this.#initiator.isDecided(this.#gid, how === 'submit' ? 'commit' : 'rollback');
        this.#initiator.isDurable('S29 the newest run decides', this.#gid, (state) => state.run?.number === run);
      },
      (error) => {
        if (error.code === 'RUN_SUPERSEDED') world.history.count('older run refused');
        if (error.code === 'REPLAY_MISMATCH') world.history.count('run that went another way refused');
        hasGoneAstray = error.code === 'REPLAY_MISMATCH';
      },
    );
    if (hasGoneAstray) await this.#end(run, 'abort');
  }
}

/** The call in place of `route`, of a run that went another way. */
function detour(route: Route): Route {
  return { ...route, resource: `${route.resource} elsewhere` };
}

function effectFault(
  transaction: GlobalTransaction,
  gid: Gid,
  { kind, participant, resource }: Route,
): string | undefined {
  const branch = transaction.branches.find((candidate) => candidate.resource === resource);
  const isGood = transaction.status === 'succeed';
  if (branch === undefined) return isGood ? `it succeeded without ${resource}` : undefined;
  const effect = participant.branches.state(gid, branch.id)?.effect ?? 0;
  if (branch.status === 'abandoned') return undefined;
  return effect === (isGood ? 1 : 0)
    ? undefined
    : `it is ${transaction.status}, and the effect of ${kind} ${resource} is ${effect}`;
}
