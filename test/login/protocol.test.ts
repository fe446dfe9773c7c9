import { pbkdf2Sync } from 'node:crypto';
import test from 'ava';
import type { PostgresMajor, PostgresServer } from '../../examples/support/postgres-server.ts';
import { ClientLogin } from '../../proxy/postgres/login/client-login.ts';
import { KEY_BYTES } from '../../proxy/postgres/login/scram.ts';
import { decodeAuthentication } from '../../proxy/postgres/wire/authentication.ts';
import { decodeNegotiateProtocolVersion, encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import { query } from '../sql-passthrough/support/messages.ts';
import { startListening } from '../sql-passthrough/support/listening.ts';
import { RawClient, rowsOf } from '../sql-passthrough/support/raw-client.ts';
import { startServer } from './stage.ts';

const servers = new Map<PostgresMajor, PostgresServer>();
test.before(async () => {
  for (const major of [16, 18] as const) servers.set(major, await startServer(major));
});
test.after.always(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
});

const VERSION_3_0 = 0x0003_0000;
const VERSION_3_2 = 0x0003_0002;
const VERSION_3_9999 = 0x0003_270f;

const MANAGED = {
  auth: { mode: 'managed', role: { user: 'by_trust' }, clients: [{ user: 'orders', password: 'customer' }] },
};

/** Logs in with SCRAM and gives the client, whose frames hold everything that it heard. */
async function logIn(
  client: RawClient,
  protocol: number,
  parameters: Readonly<Record<string, string>> = {},
): Promise<void> {
  const login = new ClientLogin({
    user: 'orders',
    password: 'customer',
    isEncrypted: false,
    binding: undefined,
    nonce: 'a nonce'.replace(' ', '-'),
  });
  await client.startUp({ user: 'orders', database: 'orders', ...parameters }, protocol);
  let seen = 0;
  const nextRequest = async (): Promise<Buffer> => {
    seen += 1;
    await client.until('R', () => client.count('R') >= seen);
    return client.frames.filter(({ type }) => type === 'R')[seen - 1]?.bytes.subarray(5) ?? Buffer.alloc(0);
  };
  for (let isIn = false; !isIn;) {
    const request = decodeAuthentication(await nextRequest());
    if (request.kind === 'fault') throw new Error(request.message);
    let step = login.receive(request);
    if (step.kind === 'derive')
      step = login.derived(pbkdf2Sync('customer', step.salt, step.iterations, KEY_BYTES, 'sha256'));
    if (step.kind === 'failed') throw new Error(step.reason);
    if (step.kind === 'send') await client.send(step.bytes);
    isIn = step.kind === 'done';
  }
  await client.ready();
}

function negotiated(client: RawClient): object | undefined {
  const frame = client.frames.find(({ type }) => type === 'v');
  if (frame === undefined) return undefined;
  const message = decodeNegotiateProtocolVersion(frame.bytes.subarray(5));
  return message.kind === 'fault'
    ? message
    : { newest: message.newest, unknownOptions: message.unknownOptions.map(String) };
}

for (const major of [16, 18] as const) {
  test(`PostgreSQL ${major}: managed sessions speak 3.0 and 3.2, and are told what is newer than that, ahead of everything else`, async (t) => {
    await using sidecar = await startListening({ to: servers.get(major)?.port ?? 0, options: MANAGED });
    for (const [protocol, options, expected] of [
      [VERSION_3_0, {}, undefined],
      [VERSION_3_2, {}, undefined],
      [VERSION_3_9999, {}, { newest: VERSION_3_2, unknownOptions: [] }],
      [
        VERSION_3_0,
        { '_pq_.one': '1', '_pq_.two': '' },
        { newest: VERSION_3_0, unknownOptions: ['_pq_.one', '_pq_.two'] },
      ],
    ] as const) {
      using client = new RawClient({ port: sidecar.port, chunkBytes: 5 });
      await logIn(client, protocol, options);
      t.deepEqual(negotiated(client), expected);
      if (expected !== undefined) t.is(client.frames[0]?.type, 'v');
      t.deepEqual(rowsOf(await client.query('select current_user')), [['by_trust']]);
    }
  });

  test(`PostgreSQL ${major}: a managed session of 3.2 is cancelled with the key it was given, however long`, async (t) => {
    const port = servers.get(major)?.port ?? 0;
    await using sidecar = await startListening({ to: port, options: MANAGED });
    using client = new RawClient({ port: sidecar.port });
    await logIn(client, VERSION_3_2);
    const secret = client.keyData.subarray(4);
    t.is(secret.length, major === 18 ? 32 : 4);
    const from = client.frames.length;
    await client.send([query('select pg_sleep(30)')]);
    using observer = await new RawClient({ port }).logIn('postgres');
    for (let rows = 0; rows === 0;) {
      rows = rowsOf(await observer.query("select 1 from pg_stat_activity where wait_event = 'PgSleep'")).length;
    }
    using canceller = new RawClient({ port: sidecar.port });
    await canceller.send(encodeStartupPacket({ kind: 'cancel-request', processId: client.processId, secret }));
    await canceller.closed();
    await client.ready(1, from);
    t.is(client.errors[0]?.code, '57014');
  });

  test(`PostgreSQL ${major}: passed through, the server itself answers for versions and options`, async (t) => {
    const port = servers.get(major)?.port ?? 0;
    await using sidecar = await startListening({ to: port });
    for (const [protocol, options] of [
      [VERSION_3_2, {}],
      [VERSION_3_9999, {}],
      [VERSION_3_0, { '_pq_.one': '1' }],
    ] as const) {
      using through = await new RawClient({ port: sidecar.port }).logIn(
        'orders',
        { user: 'by_trust', ...options },
        protocol,
      );
      using direct = await new RawClient({ port }).logIn('orders', { user: 'by_trust', ...options }, protocol);
      t.deepEqual(negotiated(through), negotiated(direct));
      t.is(through.types, direct.types);
    }
  });
}
