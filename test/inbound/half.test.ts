/** Operations of which only a part took effect, because the application made two local transactions: nobody is told that they are done. */
import anyTest, { type TestFn } from 'ava';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startWorld, type App, type Reply, type World } from './world.ts';

const test = anyTest as TestFn<{ world: World }>;

test.before(async (t) => {
  t.context.world = await startWorld();
});
test.after.always((t) => t.context.world?.[Symbol.asyncDispose]());
test.beforeEach(async (t) => {
  await t.context.world.owner.query('UPDATE account SET balance = 0');
});

function operate(world: World, gid: Gid, op: string, branch: string = '01'): Promise<Reply> {
  const headers = { 'atomesh-gid': gid, 'atomesh-branch': branch, 'atomesh-op': op };
  return world.ask('POST', '/rooms', { headers, body: '{}' });
}

function short(reply: Reply): string {
  return `${reply.status} ${reply.headers.get('atomesh-barrier') ?? 'application'}`;
}

const ADD = 'UPDATE account SET balance = balance + 1';

/** Two changes, each in a local transaction of its own. `answers`: the status when the second one is refused. */
const twice =
  (world: World, queryMode: 'simple' | 'extended', answers: number): App =>
  async ({ mark }) => {
    const client = await world.client();
    const change = async (): Promise<void> => {
      const text = `${ADD} /*atomesh_gid='${mark}'*/`;
      await client.query({ text, ...(queryMode === 'simple' ? {} : { queryMode }) });
    };
    await change();
    return await change().then(
      () => ({ status: 200 }),
      () => ({ status: answers }),
    );
  };

for (const mode of ['simple', 'extended'] as const) {
  for (const answers of [500, 200]) {
    test.serial(
      `an operation of which a part was refused is never told to be done: ${mode}, the application answers ${answers}`,
      async (t) => {
        const { world } = t.context;
        for (const op of ['try', 'action', 'confirm', 'cancel', 'compensate']) {
          const gid = await world.begin();
          if (op !== 'try' && op !== 'action') {
            world.serve(() => Promise.resolve({ status: 200 }));
            await operate(world, gid, op === 'compensate' ? 'action' : 'try');
          }
          world.serve(twice(world, mode, answers));
          t.is(short(await operate(world, gid, op)), answers === 200 ? '409 half' : '500 application', op);
          const again = await operate(world, gid, op);
          t.is(short(again), '409 half', op);
          t.like(JSON.parse(again.text), { error: { code: 'BRANCH_DIRTY' } });
          t.is(world.seen.length, 1);
        }
        t.is(await world.total(), 5);
      },
    );
  }
}

test.serial('one that was half done can be undone, and counts as done once its row is deleted', async (t) => {
  const { world } = t.context;
  const gid = await world.begin();
  world.serve(twice(world, 'simple', 500));
  await operate(world, gid, 'try');
  world.serve(async ({ mark }) => {
    await world.sql(mark, 'UPDATE account SET balance = balance - 1');
    return { status: 200 };
  });
  t.is(short(await operate(world, gid, 'cancel')), '200 application');
  t.is(await world.total(), 0);
  t.is(short(await operate(world, gid, 'try')), '409 half');
  await world.owner.query("DELETE FROM atomesh.barrier WHERE gid = $1 AND barrier_id = 'half'", [gid]);
  t.regex(short(await operate(world, gid, 'try')), / done$/);
});

test.serial('the coordinator shows a branch whose compensation is half done as dirty', async (t) => {
  const { world } = t.context;
  world.serve(() => Promise.resolve({ status: 200 }));
  const url = `http://127.0.0.1:${world.sidecar.ports.inbound}/undo`;
  const gid = await world.begin();
  const { branchId } = await world.coordinator.enlist(gid, {
    kind: 'saga',
    resource: 'rooms',
    operations: { compensate: url },
  } as never);
  await operate(world, gid, 'action', branchId);
  world.serve(twice(world, 'simple', 500));
  await world.coordinator.abort(gid, { reason: 'a test' });
  const view = await until('it needs attention', async () => {
    const seen = await world.coordinator.read(gid);
    return seen?.needsAttention === true ? seen : undefined;
  });
  t.is(view.branches[0]?.status, 'dirty');
});

test.serial('an action that nobody waits for any more gives way to its compensation', async (t) => {
  const { world } = t.context;
  const gid = await world.begin();
  const inside = Promise.withResolvers<void>();
  world.serve(async (request) => {
    const client = await world.client();
    await client.query(`BEGIN /*atomesh_gid='${request.mark}'*/`);
    await client.query(ADD);
    inside.resolve();
    request.message.socket.destroy();
    return 'silence';
  });
  t.is((await operate(world, gid, 'action')).status, 502);
  await inside.promise;
  t.is(short(await operate(world, gid, 'compensate')), '425 ongoing');
  const reply = await until('the compensation is absorbed', async () => {
    const next = await operate(world, gid, 'compensate');
    return next.status === 425 ? undefined : next;
  });
  t.is(short(reply), '200 absorbed');
  t.is(await world.total(), 0);
  t.is(short(await operate(world, gid, 'action')), '409 fenced');
});
