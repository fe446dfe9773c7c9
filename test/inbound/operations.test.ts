import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startWorld, type App, type AppRequest, type Reply, type World } from './world.ts';

const test = anyTest as TestFn<{ world: World }>;

test.before(async (t) => {
  t.context.world = await startWorld({
    inbound: { results: { failure: [409, 422], ongoing: [425, 429] } },
    outbound: { upstreams: { nobody: { url: 'http://127.0.0.1:1' } } },
  });
});
test.after.always((t) => t.context.world?.[Symbol.asyncDispose]());
test.beforeEach(async (t) => {
  await t.context.world.owner.query('UPDATE account SET balance = 0');
});

/** Adds to the balance: 1 for what is done, minus 1 for what undoes it, as a service would. */
const adds =
  (world: World): App =>
  async (request) => {
    const op = request.headers['atomesh-op'];
    const sign = op === 'cancel' || op === 'compensate' ? '-' : '+';
    await world.sql(request.mark, `UPDATE account SET balance = balance ${sign} 1`);
    return { status: 200, body: 'mine' };
  };

function operate(world: World, gid: Gid, op: string, branch: string = '01'): Promise<Reply> {
  return world.ask('POST', '/rooms', {
    headers: { 'atomesh-gid': gid, 'atomesh-branch': branch, 'atomesh-op': op },
    body: '{}',
  });
}

/** What the barrier said, and the status. */
function short(reply: Reply): string {
  return `${reply.status} ${reply.headers.get('atomesh-barrier') ?? 'application'}`;
}

/** Plays operations one after the other: what each was answered, and what is left of the balance. */
async function play(t: ExecutionContext<{ world: World }>, ops: readonly string[]): Promise<string> {
  const { world } = t.context;
  world.serve(adds(world));
  const gid = await world.begin();
  const answers: string[] = [];
  for (const op of ops) answers.push(short(await operate(world, gid, op)));
  return `${answers.join(', ')}: ${await world.total()}`;
}

test.serial(
  'each order of an operation, what undoes it, and repetitions of both has its effect once or never',
  async (t) => {
    for (const [first, undo] of [
      ['try', 'cancel'],
      ['action', 'compensate'],
    ] as const) {
      await t.context.world.owner.query('UPDATE account SET balance = 0');
      t.is(await play(t, [first]), '200 application: 1');
      await t.context.world.owner.query('UPDATE account SET balance = 0');
      t.is(await play(t, [first, first]), '200 application, 200 done: 1');
      await t.context.world.owner.query('UPDATE account SET balance = 0');
      t.is(await play(t, [first, undo, undo, first]), '200 application, 200 application, 200 done, 200 done: 0');
      t.is(await play(t, [undo, first, undo]), '200 absorbed, 409 fenced, 200 done: 0');
    }
    t.is(await play(t, ['try', 'confirm', 'confirm']), '200 application, 200 application, 200 done: 2');
  },
);

test.serial('a try that is repeated gets its own answer again, and an error where that was lost', async (t) => {
  const { world } = t.context;
  world.serve(async (request) => {
    await world.sql(request.mark, 'UPDATE account SET balance = balance + 1');
    return { status: 201, body: '{"booking":7}', headers: { 'content-type': 'application/json', 'set-cookie': 's=1' } };
  });
  const gid = await world.begin();
  const first = await operate(world, gid, 'try');
  const again = await operate(world, gid, 'try');
  t.is(`${first.status} ${first.text} ${first.headers.get('set-cookie')}`, '201 {"booking":7} s=1');
  t.is(`${again.status} ${again.text} ${again.headers.get('set-cookie')}`, '201 {"booking":7} null');
  t.is(`${again.headers.get('content-type')} ${again.headers.get('atomesh-barrier')}`, 'application/json done');
  await world.owner.query('DELETE FROM atomesh.operation_answer WHERE gid = $1', [gid]);
  const lost = await operate(world, gid, 'try');
  t.is(`${lost.status} ${lost.headers.get('atomesh-barrier')}`, '409 done');
  t.regex(lost.text, /its answer is lost.*Roll back/);
  t.is(world.seen.length, 1);
  t.is(await world.total(), 1);
});

test.serial(
  'a confirm without a try is absorbed: nothing was reserved, and a try that comes later never takes effect',
  async (t) => {
    const { world } = t.context;
    world.serve(() => Promise.resolve({ status: 409 }));
    const gid = await world.begin();
    t.is((await operate(world, gid, 'try')).status, 409);
    world.serve(adds(world));
    t.is(short(await operate(world, gid, 'confirm')), '200 absorbed');
    t.is(short(await operate(world, gid, 'confirm')), '200 done');
    t.is(short(await operate(world, gid, 'try')), '409 fenced');
    t.is(world.seen.length, 0);
  },
);

test.serial('branches of one transaction, and transactions, do not know of each other', async (t) => {
  const { world } = t.context;
  world.serve(adds(world));
  const gid = await world.begin();
  t.is(short(await operate(world, gid, 'action', '01')), '200 application');
  t.is(short(await operate(world, gid, 'action', '02')), '200 application');
  t.is(short(await operate(world, await world.begin(), 'action', '01')), '200 application');
  t.is(await world.total(), 3);
});

test.serial('the application is told which operation it serves, and its answer is passed on', async (t) => {
  const { world } = t.context;
  world.serve(adds(world));
  const gid = await world.begin();
  const reply = await operate(world, gid, 'try');
  t.is(reply.text, 'mine');
  const [request] = world.seen;
  t.is(request?.headers['atomesh-branch'], '01');
  t.is(request?.headers['atomesh-op'], 'try');
  t.is(request?.headers['atomesh-gid'], `${gid}/01/try`);
});

test.serial('while an operation is being served, a second one of its branch is told to come again', async (t) => {
  const { world } = t.context;
  const inside = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  world.serve(async (request) => {
    inside.resolve();
    await goOn.promise;
    return await adds(world)(request, undefined as never);
  });
  const gid = await world.begin();
  const first = operate(world, gid, 'try');
  await inside.promise;
  t.is(short(await operate(world, gid, 'try')), '425 ongoing');
  t.is(short(await operate(world, gid, 'cancel')), '425 ongoing');
  goOn.resolve();
  t.is(short(await first), '200 application');
  t.is(world.seen.length, 1);
  t.is(short(await operate(world, gid, 'cancel')), '200 application');
  t.is(await world.total(), 0);
});

test.serial(
  'an operation that committed before its answer was an error is done, and what undoes it is called',
  async (t) => {
    const { world } = t.context;
    const fails = async (request: AppRequest): Promise<{ status: number }> => {
      await adds(world)(request, undefined as never);
      return { status: 500 };
    };
    world.serve(fails);
    const gid = await world.begin();
    t.is(short(await operate(world, gid, 'try')), '500 application');
    t.is(short(await operate(world, gid, 'try')), '409 done');
    world.serve(adds(world));
    t.is(short(await operate(world, gid, 'cancel')), '200 application');
    t.is(await world.total(), 0);
  },
);

test.serial('an application that dies leaves nothing, or its whole local transaction', async (t) => {
  const { world } = t.context;
  const gid = await world.begin();
  world.serve(async (request) => {
    const client = await world.client();
    await client.query(`BEGIN /*atomesh_gid='${request.mark}'*/`);
    await client.query(`UPDATE account SET balance = balance + 1 /*atomesh_gid='${request.mark}'*/`);
    request.message.socket.destroy();
    await client.end();
    return 'silence';
  });
  t.is(short(await operate(world, gid, 'action')), '502 application');
  world.serve(async (request) => {
    await world.sql(request.mark, 'UPDATE account SET balance = balance + 1');
    request.message.socket.destroy();
    return 'silence';
  });
  t.is(short(await operate(world, gid, 'action')), '502 application');
  t.is(await world.total(), 1);
  t.is(short(await operate(world, gid, 'action')), '409 done');
  t.is(world.seen.length, 1);
});

test.serial(
  'a caller that leaves does not end the operation: its branch is free once the application has answered',
  async (t) => {
    const { world } = t.context;
    const goOn = Promise.withResolvers<void>();
    world.serve(async (request, response) => {
      if (request.headers['atomesh-op'] === 'try') await goOn.promise;
      return await adds(world)(request, response);
    });
    const gid = await world.begin();
    const leave = new AbortController();
    const left = world
      .ask('POST', '/rooms', {
        headers: { 'atomesh-gid': gid, 'atomesh-branch': '01', 'atomesh-op': 'try' },
        body: '{}',
        signal: leave.signal,
      })
      .catch(() => 'left');
    await until('the application is called', async () => (world.seen.length === 1 ? true : undefined));
    leave.abort();
    t.is(await left, 'left');
    t.is(short(await operate(world, gid, 'cancel')), '425 ongoing');
    goOn.resolve();
    const reply = await until('the branch is free', async () => {
      const next = await operate(world, gid, 'cancel');
      return next.status === 425 ? undefined : next;
    });
    t.is(short(reply), '200 application');
    t.is(await world.total(), 0);
  },
);

test.serial(
  'a compensation comes between the changes of an action and its end: one of both takes effect',
  async (t) => {
    const { world } = t.context;
    const gid = await world.begin();
    world.serve(async (request, response) => {
      if (request.headers['atomesh-op'] === 'compensate') return await adds(world)(request, response);
      const client = await world.client();
      const comment = `/*atomesh_gid='${request.mark}'*/`;
      await client.query(`BEGIN ${comment}`);
      await client.query(`UPDATE account SET balance = balance + 1 ${comment}`);
      request.message.socket.destroy(); // whoever asked is told nothing, and the compensation comes
      await until('the compensation waits', async () => {
        const { rows } = await world.owner.query("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
        return rows.length > 0 ? true : undefined;
      });
      await client.query('COMMIT');
      await client.end();
      return 'silence';
    });
    t.is((await operate(world, gid, 'action')).status, 502);
    const undoing = operate(world, gid, 'compensate');
    t.is(short(await undoing), '200 application');
    t.is(await world.total(), 0);
  },
);

test.serial('statuses are answered as what inbound.results says that they mean, with their body', async (t) => {
  const { world } = t.context;
  for (const [own, status] of [
    [422, 409],
    [409, 409],
    [429, 425],
    [500, 500],
    [201, 201],
  ] as const) {
    world.serve(() => Promise.resolve({ status: own, body: 'why' }));
    const reply = await operate(world, await world.begin(), 'try');
    t.is(reply.status, status, `${own}`);
    t.is(reply.text, 'why');
  }
});

test.serial('an operation without a change is done once it was answered well', async (t) => {
  const { world } = t.context;
  world.serve(() => Promise.resolve({ status: 204 }));
  const gid = await world.begin();
  t.is(short(await operate(world, gid, 'try')), '204 application');
  t.is(short(await operate(world, gid, 'try')), '204 done');
});

test.serial(
  'with two operations of one trace at work, a call that carries only the trace does not leave',
  async (t) => {
    const { world } = t.context;
    const trace = { traceparent: `00-${'c'.repeat(32)}-b7ad6b7169203331-01` };
    const goOn = Promise.withResolvers<void>();
    world.serve(async () => {
      await goOn.promise;
      return { status: 200 };
    });
    const gid = await world.begin();
    const running = ['01', '02'].map((branch) =>
      world.ask('POST', '/rooms', {
        headers: { 'atomesh-gid': gid, 'atomesh-branch': branch, 'atomesh-op': 'try', ...trace },
        body: '{}',
      }),
    );
    await until('both are at work', async () => (world.seen.length === 2 ? true : undefined));
    const call = (headers: Record<string, string>): Promise<Response> =>
      fetch(`http://127.0.0.1:${world.sidecar.ports.outbound}/nobody/x`, { headers });
    const refused = await call(trace);
    goOn.resolve();
    t.like(await refused.json(), { error: { code: 'BAD_GID' } });
    for (const reply of running) t.is((await reply).status, 200);
  },
);

test.serial('without a database the application is called each time, with the operation in its headers', async (t) => {
  await using world = await startWorld({ hasDatabase: false });
  world.serve(() => Promise.resolve({ status: 200 }));
  const gid = await world.begin();
  t.is(short(await operate(world, gid, 'cancel')), '200 application');
  t.is(short(await operate(world, gid, 'cancel')), '200 application');
  t.is(world.seen.length, 2);
  t.is(world.seen[1]?.headers['atomesh-op'], 'cancel');
});

test.serial('when the database cannot be asked nothing is called and nothing is answered as success', async (t) => {
  await using world = await startWorld();
  world.serve(adds(world));
  await world.owner.query('ALTER TABLE atomesh.barrier RENAME TO barrier_away');
  const reply = await operate(world, await world.begin(), 'try');
  t.is(reply.status, 503);
  t.is(world.seen.length, 0);
});
