import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import { startListening } from '../sql-passthrough/support/listening.ts';
import { RawClient, startupPacket } from '../sql-passthrough/support/raw-client.ts';
import { makeCertificates, type Certificates } from './stage.ts';

let certificates: Certificates;
test.before(async () => {
  certificates = await makeCertificates();
});
test.after.always(() => certificates[Symbol.asyncDispose]());

/** Nobody gets as far as a database here: there is none. */
function options(timeout: string): Readonly<Record<string, unknown>> {
  return {
    listenTls: { mode: 'allow', certificate: certificates.server, key: certificates.serverKey },
    auth: { mode: 'managed', timeout, role: { user: 'a' }, clients: [{ user: 'orders', password: 'customer' }] },
  };
}

const ASKING = encodeStartupPacket({ kind: 'ssl-request' });
const STARTUP = startupPacket({ user: 'orders', database: 'orders' });

for (const [where, bytes] of [
  ['before its first byte', Buffer.alloc(0)],
  ['in the middle of its start-up message', STARTUP.subarray(0, 9)],
  ['in the middle of the TLS handshake', ASKING],
  ['in the middle of a direct TLS handshake', Buffer.from([0x16, 3, 1, 2])],
  ['before its first answer', STARTUP],
  ['in the middle of its first answer', Buffer.concat([STARTUP, Buffer.from('p\0\0\0\x50SCRAM', 'latin1')])],
] as const) {
  test(`a client that falls silent ${where} is cut off`, async (t) => {
    await using sidecar = await startListening({ to: 1, options: options('300ms') });
    const client = connect({ host: '127.0.0.1', port: sidecar.port });
    client.on('error', () => undefined).resume();
    client.write(bytes);
    const begun = performance.now();
    await once(client, 'close', { signal: AbortSignal.timeout(10_000) });
    t.true(performance.now() - begun < 8000);
    t.is(sidecar.listener.sessions, 0);
  });
}

test('whatever is sent in place of a login, the sidecar goes on and nobody gets in', async (t) => {
  const seed = Number(process.env['ATOMESH_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.log(`seed ${seed}`);
  await using sidecar = await startListening({ to: 1, options: options('2s') });
  const first = fc.constantFrom('n,,n=,r=abc', 'y,,n=,r=abc', 'p=tls-unique,,n=,r=abc', '', 'n,,n=,r=\0');
  const initial = fc
    .tuple(fc.constantFrom('SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS', 'PLAIN', ''), first, fc.integer({ min: -1, max: 40 }))
    .map(([mechanism, data, length]) => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(length);
      return Buffer.concat([Buffer.from(`${mechanism}\0`), size, Buffer.from(data)]);
    });
  const frame = fc
    .tuple(fc.constantFrom('p', 'Q', 'X', 'p'), fc.oneof(initial, fc.uint8Array({ maxLength: 60 })))
    .map(([type, body]) => {
      const header = Buffer.alloc(5);
      header.write(type, 0, 'latin1');
      header.writeInt32BE(body.length + 4, 1);
      return Buffer.concat([header, body]);
    });
  const hostile = fc.oneof(
    fc.array(frame, { minLength: 1, maxLength: 4 }).map((frames) => Buffer.concat(frames)),
    fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  );
  await fc.assert(
    fc.asyncProperty(hostile, fc.boolean(), fc.integer({ min: 1, max: 40 }), async (bytes, isStarted, chunkBytes) => {
      using client = new RawClient({ port: sidecar.port, chunkBytes });
      if (isStarted) await client.send(STARTUP);
      await client.send(bytes);
      client.socket.end();
      await client.closed();
      return client.count('Z') === 0 && client.errors.every(({ code }) => code !== 'XX000');
    }),
    { seed, numRuns: 150 },
  );
  t.is(sidecar.listener.sessions, 0);
  using last = new RawClient({ port: sidecar.port });
  await last.send(STARTUP);
  await last.until('R', () => last.count('R') === 1);
});
