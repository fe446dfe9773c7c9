import test from 'ava';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startWorld } from '../inbound/world.ts';

test('a sidecar that stops finishes a run that ends in time, and leaves another one to the coordinator', async (t) => {
  for (const ends of [true, false]) {
    await using world = await startWorld({
      hasDatabase: false,
      inbound: {
        transactions: [{ match: 'POST /trips', begin: { workflow: true, timeout: '30s', rerunAfter: '50ms' } }],
      },
    });
    const goOn = Promise.withResolvers<void>();
    world.serve(async (request) => {
      if (world.seen.length === 1) {
        request.message.socket.destroy();
        return 'silence';
      }
      await goOn.promise;
      return { status: 200 };
    });
    const reply = await world.ask('POST', '/trips', { body: '{}' });
    const gid = reply.headers.get('atomesh-gid') as Gid;
    await until('the second run is under way', async () => (world.seen.length === 2 ? true : undefined));
    const closing = world.sidecar.close(ends ? 10_000 : 50);
    if (ends) goOn.resolve();
    await closing;
    goOn.resolve();
    t.is((await world.coordinator.read(gid))?.status, ends ? 'succeed' : 'prepared');
  }
});

test('an interrupted run that cannot be undone stops the workflow until an operator has looked', async (t) => {
  await using world = await startWorld({
    inbound: {
      transactions: [{ match: 'POST /trips', begin: { workflow: true, timeout: '30s', rerunAfter: '50ms' } }],
    },
  });
  world.serve(async (request) => {
    await world.sql(request.mark, 'UPDATE account SET balance = balance + 1');
    await world.owner.query('UPDATE account SET balance = 7');
    request.message.socket.destroy();
    return 'silence';
  });
  const reply = await world.ask('POST', '/trips', { body: '{}' });
  const gid = reply.headers.get('atomesh-gid') as Gid;
  const view = await until('an operator is asked for', async () => {
    const now = await world.coordinator.read(gid);
    return now?.needsAttention === true ? now : undefined;
  });
  t.is(view.status, 'aborting');
  t.regex(view.reason ?? '', /an interrupted run cannot be undone/);
  t.is(await world.total(), 7);
  t.is(world.seen.length, 1);
});
