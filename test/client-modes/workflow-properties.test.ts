import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { createWorkflows, type DtmClient, FailureError, type Gid, type Workflow } from '../../src/client/index.ts';
import type { DtmProgress, DtmRequest } from '../../src/client/dtm/client.ts';
import { gidOf } from './support.ts';
import { type Death, dyingDtm } from './workflow-support.ts';

const GID: Gid = gidOf('w');

/** One branch of a program. */
interface Part {
  readonly action: 'succeeds' | 'is refused' | 'is refused, and the program gets over it';
  readonly onCommit: boolean;
  readonly onRollback: boolean;
  /** At the same time as the part before it. */
  readonly besides: boolean;
}

const program: fc.Arbitrary<readonly Part[]> = fc.array(
  fc.record({
    action: fc.constantFrom('succeeds', 'succeeds', 'is refused', 'is refused, and the program gets over it'),
    onCommit: fc.boolean(),
    onRollback: fc.boolean(),
    besides: fc.boolean(),
  }),
  { maxLength: 6 },
);

const death: fc.Arbitrary<Death> = fc.record({
  at: fc.integer({ min: 1, max: 12 }),
  when: fc.constantFrom('before', 'after'),
});

/** What a coordinator keeps of one workflow: the first word stands. */
interface Kept {
  readonly dtm: DtmClient;
  readonly status: () => string;
}

/** A coordinator in memory; each of its answers takes as long as `delay` does. */
function openCoordinator(delay: () => Promise<void> = () => Promise.resolve()): Kept {
  const progresses: DtmProgress[] = [];
  let status = 'prepared';
  let result = '';
  let rollbackReason = '';
  const conclude = ({ reqExtra = {} }: DtmRequest): void => {
    const wanted = reqExtra['status'] ?? '';
    if (status !== 'prepared' && status !== wanted) throw new FailureError(`it is ${status}`);
    if (status !== 'prepared') return;
    status = wanted;
    result = reqExtra['result'] ?? '';
    rollbackReason = reqExtra['rollback_reason'] ?? '';
  };
  const dtm: DtmClient = {
    url: 'memory',
    prepare: () => Promise.reject(new Error('a workflow is not prepared so')),
    abort: () => Promise.reject(new Error('a workflow is not aborted')),
    close: () => Promise.resolve(),
    submit: async (request) => {
      await delay();
      conclude(request);
      await delay();
    },
    registerBranch: async ({ branchId, data, payload }) => {
      await delay();
      const step = { branchId, op: data['op'] ?? '', status: data['status'] ?? '', data: payload };
      const known = progresses.find(({ branchId: id, op }) => id === step.branchId && op === step.op);
      if (known === undefined && status !== 'prepared') throw new FailureError(`it is ${status}`);
      if (known === undefined) progresses.push(step);
      else if (known.status !== step.status || !Buffer.from(known.data).equals(step.data))
        throw new Error('a conflict');
      await delay();
    },
    prepareWorkflow: async () => {
      await delay();
      const kept = { status, rollbackReason, result: Buffer.from(result, 'base64'), progresses: [...progresses] };
      await delay();
      return kept;
    },
  };
  return { dtm, status: () => status };
}

/** What has been done outside: `<branch id> <operation>`, each as often as it was. */
type Effects = string[];

async function perform(parts: readonly Part[], effects: Effects, workflow: Workflow): Promise<readonly unknown[]> {
  const values: unknown[] = [];
  const underWay: Promise<void>[] = [];
  for (const part of parts) {
    if (!part.besides) await Promise.all(underWay.splice(0));
    const branch = workflow.newBranch();
    const finish = (outcome: string) => (): Promise<void> =>
      Promise.resolve(void effects.push(`${branch.branchId} ${outcome}`));
    if (part.onCommit) branch.onCommit(finish('commit'));
    if (part.onRollback) branch.onRollback(finish('rollback'));
    const index = values.push(undefined) - 1;
    const action = branch.do(async () => {
      await Promise.resolve();
      effects.push(`${branch.branchId} action`);
      if (part.action !== 'succeeds') throw new FailureError(`${branch.branchId} is refused`);
      // No two runs would give the same, were it not recorded.
      return effects.length;
    });
    const done = action.then(
      (value) => void (values[index] = value),
      (error: unknown) => {
        if (part.action !== 'is refused, and the program gets over it') throw error;
      },
    );
    done.catch(() => undefined);
    underWay.push(done);
  }
  await Promise.all(underWay);
  return values;
}

/** A process that runs the workflow once. */
function run(parts: readonly Part[], effects: Effects, dtm: DtmClient): Promise<readonly unknown[]> {
  const workflows = createWorkflows(dtm, { callback: 'http://nobody/' });
  return workflows.register('program', (workflow) => perform(parts, effects, workflow)).execute(GID, undefined);
}

const wantedStatus = (parts: readonly Part[]): string =>
  parts.some(({ action }) => action === 'is refused') ? 'failed' : 'succeed';

/** The second phase as it has to be, given what was done before it. */
function secondPhase(parts: readonly Part[], effects: Effects): readonly string[] {
  const isCommitted = wantedStatus(parts) === 'succeed';
  return parts
    .map((part, index) => ({ ...part, id: String(index + 1).padStart(2, '0') }))
    .filter(({ id }) => effects.includes(`${id} action`))
    .filter((part) => (isCommitted ? part.onCommit : part.onRollback && part.action === 'succeeds'))
    .map(({ id }) => `${id} ${isCommitted ? 'commit' : 'rollback'}`)
    .toReversed();
}

const isAction = (effect: string): boolean => effect.endsWith('action');
const withoutRepetitions = (effects: readonly string[]): readonly string[] => [...new Set(effects)];

test('however often processes die, a workflow ends as if none had: S25', async (t) => {
  const property = fc.asyncProperty(program, fc.array(death, { maxLength: 5 }), async (parts, deaths) => {
    const { dtm, status } = openCoordinator();
    const effects: Effects = [];
    for (const each of deaths) await run(parts, effects, dyingDtm(dtm, each)).catch(() => undefined);
    const ends = [await end(run(parts, effects, dtm)), await end(run(parts, effects, dtm))];
    t.is(status(), wantedStatus(parts));
    t.deepEqual(ends[0], ends[1]);
    t.is(ends[0]?.kind, status());
    const firstOfPhaseTwo = effects.findIndex((effect) => !isAction(effect));
    const phaseTwo = firstOfPhaseTwo === -1 ? [] : effects.slice(firstOfPhaseTwo);
    t.deepEqual(withoutRepetitions(phaseTwo), secondPhase(parts, effects));
    // What is at the same time may be repeated with each death; what is recorded is not.
    const atOnceMax = 6;
    t.true(effects.length - withoutRepetitions(effects).length <= deaths.length * atOnceMax);
  });
  await fc.assert(property, { numRuns: 400 });
});

test('processes that run a workflow at the same time never come to two ends: S25', async (t) => {
  const property = fc.asyncProperty(program, fc.scheduler(), async (parts, scheduler) => {
    const { dtm, status } = openCoordinator(() => scheduler.schedule(Promise.resolve()));
    const effects: Effects = [];
    const running = Promise.all([1, 2, 3].map(() => end(run(parts, effects, dtm))));
    await scheduler.waitFor(running);
    const last = end(run(parts, effects, dtm));
    const ends = [...(await running), await scheduler.waitFor(last)];
    t.is(status(), wantedStatus(parts));
    const known = ends.filter(({ kind }) => kind !== 'unknown');
    for (const each of known) t.deepEqual(each, known[0]);
    t.is(known[0]?.kind, status());
    const unwanted = status() === 'succeed' ? 'rollback' : 'commit';
    t.false(effects.some((effect) => effect.endsWith(unwanted)));
  });
  await fc.assert(property, { numRuns: 200 });
});

test('an action that the program does not wait for is not overtaken by its own rollback', async (t) => {
  const { dtm } = openCoordinator();
  const effects: Effects = [];
  const workflows = createWorkflows(dtm, { callback: 'http://nobody/' });
  const hasty = workflows.register('hasty', (workflow) => {
    const branch = workflow.newBranch().onRollback(() => Promise.resolve(void effects.push('rollback')));
    const slow = async (): Promise<void> => {
      for (let turns = 0; turns < 20; turns += 1) await setImmediate();
      effects.push('action');
    };
    void branch.do(slow);
    return Promise.reject(new FailureError('it gives up'));
  });
  await t.throwsAsync(hasty.execute(GID, undefined), { instanceOf: FailureError });
  t.deepEqual(effects, ['action', 'rollback']);
});

interface End {
  /** `succeed`, `failed` or `unknown`. */
  readonly kind: string;
  readonly value?: unknown;
}

/** How a run ended. Which of several refusals is the reason depends on which came first, and is left out. */
function end(ran: Promise<readonly unknown[]>): Promise<End> {
  return ran.then(
    (value): End => ({ kind: 'succeed', value }),
    (error: unknown): End => ({ kind: error instanceof FailureError ? 'failed' : 'unknown' }),
  );
}
