import test from 'ava';
import { startWorld, type Reply, type World } from '../inbound/world.ts';
import { startParticipant, type Participant } from './participant.ts';

function startKeyed(bank: Participant, keyHeaders: readonly string[] = []): Promise<World> {
  const begin = { workflow: true, timeout: '30s', rerunAfter: '20s', keyHeaders };
  return startWorld({
    hasDatabase: false,
    inbound: { transactions: [{ match: 'POST /trips', begin }] },
    outbound: { upstreams: { bank: { url: bank.url } } },
  });
}

interface Sent {
  readonly key: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function start(world: World, { key, body = '{"to":"rome"}', headers }: Sent): Promise<Reply> {
  return world.ask('POST', '/trips', { body, headers: { ...headers, 'idempotency-key': key } });
}

function gidOf(reply: Reply): string | null {
  return reply.headers.get('atomesh-gid');
}

test('the same key again is the same workflow, and gets the same answer', async (t) => {
  await using bank = await startParticipant();
  await using world = await startKeyed(bank);
  world.serve(async (request) => {
    await world.call(request.mark, 'POST', '/bank/out');
    return { status: 201, body: 'booked', headers: { 'x-trip': '7' } };
  });
  const first = await start(world, { key: 'k1' });
  const again = await start(world, { key: 'k1' });
  t.is(first.headers.get('idempotency-replayed'), null);
  t.is(
    ['idempotency-replayed', 'x-trip', 'atomesh-outcome'].map((name) => again.headers.get(name)).join(),
    'true,7,committed',
  );
  t.is(`${again.status} ${again.text}`, '201 booked');
  t.is(gidOf(again), gidOf(first));
  t.is(world.seen.length, 1);
  t.is((await start(world, { key: 'k1', body: '{"to":"oslo"}' })).status, 422);
  t.not(gidOf(await start(world, { key: 'k2' })), gidOf(first));
  t.is((await start(world, { key: 'k'.repeat(256) })).status, 400);
});

test('a key with other values of the headers that belong to it is refused, and gets nobody else’s answer', async (t) => {
  await using bank = await startParticipant();
  await using world = await startKeyed(bank, ['Authorization', 'x-tenant']);
  world.serve(() => Promise.resolve({ status: 201, body: 'booked for ann' }));
  const ann = { authorization: 'Bearer ann' };
  t.is((await start(world, { key: 'k7', headers: ann })).status, 201);
  for (const [headers, name] of [
    [{ authorization: 'Bearer bob' }, 'Authorization'],
    [{}, 'Authorization'],
    [{ ...ann, 'x-tenant': '' }, 'x-tenant'],
  ] as const) {
    const refused = await start(world, { key: 'k7', headers });
    t.is(refused.status, 422);
    t.true(refused.text.includes(`its header ${name} differs`), refused.text);
    t.notRegex(refused.text, /ann|bob/);
  }
  const again = await start(world, { key: 'k7', headers: { ...ann, 'user-agent': 'another' } });
  t.is(`${again.status} ${again.text} ${again.headers.get('idempotency-replayed')}`, '201 booked for ann true');
  t.is(world.seen.length, 1);
});

test('a key whose workflow failed gets that answer, and one whose workflow still runs is asked to wait', async (t) => {
  await using bank = await startParticipant();
  await using world = await startKeyed(bank);
  world.serve(() => Promise.resolve({ status: 409, body: 'full' }));
  await start(world, { key: 'k3' });
  const again = await start(world, { key: 'k3' });
  t.is(`${again.status} ${again.text} ${again.headers.get('atomesh-outcome')}`, '409 full rolled-back');
  const goOn = Promise.withResolvers<void>();
  world.serve(async () => {
    await goOn.promise;
    return { status: 200 };
  });
  const both = [start(world, { key: 'k4' }), start(world, { key: 'k4' })];
  const early = await Promise.race(both);
  t.is(early.status, 409);
  t.is(early.headers.get('retry-after'), '1');
  goOn.resolve();
  const statuses = (await Promise.all(both)).map(({ status }) => status);
  t.deepEqual(
    statuses.toSorted((one, other) => one - other),
    [200, 409],
  );
  t.is(world.seen.length, 1);
});
