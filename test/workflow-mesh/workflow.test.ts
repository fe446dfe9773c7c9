import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startWorld, type App, type AppRequest, type Reply, type World } from '../inbound/world.ts';
import { startParticipant, type Participant } from './participant.ts';

interface Context {
  readonly world: World;
  readonly bank: Participant;
}

const test = anyTest as TestFn<Context>;

test.before(async (t) => {
  const bank = await startParticipant();
  const world = await startWorld({
    inbound: {
      transactions: [
        { match: 'POST /trips', begin: { workflow: true, timeout: '30s', rerunAfter: '100ms' } },
        { match: 'POST /patient', begin: { workflow: true, timeout: '30s', rerunAfter: '20s' } },
      ],
    },
    outbound: {
      upstreams: { bank: { url: bank.url } },
      routes: [{ match: `POST ${bank.url}/saga`, saga: { compensate: `POST ${bank.url}/undo` } }],
    },
  });
  Object.assign(t.context, { world, bank });
});
test.after.always(async (t) => {
  await t.context.world?.[Symbol.asyncDispose]();
  await t.context.bank?.[Symbol.asyncDispose]();
});
test.beforeEach(async (t) => {
  t.context.bank.heard.length = 0;
  t.context.bank.answers.clear();
  await t.context.world.owner.query('UPDATE account SET balance = 0');
});

const ADD = 'UPDATE account SET balance = balance + 1';

function start(world: World, path: string = '/trips'): Promise<Reply> {
  return world.ask('POST', path, { body: '{"to":"rome"}' });
}

function gidOf(reply: Reply): Gid {
  return reply.headers.get('atomesh-gid') as Gid;
}

/** The program dies: whoever waits for its answer is cut off. */
function dies(request: AppRequest): 'silence' {
  request.message.socket.destroy();
  return 'silence';
}

/** Serves one function a run: the first for the first, and so on; the last for all that follow. */
function runs(world: World, ...programs: readonly App[]): void {
  world.serve(async (request, response) => {
    const program = programs[Math.min(world.seen.length, programs.length) - 1];
    return program === undefined ? { status: 500 } : await program(request, response);
  });
}

/** What became of the transaction, the balance, and what the bank was asked. */
async function end(t: ExecutionContext<Context>, gid: Gid): Promise<string> {
  const { world, bank } = t.context;
  const { status } = await world.over(gid);
  return `${status} ${await world.total()} ${bank.calls.join(', ')}`;
}

test.serial('a workflow that nothing happens to is one run, whose calls go out once each', async (t) => {
  const { world, bank } = t.context;
  world.serve(async (request) => {
    t.is(request.mark.split('/').slice(1).join('/'), '00/run1');
    t.is((await world.call(request.mark, 'POST', '/bank/out', { body: '1' })).text, 'answer 1');
    await world.sql(request.mark, ADD);
    t.is((await world.call(request.mark, 'GET', '/bank/rate')).text, 'answer 2');
    return { status: 201, body: 'booked' };
  });
  const reply = await start(world);
  t.is(`${reply.status} ${reply.text} ${reply.headers.get('atomesh-outcome')}`, '201 booked committed');
  t.is(await end(t, gidOf(reply)), 'succeed 1 POST /out 1, GET /rate');
  t.regex(String(bank.heard[0]?.headers['idempotency-key']), /^[0-9a-f]{32}$/);
  t.is(bank.heard[0]?.headers['atomesh-gid'], gidOf(reply));
});

test.serial(
  'after a crash between two steps no recorded call is repeated, and the database work is done once',
  async (t) => {
    const { world } = t.context;
    const first: App = async (request) => {
      t.is((await world.call(request.mark, 'POST', '/bank/out', { body: '1' })).text, 'answer 1');
      await world.sql(request.mark, ADD);
      return dies(request);
    };
    const whole: App = async (request) => {
      t.is(request.body, '{"to":"rome"}');
      t.is(request.headers['x-client'], undefined);
      const out = await world.call(request.mark, 'POST', '/bank/out', { body: '1' });
      t.is(`${out.text} ${out.headers.get('x-own')} ${out.headers.get('atomesh-replayed')}`, 'answer 1 yes true');
      await world.sql(request.mark, ADD);
      await world.call(request.mark, 'POST', '/bank/in', { body: '2' });
      return { status: 200 };
    };
    runs(world, first, whole);
    const reply = await start(world);
    t.is(reply.status, 502);
    t.is(reply.headers.get('atomesh-outcome'), 'pending');
    t.is(await end(t, gidOf(reply)), 'succeed 1 POST /out 1, POST /in 2');
    t.is(world.seen.length, 2);
  },
);

test.serial('many crashes are survived: every run goes on where the last one ended', async (t) => {
  const { world } = t.context;
  world.serve(async (request) => {
    await world.sql(request.mark, ADD);
    for (let step = 1; step <= 4; step += 1) {
      await world.call(request.mark, 'POST', `/bank/step${step}`);
      if (step === world.seen.length) return dies(request);
    }
    return { status: 200 };
  });
  const reply = await start(world);
  t.is(await end(t, gidOf(reply)), 'succeed 1 POST /step1, POST /step2, POST /step3, POST /step4');
  t.is(world.seen.length, 5);
});

test.serial('an answer that says "not now" is no end: the workflow is run again', async (t) => {
  const { world } = t.context;
  runs(
    world,
    () => Promise.resolve({ status: 500 }),
    () => Promise.resolve({ status: 429 }),
    () => Promise.resolve({ status: 200 }),
  );
  const reply = await start(world);
  t.is(reply.status, 500);
  t.is(await end(t, gidOf(reply)), 'succeed 0 ');
});

test.serial('a program that fails has its database work undone, and its saga calls compensated', async (t) => {
  const { world, bank } = t.context;
  runs(
    world,
    async (request) => {
      await world.call(request.mark, 'POST', '/bank/saga', { body: 'a' });
      return dies(request);
    },
    async (request) => {
      await world.call(request.mark, 'POST', '/bank/saga', { body: 'a' });
      await world.sql(request.mark, ADD);
      return { status: 409 };
    },
  );
  const reply = await start(world);
  t.is(await end(t, gidOf(reply)), 'failed 0 POST /saga a, POST /undo a');
  t.is(bank.heard[1]?.headers['atomesh-op'], 'compensate');
  t.is(bank.heard[1]?.headers['atomesh-branch'], bank.heard[0]?.headers['atomesh-branch']);
});

test.serial('a saga call that was not recorded is repeated as the same branch', async (t) => {
  const { world, bank } = t.context;
  bank.answers.set('POST /saga', 503);
  const program: App = async (request) => {
    const { status } = await world.call(request.mark, 'POST', '/bank/saga', { body: 'a' });
    bank.answers.clear();
    return { status };
  };
  runs(world, program);
  const reply = await start(world);
  t.is(await end(t, gidOf(reply)), 'succeed 0 POST /saga a, POST /saga a');
  t.is(bank.heard[1]?.headers['atomesh-branch'], bank.heard[0]?.headers['atomesh-branch']);
});

test.serial(
  'a program that calls something else than recorded is told so, calls nothing more and is rolled back',
  async (t) => {
    const { world } = t.context;
    const answers: string[] = [];
    runs(
      world,
      async (request) => {
        await world.call(request.mark, 'POST', '/bank/out', { body: '1' });
        return dies(request);
      },
      async (request) => {
        await world.sql(request.mark, ADD);
        for (const [path, body] of [
          ['/bank/out', '2'],
          ['/bank/in', '1'],
        ] as const) {
          const { status, text } = await world.call(request.mark, 'POST', path, { body });
          answers.push(`${status} ${(JSON.parse(text) as { error: { code: string } }).error.code}`);
        }
        return { status: 200 };
      },
    );
    const reply = await start(world);
    t.is(await end(t, gidOf(reply)), 'failed 0 POST /out 1');
    t.deepEqual(answers, ['500 REPLAY_MISMATCH', '500 REPLAY_MISMATCH']);
    t.regex((await world.over(gidOf(reply))).reason ?? '', /REPLAY_MISMATCH: .*POST .*\/out/);
  },
);

test.serial('a program that ends well without a recorded call is rolled back', async (t) => {
  const { world } = t.context;
  runs(
    world,
    async (request) => {
      await world.call(request.mark, 'POST', '/bank/out', { body: '1' });
      return dies(request);
    },
    () => Promise.resolve({ status: 200 }),
  );
  const reply = await start(world);
  t.is(await end(t, gidOf(reply)), 'failed 0 POST /out 1');
});

test.serial('calls that were made at the same time may come in another order when they are replayed', async (t) => {
  const { world } = t.context;
  const call = (mark: string, body: string): Promise<Reply> => world.call(mark, 'POST', '/bank/out', { body });
  runs(
    world,
    async (request) => {
      await Promise.all([call(request.mark, '1'), call(request.mark, '2')]);
      return dies(request);
    },
    async (request) => {
      const late = call(request.mark, '3');
      await Promise.all([call(request.mark, '2'), call(request.mark, '1')]);
      t.is((await late).status, 200);
      return { status: 200 };
    },
  );
  const reply = await start(world);
  const { status } = await world.over(gidOf(reply));
  t.is(`${status} ${t.context.bank.calls.toSorted().join(', ')}`, 'succeed POST /out 1, POST /out 2, POST /out 3');
});

test.serial(
  'a call in doubt that may not be repeated ends the workflow: all is undone, nothing is called again',
  async (t) => {
    const { world, bank } = t.context;
    bank.answers.set('POST /out', 'silence');
    world.serve(async (request) => {
      await world.sql(request.mark, ADD);
      const leave = new AbortController();
      const calling = world.call(request.mark, 'POST', '/bank/out', { signal: leave.signal }).catch(() => undefined);
      await until('the bank is called', async () => (bank.heard.length > 0 ? true : undefined));
      leave.abort();
      await calling;
      return dies(request);
    });
    const reply = await start(world);
    t.is(await end(t, gidOf(reply)), 'failed 0 POST /out');
    t.is(world.seen.length, 1);
  },
);

test.serial('what an interrupted run does late is refused: calls, statements, commits', async (t) => {
  const { world } = t.context;
  const late = Promise.withResolvers<AppRequest>();
  const client = await world.client();
  runs(
    world,
    async (request) => {
      await client.query(`BEGIN /*atomesh_gid='${request.mark}'*/`);
      await client.query(`${ADD} /*atomesh_gid='${request.mark}'*/`);
      late.resolve(request);
      return dies(request);
    },
    async (request) => {
      await world.sql(request.mark, ADD);
      return { status: 200 };
    },
  );
  const reply = await start(world);
  const { mark } = await late.promise;
  t.is(await end(t, gidOf(reply)), 'succeed 1 ');
  await t.throwsAsync(client.query('COMMIT').then(() => client.query(`${ADD} /*atomesh_gid='${mark}'*/`)));
  await t.throwsAsync(world.sql(mark, ADD));
  const call = await world.call(mark, 'POST', '/bank/out');
  t.is(call.status, 409);
  t.regex(call.text, /RUN_SUPERSEDED/);
  t.is(await end(t, gidOf(reply)), 'succeed 1 ');
});

test.serial('a run that another sidecar has superseded calls, records and decides nothing more', async (t) => {
  const { world } = t.context;
  runs(
    world,
    async (request) => {
      const gid = request.mark.split('/')[0] as Gid;
      t.is((await world.coordinator.runs(gid)).run, 2);
      const call = await world.call(request.mark, 'POST', '/bank/out', { body: '1' });
      t.regex(`${call.status} ${call.text}`, /^409 .*RUN_SUPERSEDED/);
      return { status: 200 };
    },
    async (request) => {
      t.is(request.mark.split('/')[2], 'run3');
      await world.call(request.mark, 'POST', '/bank/out', { body: '2' });
      return { status: 200 };
    },
  );
  const reply = await start(world);
  // It may commit in a later run: 409 would say that it failed.
  t.regex(`${reply.status} ${reply.text}`, /^503 .*OUTCOME_UNKNOWN/);
  t.is(await end(t, gidOf(reply)), 'succeed 0 POST /out 2');
});

test.serial('the coordinator may be away between two steps', async (t) => {
  const { world } = t.context;
  runs(world, async (request) => {
    await world.call(request.mark, 'POST', '/bank/out');
    await world.stopCoordinator();
    const next = world.call(request.mark, 'POST', '/bank/in');
    await world.startAgain();
    t.is((await next).status, 200);
    return { status: 200 };
  });
  const reply = await start(world);
  t.is(reply.headers.get('atomesh-outcome'), 'committed');
  t.is(await end(t, gidOf(reply)), 'succeed 0 POST /out, POST /in');
});

test.serial('a client that leaves does not take the workflow with it', async (t) => {
  const { world } = t.context;
  const leave = new AbortController();
  runs(
    world,
    () => {
      leave.abort();
      return Promise.resolve('silence');
    },
    () => Promise.resolve({ status: 200 }),
  );
  await t.throwsAsync(world.ask('POST', '/trips', { body: '', signal: leave.signal }));
  const gid = world.seen[0]?.mark.split('/')[0] as Gid;
  t.is(await end(t, gid), 'succeed 0 ');
});

test.serial('a second question for a workflow that runs here never runs it twice at once', async (t) => {
  const { world } = t.context;
  const goOn = Promise.withResolvers<void>();
  runs(
    world,
    (request) => Promise.resolve(dies(request)),
    async () => {
      await goOn.promise;
      return { status: 200 };
    },
  );
  const reply = await start(world, '/patient');
  const gid = gidOf(reply);
  const run = (): Promise<Response> =>
    fetch(`http://127.0.0.1:${world.sidecar.ports.control}/v1/services/orders/workflows/run`, {
      method: 'POST',
      headers: { 'atomesh-gid': gid, 'atomesh-branch': '00', 'atomesh-op': 'workflow' },
      body: '{}',
    });
  const asked = [run(), run(), run()];
  await until('it runs', async () => (world.seen.length === 2 ? true : undefined));
  goOn.resolve();
  t.deepEqual(
    (await Promise.all(asked)).map(({ status }) => status),
    [200, 200, 200],
  );
  t.is(world.seen.length, 2);
  t.is((await run()).status, 200);
  t.is(await end(t, gid), 'succeed 0 ');
});

test.serial('what a HEAD says of a length is replayed as it was said', async (t) => {
  const { world } = t.context;
  const lengths: (string | null)[] = [];
  world.serve(async (request) => {
    lengths.push((await world.call(request.mark, 'HEAD', '/bank/file')).headers.get('content-length'));
    return lengths.length === 1 ? dies(request) : { status: 200 };
  });
  t.is(await end(t, gidOf(await start(world))), 'succeed 0 HEAD /file');
  t.deepEqual(lengths, ['12345', '12345']);
});
