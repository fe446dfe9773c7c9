import test, { type ExecutionContext } from 'ava';
import {
  type BranchAnswer,
  CodedError,
  type DtmClient,
  FailureError,
  type WorkflowBranch,
} from '../../src/client/index.ts';
import { until } from '../coordinator/started.ts';
import { gidOf } from './support.ts';
import { type Death, dyingDtm, type Host, type Participant, startHost, startParticipant } from './workflow-support.ts';

const soon = { retryIntervalMs: 30 };

interface Trip {
  readonly last: 'car' | 'no-car';
}

/** Three steps, the last of which may be refused; each has something to do in the second phase. */
function register(host: Host, participant: Participant, dtm = host.world.dtm) {
  return host.boot(
    (workflows) =>
      workflows.register(
        'trip',
        async (workflow, { last }: Trip) => {
          const texts: string[] = [];
          for (const name of ['flight', 'hotel', last]) {
            const url = `${participant.url}/${name}`;
            const branch = workflow
              .newBranch()
              .onFinish(async ({ http }, outcome) => void (await http({ url: `${participant.url}/${outcome}` })));
            texts.push((await branch.http({ url, body: { after: texts } })).text());
          }
          return texts;
        },
        soon,
      ),
    dtm,
  );
}

/** The answers differ with every call: only what is recorded makes two runs the same. */
async function startTrip(): Promise<Participant> {
  let answered = 0;
  return startParticipant({
    '/flight': () => (answered += 1),
    '/hotel': () => (answered += 1),
    '/car': () => (answered += 1),
    '/no-car': () => {
      throw new FailureError('no car');
    },
    '/commit': () => undefined,
    '/rollback': () => undefined,
  });
}

const COMMITTED = [
  'action 01 /flight',
  'action 02 /hotel',
  'action 03 /car',
  'commit 03 /commit',
  'commit 02 /commit',
  'commit 01 /commit',
];
const ROLLED_BACK = ['action 01 /flight', 'action 02 /hotel', 'rollback 02 /rollback', 'rollback 01 /rollback'];

/** Runs the workflow in a process that dies, and then in one that lives; answers whether the first came to die. */
async function survives(t: ExecutionContext, trip: Trip, death: Death): Promise<boolean> {
  await using participant = await startTrip();
  await using host = await startHost();
  const dtm = dyingDtm(host.world.dtm, death);
  const gid = gidOf('w');
  const first = register(host, participant, dtm).execute(gid, trip);
  await first.catch((error: unknown) => t.is(error instanceof FailureError, !dtm.isDead()));
  const wanted = trip.last === 'car' ? 'succeed' : 'failed';
  const isUnknown = dtm.isDead() && death.at === 1 && death.when === 'before';
  const second = register(host, participant);
  // Nobody but its initiator knows of a workflow that the coordinator has never heard of.
  if (isUnknown) await second.execute(gid, trip).catch(() => undefined);
  const note = `${trip.last}: dies ${death.when} word ${death.at}`;
  await until(note, async () => (await host.world.statusOf('w')) === wanted);
  const effects = trip.last === 'car' ? COMMITTED : ROLLED_BACK;
  // No step is done after the second phase has begun, no second phase is both, and its order is the reverse.
  t.deepEqual(participant.effects, effects, note);
  const repeated = participant.calls.filter((call, index) => participant.calls.indexOf(call) !== index);
  t.true(repeated.length <= 1, `${note}: what is recorded is not called again, and was: ${repeated.join(', ')}`);
  return dtm.isDead();
}

for (const last of ['car', 'no-car'] as const) {
  test(`a process that dies at any of its words is taken up by another (${last})`, async (t) => {
    const whens = ['before', 'after'] as const;
    await Promise.all(
      whens.map(async (when) => {
        let at = 1;
        while (await survives(t, { last }, { at, when })) at += 1;
        // prepare, three steps, the decision, what is committed or rolled back, and the end
        t.is(at - 1, last === 'car' ? 9 : 8);
      }),
    );
  });
}

test('two processes that run a workflow at the same time do not disagree about it', async (t) => {
  await using participant = await startTrip();
  await using host = await startHost();
  const gid = gidOf('w');
  const runs = [1, 2, 3].map(() => register(host, participant).execute(gid, { last: 'car' }));
  const ends = await Promise.allSettled(runs);
  await until('the workflow succeeds', async () => (await host.world.statusOf('w')) === 'succeed');
  const result = await register(host, participant).execute(gid, { last: 'car' });
  for (const end of ends) {
    if (end.status === 'fulfilled') t.deepEqual(end.value, result);
    else t.false(end.reason instanceof FailureError);
  }
  t.deepEqual(participant.effects, COMMITTED);
});

type Step = (branch: WorkflowBranch, url: string) => Promise<BranchAnswer | number>;

/** Runs `recorded` to a death after its first step, then `changed` in its place. */
async function replayedAs(
  t: ExecutionContext,
  recorded: readonly Step[],
  changed: readonly Step[],
): Promise<{ readonly error: unknown; readonly calls: readonly string[] }> {
  await using participant = await startParticipant({
    '/x': () => 1,
    '/y': () => 2,
    '/stuck': () => Promise.reject(new Error('not now')),
  });
  await using host = await startHost();
  const boot = (steps: readonly Step[]) =>
    host.boot((workflows) =>
      workflows.register(
        'steps',
        async (workflow) => {
          for (const step of steps) await step(workflow.newBranch(), participant.url);
        },
        { retryIntervalMs: 60_000 },
      ),
    );
  const stuck: Step = (branch, url) => branch.http({ url: `${url}/stuck` });
  await t.throwsAsync(boot([...recorded, stuck]).execute(gidOf('w'), undefined));
  const before = participant.calls.length;
  const [settled] = await Promise.allSettled([boot(changed).execute(gidOf('w'), undefined)]);
  t.is(await host.world.statusOf('w'), 'prepared');
  return {
    error: settled.status === 'rejected' ? settled.reason : undefined,
    calls: participant.calls.slice(before),
  };
}

const x: Step = (branch, url) => branch.http({ url: `${url}/x`, body: { n: 1 } });
const y: Step = (branch, url) => branch.http({ url: `${url}/y` });

test('a program that does not do what is recorded is an explicit error, and calls nothing', async (t) => {
  const changes: readonly (readonly [string, readonly Step[]])[] = [
    ['another service', [y, x]],
    ['another body', [(branch, url) => branch.http({ url: `${url}/x`, body: { n: 2 } })]],
    ['another method', [(branch, url) => branch.http({ url: `${url}/x`, body: { n: 1 }, method: 'PUT' })]],
    ['another kind of step', [(branch) => branch.do(() => Promise.resolve(1))]],
    ['fewer steps', []],
  ];
  for (const [note, changed] of changes) {
    const { error, calls } = await replayedAs(t, [x], changed);
    t.true(error instanceof CodedError && error.code === 'REPLAY_MISMATCH', `${note}: ${String(error)}`);
    t.deepEqual(calls, [], note);
  }
});

test('of steps that run at the same time none is called when one of them does not match', async (t) => {
  // The step at `slow` ends after the record of the other is kept; then the process dies.
  for (const slow of [0, 1]) {
    const isKept = Promise.withResolvers<void>();
    const answer = (index: number) => async (): Promise<void> => (index === slow ? isKept.promise : undefined);
    await using participant = await startParticipant({ '/0': answer(0), '/1': answer(1), '/other': () => 3 });
    await using host = await startHost();
    const { dtm } = host.world;
    const telling: DtmClient = {
      ...dtm,
      registerBranch: async (step) => {
        await dtm.registerBranch(step);
        isKept.resolve();
      },
    };
    const boot = (paths: readonly string[], connection = dtm) =>
      host.boot(
        (workflows) =>
          workflows.register('at-once', async (workflow) => {
            const branches = paths.map((path) => ({ path, branch: workflow.newBranch() }));
            await Promise.all(branches.map(({ path, branch }) => branch.http({ url: participant.url + path })));
          }),
        connection,
      );
    const first = boot(['/0', '/1'], dyingDtm(telling, { at: 3, when: 'before' }));
    await t.throwsAsync(first.execute(gidOf('w'), undefined), { code: 'OUTCOME_UNKNOWN' });
    const before = participant.calls.length;
    const changed = ['/0', '/1', '/other'].with(1 - slow, '/other');
    await t.throwsAsync(boot(changed).execute(gidOf('w'), undefined), { code: 'REPLAY_MISMATCH' });
    t.is(participant.calls.length, before);
  }
});

test('a name given to work of this process tells it apart', async (t) => {
  const named =
    (name: string): Step =>
    (branch) =>
      branch.do(() => Promise.resolve(1), name);
  const same = await replayedAs(
    t,
    [named('seat')],
    [named('seat'), (branch, url) => branch.http({ url: `${url}/stuck` })],
  );
  t.false(same.error instanceof CodedError && same.error.code === 'REPLAY_MISMATCH');
  const { error } = await replayedAs(t, [named('seat')], [named('room')]);
  t.true(error instanceof CodedError && error.code === 'REPLAY_MISMATCH');
});

test('a rollback that was decided is finished, though the program would commit now', async (t) => {
  let hasCars = false;
  await using participant = await startParticipant({
    '/flight': () => 1,
    '/car': () => 2,
    '/rollback': () => {
      if (!hasCars) throw new Error('not yet');
    },
  });
  await using host = await startHost();
  const registered = host.boot((workflows) =>
    workflows.register(
      'changes-its-mind',
      async (workflow) => {
        const { url } = participant;
        await workflow
          .newBranch()
          .onRollback(async ({ http }) => void (await http({ url: `${url}/rollback` })))
          .http({ url: `${url}/flight` });
        // What a program must not do: to look, outside of a step, at what changes.
        if (!hasCars) throw new FailureError('no car');
        await workflow.newBranch().http({ url: `${url}/car` });
      },
      soon,
    ),
  );
  await t.throwsAsync(registered.execute(gidOf('w'), undefined));
  hasCars = true;
  await until('it is rolled back', async () => (await host.world.statusOf('w')) === 'failed');
  t.deepEqual(participant.effects, ['action 01 /flight', 'rollback 01 /rollback']);
});

test('a workflow that another client library has begun is not guessed at', async (t) => {
  await using participant = await startParticipant({ '/x': () => 1 });
  await using host = await startHost();
  const { dtm } = host.world;
  const customData = JSON.stringify({ name: 'foreign', data: '' });
  await dtm.prepareWorkflow({ gid: gidOf('w'), transType: 'workflow', customData, queryPrepared: host.callback });
  await dtm.registerBranch({
    gid: gidOf('w'),
    transType: 'workflow',
    branchId: '01',
    data: { op: 'action', status: 'succeed' },
    payload: Buffer.from('"what the other library keeps"'),
  });
  const registered = host.boot((workflows) =>
    workflows.register(
      'foreign',
      async (workflow) => void (await workflow.newBranch().http({ url: `${participant.url}/x` })),
    ),
  );
  const error = await t.throwsAsync(registered.execute(gidOf('w'), undefined), { code: 'REPLAY_MISMATCH' });
  t.regex(error?.message ?? '', /another client library/);
  t.deepEqual(participant.calls, []);
});
