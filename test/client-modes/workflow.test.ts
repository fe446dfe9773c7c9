import test from 'ava';
import {
  CodedError,
  createWorkflows,
  type DtmClient,
  FailureError,
  OngoingError,
  type WorkflowOptions,
} from '../../src/client/index.ts';
import { until } from '../coordinator/started.ts';
import { gidOf } from './support.ts';
import { type Host, type Participant, startHost, startParticipant } from './workflow-support.ts';

const soon: WorkflowOptions = { retryIntervalMs: 30 };

/** Two steps that can be undone, and a second phase for each. */
function trip(host: Host, participant: Participant, options: WorkflowOptions = {}, second = 'b') {
  return host.boot((workflows) =>
    workflows.register(
      'trip',
      async (workflow, { amount }: { readonly amount: number }) => {
        const answers: unknown[] = [];
        for (const name of ['a', second]) {
          const url = `${participant.url}/${name}`;
          const branch = workflow
            .newBranch()
            .onFinish(async ({ http }, outcome) => void (await http({ url: `${url}-${outcome}`, body: { amount } })));
          answers.push((await branch.http({ url, body: { amount } })).json());
        }
        return { answers };
      },
      { ...soon, ...options },
    ),
  );
}

const ROUTES = {
  '/a': () => ({ seat: 7 }),
  '/b': () => ({ room: 12 }),
  '/no': () => {
    throw new FailureError('sold out');
  },
  '/a-commit': () => undefined,
  '/b-commit': () => undefined,
  '/a-rollback': () => undefined,
  '/no-rollback': () => undefined,
};

test('steps are done in order, then the second phase in reverse; one that has ended gives its result again', async (t) => {
  await using participant = await startParticipant(ROUTES);
  await using host = await startHost();
  const registered = trip(host, participant);
  const result = { answers: [{ seat: 7 }, { room: 12 }] };
  t.deepEqual(await registered.execute(gidOf('w'), { amount: 3 }), result);
  const calls = ['action 01 /a', 'action 02 /b', 'commit 02 /b-commit', 'commit 01 /a-commit'];
  t.deepEqual(participant.calls, calls);
  t.is(await host.world.statusOf('w'), 'succeed');
  t.deepEqual(await registered.execute(gidOf('w'), { amount: 3 }), result);
  t.deepEqual(await trip(host, participant).execute(gidOf('w'), { amount: 3 }), result);
  t.deepEqual(participant.calls, calls);
});

test('a refusal rolls back what succeeded, and stays the answer; the refused branch itself is left alone', async (t) => {
  await using participant = await startParticipant(ROUTES);
  await using host = await startHost();
  const registered = trip(host, participant, {}, 'no');
  for (let times = 0; times < 2; times += 1) {
    const error = await t.throwsAsync(registered.execute(gidOf('w'), { amount: 3 }), { instanceOf: FailureError });
    t.regex(error?.message ?? '', /sold out/);
    t.deepEqual(participant.calls, ['action 01 /a', 'action 02 /no', 'rollback 01 /a-rollback']);
  }
  t.is(await host.world.statusOf('w'), 'failed');
});

test('with compensateErrorBranch the refused branch is rolled back too', async (t) => {
  await using participant = await startParticipant(ROUTES);
  await using host = await startHost();
  const run = trip(host, participant, { compensateErrorBranch: true }, 'no').execute(gidOf('w'), { amount: 3 });
  await t.throwsAsync(run, { instanceOf: FailureError });
  t.deepEqual(participant.calls.slice(2), ['rollback 02 /no-rollback', 'rollback 01 /a-rollback']);
});

test('a refusal that the program gets over commits', async (t) => {
  await using participant = await startParticipant(ROUTES);
  await using host = await startHost();
  const registered = host.boot((workflows) =>
    workflows.register('either', async (workflow) => {
      const first = workflow.newBranch().http({ url: `${participant.url}/no` });
      const isRefused = await first.then(
        () => false,
        (error: unknown) => error instanceof FailureError,
      );
      if (isRefused) await workflow.newBranch().http({ url: `${participant.url}/b` });
      return isRefused;
    }),
  );
  t.true(await registered.execute(gidOf('w'), undefined));
  t.is(await host.world.statusOf('w'), 'succeed');
});

test('an end that is not known is no failure, also when the program takes it for one: the coordinator has it run again', async (t) => {
  const unknowns: readonly (() => unknown)[] = [
    () => {
      throw new OngoingError('still at it');
    },
    () => {
      throw new Error('a defect that says FAILURE');
    },
  ];
  for (const fail of unknowns) {
    let isHealed = false;
    await using participant = await startParticipant({
      '/a': () => undefined,
      '/a-rollback': () => undefined,
      '/b': () => (isHealed ? 'done' : fail()),
    });
    await using host = await startHost();
    const registered = host.boot((workflows) =>
      workflows.register(
        'careless',
        async (workflow) => {
          const { url } = participant;
          await workflow
            .newBranch()
            .onRollback(async ({ http }) => void (await http({ url: `${url}/a-rollback` })))
            .http({ url: `${url}/a` });
          await workflow
            .newBranch()
            .http({ url: `${url}/b` })
            .catch((error: unknown) => {
              throw new FailureError('it failed', { cause: error });
            });
        },
        soon,
      ),
    );
    const error = await t.throwsAsync(registered.execute(gidOf('w'), undefined));
    t.false(error instanceof FailureError);
    isHealed = true;
    await until('the workflow succeeds', async () => (await host.world.statusOf('w')) === 'succeed');
    t.deepEqual(participant.effects, ['action 01 /a', 'action 02 /b']);
    t.is(participant.calls.filter((call) => call === 'action 01 /a').length, 1);
  }
});

test('a service that says it in its own way is understood by a rule of the workflow’s own', async (t) => {
  await using participant = await startParticipant({ '/a': () => ({ code: 'NO_SEATS' }) });
  await using host = await startHost();
  const registered = host.boot((workflows) =>
    workflows.register(
      'own',
      async (workflow) => void (await workflow.newBranch().http({ url: `${participant.url}/a` })),
      {
        resultOf: ({ status, text }) =>
          status === 200 ? (text().includes('NO_SEATS') ? 'failure' : 'success') : 'unknown',
      },
    ),
  );
  const error = await t.throwsAsync(registered.execute(gidOf('w'), undefined), { instanceOf: FailureError });
  t.regex(error?.message ?? '', /NO_SEATS/);
  t.is(await host.world.statusOf('w'), 'failed');
});

test('steps at the same time, each with the branch that was made for it', async (t) => {
  await using participant = await startParticipant(ROUTES);
  await using host = await startHost();
  const registered = host.boot((workflows) =>
    workflows.register('both', async (workflow) => {
      const branches = [workflow.newBranch(), workflow.newBranch()];
      const answers = await Promise.all(branches.map((branch) => branch.http({ url: `${participant.url}/a` })));
      return answers.map(({ status }) => status);
    }),
  );
  t.deepEqual(await registered.execute(gidOf('w'), undefined), [200, 200]);
  t.deepEqual(participant.calls.toSorted(), ['action 01 /a', 'action 02 /a']);
});

test('a workflow runs once at a time in a process, whoever asks for it', async (t) => {
  const gate = Promise.withResolvers<void>();
  await using participant = await startParticipant({ '/a': () => gate.promise });
  await using host = await startHost();
  const workflows = createWorkflows(host.world.dtm, { callback: host.callback });
  let runs = 0;
  const registered = workflows.register('slow', async (workflow, input: string) => {
    runs += 1;
    await workflow.newBranch().http({ url: `${participant.url}/a` });
    return `${input}${runs}`;
  });
  const runningTwice = [registered.execute(gidOf('w'), 'x'), registered.execute(gidOf('w'), 'x')];
  await t.throwsAsync(registered.execute(gidOf('w'), 'y'), { instanceOf: CodedError, code: 'GID_CONFLICT' });
  await until('the step is called', () => Promise.resolve(participant.calls.length > 0));
  t.is((await workflows.serve({ query: { gid: 'w', op: 'slow' }, body: '"x"' })).status, 425);
  gate.resolve();
  t.deepEqual(await Promise.all(runningTwice), ['x1', 'x1']);
  t.deepEqual(participant.calls, ['action 01 /a']);
});

test('a run gives signs of life as long as it lasts', async (t) => {
  const gates = { w: Promise.withResolvers<void>(), v: Promise.withResolvers<void>() };
  await using host = await startHost();
  const signs = { w: 0, v: 0 };
  const { dtm } = host.world;
  const counting: DtmClient = {
    ...dtm,
    prepareWorkflow: (request) => {
      signs[request.gid as 'w' | 'v'] += 1;
      return dtm.prepareWorkflow(request);
    },
  };
  const registered = host.boot(
    (workflows) =>
      workflows.register('slow', (workflow, gid: 'w' | 'v') => workflow.newBranch().do(() => gates[gid].promise), {
        retryIntervalMs: 90,
      }),
    counting,
  );
  const running = registered.execute(gidOf('w'), 'w');
  await until('it has given signs of life', () => Promise.resolve(signs.w > 3));
  gates.w.resolve();
  await running;
  const given = signs.w;
  const another = registered.execute(gidOf('v'), 'v');
  await until('another one has given them', () => Promise.resolve(signs.v > 3));
  // On a busy machine the coordinator has found it silent, and its call was under way when it ended: that asks once more.
  t.true(signs.w <= given + 1, `${signs.w} after ${given}`);
  gates.v.resolve();
  await another;
});

test('the coordinator’s call is understood as every framework hands it on', async (t) => {
  await using host = await startHost();
  const { dtm } = host.world;
  const workflows = createWorkflows(dtm, { callback: host.callback });
  const seen: unknown[] = [];
  workflows.register('sees', (_workflow, input: unknown) => Promise.resolve(void seen.push(input)), {
    retryIntervalMs: 60_000,
  });
  const serve = async (gid: string, input: unknown, body: unknown, headers = {}): Promise<number> => {
    const data = Buffer.from(input === undefined ? '' : JSON.stringify(input)).toString('base64');
    const customData = JSON.stringify({ name: 'sees', data });
    const options = { retryIntervalMs: 60_000 };
    const queryPrepared = host.callback;
    await dtm.prepareWorkflow({ gid: gidOf(gid), transType: 'workflow', options, customData, queryPrepared });
    return (await workflows.serve({ query: { gid, op: 'sees', branch_id: '00' }, headers, body })).status;
  };
  t.is(await serve('bytes', { n: 1 }, Buffer.from('{"n":1}')), 200);
  t.is(await serve('text', { n: 1 }, '{"n":1}'), 200);
  t.is(await serve('parsed', { n: 1 }, { n: 1 }), 200);
  t.is(await serve('none', undefined, undefined), 200);
  t.is(await serve('empty', undefined, {}, { 'content-length': '0' }), 200);
  t.deepEqual(seen, [{ n: 1 }, { n: 1 }, { n: 1 }, undefined, undefined]);
});

test('what cannot be is refused: names, branches, runs and steps', async (t) => {
  await using participant = await startParticipant(ROUTES);
  await using host = await startHost();
  const url = `${participant.url}/a`;
  const workflows = createWorkflows(host.world.dtm, { callback: host.callback, runsMax: 1 });
  workflows.register('one', () => Promise.resolve());
  t.throws(() => workflows.register('one', () => Promise.resolve()), { instanceOf: CodedError, code: 'BAD_REQUEST' });
  t.is((await workflows.serve({ query: '?op=one' })).status, 400);
  t.is((await workflows.serve({ query: '?gid=g&op=unknown', body: '' })).status, 404);

  const late = Promise.withResolvers<void>();
  const two = workflows.register('two', async (workflow) => {
    const branch = workflow.newBranch().onCommit(() => Promise.resolve());
    await branch.http({ url });
    await t.throwsAsync(branch.http({ url }), { code: 'BAD_REQUEST' });
    await late.promise;
  });
  const running = two.execute(gidOf('w'), undefined);
  await t.throwsAsync(two.execute(gidOf('v'), undefined), { code: 'OVERLOADED' });
  late.resolve();
  // Two actions of one branch are a mistake in the program, and end the run.
  await t.throwsAsync(running, { code: 'BAD_REQUEST' });

  const many = workflows.register('many', (workflow) => {
    for (let made = 0; made < 100; made += 1) workflow.newBranch();
    return Promise.resolve();
  });
  await t.throwsAsync(many.execute(gidOf('m'), undefined), { code: 'TOO_MANY_BRANCHES' });

  const hasty = workflows.register('hasty', (workflow) => {
    void workflow
      .newBranch()
      .http({ url })
      .catch(() => undefined);
    return Promise.resolve('not waited for');
  });
  t.is(await hasty.execute(gidOf('h'), undefined), 'not waited for');
  t.deepEqual(participant.calls, ['action 01 /a', 'action 01 /a']);
});

test('a program that hangs ends at its time limit and does nothing more', async (t) => {
  await using host = await startHost();
  const gate = Promise.withResolvers<void>();
  const after = Promise.withResolvers<unknown>();
  const registered = host.boot((workflows) =>
    workflows.register(
      'hangs',
      async (workflow) => {
        await gate.promise;
        try {
          workflow.newBranch();
          after.resolve('went on');
        } catch (error) {
          after.resolve(error);
        }
      },
      { runTimeoutMs: 50, retryIntervalMs: 10_000 },
    ),
  );
  const error = await t.throwsAsync(registered.execute(gidOf('w'), undefined), { instanceOf: CodedError });
  t.is(error?.code, 'OUTCOME_UNKNOWN');
  gate.resolve();
  t.is(await after.promise, error);
});
