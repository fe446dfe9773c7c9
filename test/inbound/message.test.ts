import anyTest, { type TestFn } from 'ava';
import { until } from '../../examples/support/until.ts';
import type { TransactionView } from '../../src/contract/messages.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startWorld, type AppRequest, type Reply, type World } from './world.ts';

const test = anyTest as TestFn<{ world: World }>;

const INBOUND = {
  transactions: [
    { match: 'POST /orders', begin: { message: true, timeout: '30s' } },
    { match: 'POST /quick', begin: { message: true, timeout: '300ms' } },
  ],
};

test.before(async (t) => {
  t.context.world = await startWorld({ inbound: INBOUND });
});
test.after.always((t) => t.context.world?.[Symbol.asyncDispose]());
test.beforeEach(async (t) => {
  await t.context.world.owner.query('UPDATE account SET balance = 0');
});

const ORDER = 'UPDATE account SET balance = balance + 1';

function gidOf(request: AppRequest): Gid {
  return request.mark.split('/')[0] as Gid;
}

/** The end of the only message there is, and what its local transaction left. */
async function ended(world: World): Promise<string> {
  const [request] = world.seen;
  if (request === undefined) throw new Error('the application was called');
  const view: TransactionView = await world.over(gidOf(request));
  return `${view.status} ${await world.total()}`;
}

function order(world: World, path: string = '/orders'): Promise<Reply> {
  return world.ask('POST', path, { body: '{}' });
}

test.serial('a local transaction that commits with an answer of success submits the message', async (t) => {
  const { world } = t.context;
  world.serve(async (request) => {
    t.regex(request.mark, /^[0-9a-f]{32}\/00\/msg$/);
    await world.sql(request.mark, ORDER);
    return { status: 201 };
  });
  const reply = await order(world);
  t.is(reply.status, 201);
  t.is(reply.headers.get('atomesh-outcome'), 'committed');
  t.is(await ended(world), 'succeed 1');
});

/** A constraint that speaks at COMMIT makes that fail. */
const DEFERRED =
  'CREATE TABLE IF NOT EXISTS late (id int, CONSTRAINT late_id UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)';

for (const mode of ['simple', 'extended'] as const) {
  test.serial(
    `an application that swallows a failed COMMIT sends no message, and its client hears of it: ${mode}`,
    async (t) => {
      const { world } = t.context;
      await world.owner.query(DEFERRED);
      await world.owner.query('DELETE FROM late; INSERT INTO late VALUES (1)');
      world.serve(async (request) => {
        const client = await world.client();
        const run = (text: string): Promise<unknown> =>
          client.query({
            text: `${text} /*atomesh_gid='${request.mark}'*/`,
            ...(mode === 'simple' ? {} : { queryMode: 'extended' }),
          });
        await run('BEGIN');
        await run(ORDER);
        await run('INSERT INTO late VALUES (1)');
        await t.throwsAsync(run('COMMIT'));
        return { status: 201 };
      });
      const reply = await order(world);
      t.is(reply.status, 409);
      t.like(JSON.parse(reply.text), { error: { code: 'TRANSACTION_ROLLED_BACK' } });
      t.is(reply.headers.get('atomesh-outcome'), 'rolled-back');
      t.is(await ended(world), 'failed 0');
    },
  );
}

test.serial('an application that answers before it commits is asked for later, and its commit decides', async (t) => {
  const { world } = t.context;
  const client = await world.client();
  world.serve(async (request) => {
    await client.query(`BEGIN /*atomesh_gid='${request.mark}'*/`);
    await client.query(ORDER);
    return { status: 201 };
  });
  const reply = await order(world, '/quick');
  await client.query('COMMIT');
  t.is(reply.status, 503);
  t.like(JSON.parse(reply.text), { error: { code: 'OUTCOME_UNKNOWN' } });
  t.is(await ended(world), 'succeed 1');
});

test.serial('an application whose local transaction only reads has nothing to commit, and submits', async (t) => {
  const { world } = t.context;
  await world.owner.query(
    "CREATE OR REPLACE FUNCTION peek() RETURNS bigint LANGUAGE sql AS 'SELECT sum(balance) FROM account'",
  );
  for (const begin of ['BEGIN READ ONLY', 'BEGIN']) {
    world.serve(async (request) => {
      const client = await world.client();
      await client.query(`${begin} /*atomesh_gid='${request.mark}'*/`);
      await client.query(begin === 'BEGIN' ? 'SELECT balance FROM account' : 'SELECT peek()');
      await client.query('COMMIT');
      return { status: 200 };
    });
    t.is((await order(world)).status, 200, begin);
    t.is(await ended(world), 'succeed 0');
  }
});

test.serial('a local transaction that committed before an error was answered submits the message', async (t) => {
  const { world } = t.context;
  world.serve(async (request) => {
    await world.sql(request.mark, ORDER);
    return { status: 500 };
  });
  const reply = await order(world);
  t.is(reply.status, 500);
  t.is(reply.headers.get('atomesh-outcome'), 'committed');
  t.is(await ended(world), 'succeed 1');
});

test.serial('a local transaction that committed before its application died submits the message', async (t) => {
  const { world } = t.context;
  world.serve(async (request) => {
    await world.sql(request.mark, ORDER);
    request.message.socket.destroy();
    return 'silence';
  });
  const reply = await order(world);
  t.is(reply.status, 502);
  t.is(reply.headers.get('atomesh-outcome'), 'committed');
  t.is(await ended(world), 'succeed 1');
});

test.serial('a local transaction that is rolled back, or was never begun, takes the message with it', async (t) => {
  const { world } = t.context;
  for (const statements of [['BEGIN', ORDER, 'ROLLBACK'], ['SELECT 1'], []]) {
    world.serve(async (request) => {
      const client = await world.client();
      for (const statement of statements) await client.query(`${statement} /*atomesh_gid='${request.mark}'*/`);
      return { status: 409 };
    });
    const reply = await order(world);
    t.is(reply.headers.get('atomesh-outcome'), 'rolled-back');
    t.is(await ended(world), 'failed 0');
  }
});

test.serial('an application that answers success without a change has its message submitted', async (t) => {
  const { world } = t.context;
  world.serve(() => Promise.resolve({ status: 200 }));
  t.is((await order(world)).headers.get('atomesh-outcome'), 'committed');
  t.is(await ended(world), 'succeed 0');
});

test.serial('an application that dies inside its local transaction takes the message with it', async (t) => {
  const { world } = t.context;
  world.serve(async (request) => {
    const client = await world.client();
    await client.query(`BEGIN /*atomesh_gid='${request.mark}'*/`);
    await client.query(`${ORDER} /*atomesh_gid='${request.mark}'*/`);
    await client.end();
    request.message.socket.destroy();
    return 'silence';
  });
  t.is((await order(world)).headers.get('atomesh-outcome'), 'rolled-back');
  t.is(await ended(world), 'failed 0');
});

test.serial(
  'once the coordinator has asked, a local transaction that has not changed anything yet cannot commit',
  async (t) => {
    const { world } = t.context;
    let refusal = '';
    world.serve(async (request) => {
      await until('the coordinator has asked', async () => {
        const view = await world.coordinator.read(gidOf(request));
        return view?.status === 'prepared' ? undefined : true;
      });
      await world.sql(request.mark, ORDER).catch((error: { code: string }) => (refusal = error.code));
      return { status: 500 };
    });
    const reply = await order(world, '/quick');
    t.is(reply.headers.get('atomesh-outcome'), 'rolled-back');
    t.is(refusal, '40000');
    t.is(await ended(world), 'failed 0');
  },
);

test.serial(
  'the coordinator waits for a local transaction that has changed rows, and hears how it ended',
  async (t) => {
    const { world } = t.context;
    for (const [end, expected] of [
      ['COMMIT', 'succeed 1'],
      ['ROLLBACK', 'failed 1'],
    ] as const) {
      world.serve(async (request) => {
        const client = await world.client();
        await client.query(`BEGIN /*atomesh_gid='${request.mark}'*/`);
        await client.query(`${ORDER} /*atomesh_gid='${request.mark}'*/`);
        await until('the question waits', async () => {
          const { rows } = await world.owner.query("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
          return rows.length > 0 ? true : undefined;
        });
        await client.query(end);
        return { status: 500 };
      });
      await order(world, '/quick');
      t.is(await ended(world), expected);
    }
  },
);

test.serial(
  'while the coordinator is away nothing is begun; once begun, its return brings the message to its end',
  async (t) => {
    const { world } = t.context;
    await world.stopCoordinator();
    world.serve(() => Promise.resolve({ status: 200 }));
    t.is((await order(world)).status, 503);
    t.is(world.seen.length, 0);
    await world.startAgain();
    for (const [status, expected] of [
      [200, 'succeed 1'],
      [500, 'succeed 2'],
    ] as const) {
      world.serve(async (request) => {
        await world.sql(request.mark, ORDER);
        await world.stopCoordinator();
        return { status };
      });
      const reply = await order(world, '/quick');
      t.is(reply.headers.get('atomesh-outcome'), null);
      await world.startAgain();
      t.is(await ended(world), expected);
    }
  },
);

test.serial('a question about a transaction that the database does not know keeps it out for good', async (t) => {
  const { world } = t.context;
  const check = (headers: Record<string, string>): Promise<Response> =>
    fetch(`http://127.0.0.1:${world.sidecar.ports.control}/v1/services/orders/messages/check`, {
      method: 'POST',
      headers: { 'atomesh-gid': 'm1', 'atomesh-branch': '00', 'atomesh-op': 'msg', ...headers },
      body: '{}',
    });
  t.is((await check({ 'atomesh-branch': '01' })).status, 400);
  t.is((await check({ 'atomesh-op': 'commit' })).status, 400);
  t.is((await check({})).status, 409);
  await t.throwsAsync(world.sql('m1/00/msg', ORDER), { code: '40000' });
});
