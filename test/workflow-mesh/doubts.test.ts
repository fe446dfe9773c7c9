import { once } from 'node:events';
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { freePort } from '../../examples/support/free-port.ts';
import { until } from '../../examples/support/until.ts';
import { httpStatusOf } from '../../src/contract/errors.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { startWorld, type AppRequest, type Reply, type World } from '../inbound/world.ts';
import { startParticipant, type Participant } from './participant.ts';

const WORKFLOW = { match: 'POST /trips', begin: { workflow: true, timeout: '20s', rerunAfter: '100ms' } };

function worldWith(bank: Participant, extra: object = {}): Promise<World> {
  return startWorld({
    hasDatabase: false,
    inbound: { transactions: [WORKFLOW] },
    outbound: {
      upstreams: { bank: { url: bank.url } },
      routes: [
        {
          match: `POST ${bank.url}/{room}/try`,
          tcc: {
            confirm: `POST ${bank.url}/\${path.room}/confirm`,
            cancel: `POST ${bank.url}/\${path.room}/cancel`,
          },
        },
      ],
    },
    ...extra,
  });
}

function dies(request: AppRequest): 'silence' {
  request.message.socket.destroy();
  return 'silence';
}

function errorOf(reply: Reply): string {
  const { error } = JSON.parse(reply.text) as { error: { code: string; retry: string; hint?: string } };
  return `${reply.status} ${error.code} ${error.retry} ${reply.headers.get('atomesh-outcome')}`;
}

test.serial(
  'a later run that goes another way commits nothing: the branch that it did not come to is cancelled with its own',
  async (t) => {
    await using bank = await startParticipant();
    await using world = await worldWith(bank);
    bank.answers.set('POST /12/try', 'silence');
    world.serve(async (request) => {
      const room = world.seen.length === 1 ? 12 : 13;
      const calling = world.call(request.mark, 'POST', `/bank/${room}/try`, { body: '{}' });
      if (room === 13) return { status: (await calling).status };
      calling.catch(() => undefined);
      await until('room 12 is tried', async () => (bank.heard.length > 0 ? true : undefined));
      return dies(request);
    });
    const reply = await world.ask('POST', '/trips', { body: '{}' });
    const view = await world.over(reply.headers.get('atomesh-gid') as Gid);
    t.is(view.status, 'failed');
    t.regex(view.reason ?? '', /REPLAY_MISMATCH: .*12\/try/);
    t.deepEqual(
      bank.calls.map((what) => what.split(' ')[1] ?? '').toSorted((one, other) => one.localeCompare(other)),
      ['/12/cancel', '/12/try', '/13/cancel', '/13/try'],
    );
  },
);

test.serial('a recorded branch of an earlier run is confirmed by the run that replays it', async (t) => {
  await using bank = await startParticipant();
  await using world = await worldWith(bank);
  world.serve(async (request) => {
    const { status } = await world.call(request.mark, 'POST', '/bank/12/try', { body: '{}' });
    return world.seen.length < 3 ? dies(request) : { status };
  });
  const reply = await world.ask('POST', '/trips', { body: '{}' });
  t.is((await world.over(reply.headers.get('atomesh-gid') as Gid)).status, 'succeed');
  t.deepEqual(bank.calls, ['POST /12/try {}', 'POST /12/confirm {}']);
});

test.serial('an end that was recorded is carried out by a later run, whose number is another', async (t) => {
  await using bank = await startParticipant();
  let isLost = true;
  await using world = await worldWith(bank, {
    watch: ({ path }: { path: string }) => (isLost && path.endsWith('/submit') ? 'lost' : 'pass'),
    inbound: { transactions: [{ match: 'POST /trips', begin: { ...WORKFLOW.begin, timeout: '4s' } }] },
  });
  world.serve(async (request) => ({
    status: (await world.call(request.mark, 'POST', '/bank/12/try', { body: '{}' })).status,
  }));
  const asked = world.ask('POST', '/trips', { body: '{}' });
  const gid = await until('the end is recorded', async () => {
    const [request] = world.seen;
    const view = request && (await world.coordinator.read(request.mark.split('/')[0] as Gid));
    return view?.steps?.includes('answer') === true ? view.gid : undefined;
  });
  t.is((await world.coordinator.runs(gid)).run, 2);
  isLost = false;
  await asked;
  t.is((await world.over(gid)).status, 'succeed');
  t.deepEqual(bank.calls, ['POST /12/try {}', 'POST /12/confirm {}']);
  t.is(world.seen.length, 1);
});

test.serial('a program that puts up with a 503 is not taken for another one when it runs again', async (t) => {
  await using bank = await startParticipant();
  await using world = await worldWith(bank);
  bank.answers.set('PUT /user', 503);
  world.serve(async (request) => {
    await world.call(request.mark, 'PUT', '/bank/user', { body: '1' });
    bank.answers.clear();
    const { status } = await world.call(request.mark, 'PUT', '/bank/user', { body: '2' });
    return world.seen.length === 1 ? dies(request) : { status };
  });
  const reply = await world.ask('POST', '/trips', { body: '{}' });
  t.is((await world.over(reply.headers.get('atomesh-gid') as Gid)).status, 'succeed');
  t.deepEqual(bank.calls, ['PUT /user 1', 'PUT /user 2', 'PUT /user 1']);
});

test.serial(
  'a client whose request is stored is never told that it may repeat it, though the application was not reached',
  async (t) => {
    await using bank = await startParticipant();
    const port = await freePort();
    await using world = await worldWith(bank, {
      inbound: { transactions: [WORKFLOW], target: `http://127.0.0.1:${port}` },
    });
    const reply = await world.ask('POST', '/trips', { body: '{}' });
    t.is(errorOf(reply), '502 UPSTREAM_UNREACHABLE ask pending');
    t.regex(reply.text, /run again/);
    const gid = reply.headers.get('atomesh-gid') as Gid;
    const server = createServer((_request, response) => response.end('late')).listen(port, '127.0.0.1');
    await once(server, 'listening');
    t.is((await world.over(gid)).status, 'succeed');
    server.closeAllConnections();
    server.close();
  },
);

test.serial('a gRPC call begins no workflow', async (t) => {
  await using bank = await startParticipant();
  await using world = await worldWith(bank);
  const headers = { 'content-type': 'application/grpc+proto' };
  t.is(errorOf(await world.ask('POST', '/trips', { body: '', headers })), '400 BAD_REQUEST never null');
  t.is(world.seen.length, 0);
});

test.serial('a 5xx of a run that is run again says that its outcome is pending', async (t) => {
  await using bank = await startParticipant();
  await using world = await worldWith(bank);
  world.serve(() => Promise.resolve({ status: world.seen.length === 1 ? 503 : 200 }));
  const reply = await world.ask('POST', '/trips', { body: '{}' });
  t.is(`${reply.status} ${reply.headers.get('atomesh-outcome')}`, '503 pending');
  t.is((await world.over(reply.headers.get('atomesh-gid') as Gid)).status, 'succeed');
});

test.serial('a begin whose answer is lost is taken back, and its client told that nobody knows', async (t) => {
  await using bank = await startParticipant();
  await using world = await worldWith(bank, {
    // The coordinator asks for no run of it before it is taken back.
    inbound: { transactions: [{ ...WORKFLOW, begin: { ...WORKFLOW.begin, rerunAfter: '20s' } }] },
    watch: ({ when, path }: { when: string; path: string }) =>
      when === 'after' && path === '/v1/transactions' ? 'lost' : 'pass',
  });
  const reply = await world.ask('POST', '/trips', { body: '{}' });
  t.is(errorOf(reply), `${httpStatusOf('OUTCOME_UNKNOWN')} OUTCOME_UNKNOWN ask null`);
  const gid = /transactions\/([^ ]+) /.exec(reply.text)?.[1] as Gid;
  t.is((await world.over(gid)).status, 'failed');
  t.is(world.seen.length, 0);
});

test.serial(
  'a begin with a key whose answer is lost is not taken back: the same key again is the same request',
  async (t) => {
    await using bank = await startParticipant();
    let losses = 2;
    await using world = await worldWith(bank, {
      watch: ({ when, path }: { when: string; path: string }) =>
        when === 'after' && path === '/v1/transactions' && losses-- > 0 ? 'lost' : 'pass',
    });
    world.serve(() => Promise.resolve({ status: 200, body: 'done' }));
    const init = { body: '{}', headers: { 'idempotency-key': 'k' } };
    const first = await world.ask('POST', '/trips', init);
    t.is(errorOf(first), `${httpStatusOf('OUTCOME_UNKNOWN')} OUTCOME_UNKNOWN safe null`);
    const again = await until('its answer', async () => {
      const reply = await world.ask('POST', '/trips', init);
      return reply.status === 200 ? reply : undefined;
    });
    t.is(`${again.status} ${again.text}`, '200 done');
    t.is(world.seen.length, 1);
  },
);

test.serial('a request that surely never reached the coordinator may be repeated', async (t) => {
  await using bank = await startParticipant();
  await using world = await worldWith(bank);
  await world.stopCoordinator();
  t.is(errorOf(await world.ask('POST', '/trips', { body: '{}' })), '503 COORDINATOR_UNREACHABLE safe null');
  await world.startAgain();
});

test.serial(
  'an answer that was too long to be kept is replayed as an error that says how it ended, and leaves the connection whole',
  async (t) => {
    await using bank = await startParticipant();
    await using world = await worldWith(bank, { limits: { body: '64KiB' } });
    world.serve((request) => {
      const body = 'x'.repeat(request.body === 'long' ? 200_000 : 200);
      return Promise.resolve({
        status: 201,
        body,
        headers: { 'content-length': String(body.length), 'set-cookie': 's=1' },
      });
    });
    for (const [body, expected] of [
      ['short', '201 200 committed true null'],
      ['long', '500 BODY_TOO_LARGE never committed'],
    ] as const) {
      const init = { body, headers: { 'idempotency-key': body } };
      t.is((await world.ask('POST', '/trips', init)).headers.get('set-cookie'), 's=1');
      const again = await world.ask('POST', '/trips', init);
      const said =
        again.status === 201
          ? `${again.status} ${again.text.length} ${again.headers.get('atomesh-outcome')} ${again.headers.get('idempotency-replayed')} ${again.headers.get('set-cookie')}`
          : errorOf(again);
      t.is(said, expected);
    }
  },
);

test.serial(
  'a program that loses an answer while it reads it gets it from the record when it asks again',
  async (t) => {
    const whole = Buffer.alloc(11 * 1024 * 1024, 'x');
    let calls = 0;
    const bank = createServer((request, response) => {
      calls += 1;
      request.resume().on('end', () => response.writeHead(200, { 'content-length': whole.length }).end(whole));
    }).listen(0, '127.0.0.1');
    await once(bank, 'listening');
    t.teardown(() => {
      bank.closeAllConnections();
      bank.close();
    });
    const url = `http://127.0.0.1:${(bank.address() as AddressInfo).port}`;
    await using world = await startWorld({
      hasDatabase: false,
      limits: { body: '32MiB' },
      coordinator: { limits: { body: '64MiB' } },
      // What is recorded is large.
      coordinatorTimeout: '30s',
      inbound: { transactions: [{ match: 'POST /trips', begin: { ...WORKFLOW.begin, rerunAfter: '20s' } }] },
      outbound: { upstreams: { bank: { url } } },
    });
    world.serve(async (request) => {
      const headers = { 'atomesh-gid': request.mark };
      const outgoing = send({ port: world.sidecar.ports.outbound, path: '/bank/pay', method: 'POST', headers }).end(
        '1',
      );
      await once(outgoing, 'response');
      outgoing.destroy();
      const again = await world.call(request.mark, 'POST', '/bank/pay', { body: '1' });
      return { status: 200, body: `${again.text.length} ${again.headers.get('atomesh-replayed')}` };
    });
    const reply = await world.ask('POST', '/trips', { body: '{}' });
    t.is(reply.text, `${whole.length} true`);
    t.is(calls, 1);
  },
);
