import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test from 'ava';
import { CAPABILITY } from '../../proxy/mysql/wire/capabilities.ts';
import { encodePackets } from '../../proxy/mysql/wire/frames.ts';
import { encodeClientHello, encodeHandshake } from '../../proxy/mysql/wire/handshake.ts';
import { encodeOk } from '../../proxy/mysql/wire/outcome.ts';
import { until } from '../../examples/support/until.ts';
import { Random } from '../simulation/random.ts';
import { startListening } from './listening.ts';

const seed = Date.now() % 0x7fff_ffff;
const CAPABILITIES =
  CAPABILITY.longPassword |
  CAPABILITY.protocol41 |
  CAPABILITY.secureConnection |
  CAPABILITY.pluginAuth |
  CAPABILITY.deprecateEof |
  CAPABILITY.sessionTrack |
  CAPABILITY.localFiles |
  CAPABILITY.queryAttributes |
  CAPABILITY.connectAttributes;

const OK = encodeOk({
  kind: 'ok',
  endsRows: false,
  affectedRows: 0n,
  lastInsertId: 0n,
  status: 2,
  warnings: 0,
  info: undefined,
  stateChanges: undefined,
});

const HANDSHAKE = encodeHandshake({
  kind: 'handshake',
  version: Buffer.from('8.0.44'),
  connectionId: 7,
  challenge: Buffer.concat([Buffer.alloc(20, 65), Buffer.from([0])]),
  challengeLength: 21,
  capabilities: CAPABILITIES,
  charset: 45,
  status: 2,
  reserved: Buffer.alloc(10),
  plugin: Buffer.from('caching_sha2_password'),
});

const HELLO = encodeClientHello({
  kind: 'handshake-response',
  capabilities: CAPABILITIES,
  maxPacketBytes: 1 << 24,
  charset: 45,
  reserved: Buffer.alloc(23),
  user: Buffer.from('anybody'),
  authResponse: Buffer.alloc(32, 1),
  database: undefined,
  plugin: Buffer.from('caching_sha2_password'),
  attributes: [[Buffer.from('_os'), Buffer.from('x')]],
  zstdLevel: undefined,
  trailing: Buffer.alloc(0),
});

/** Bytes that stand at the beginning of something, so that more than the first branch of each decision is met. */
const FIRSTS = [0, 1, 2, 3, 3, 3, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x11, 0x1f, 0x12, 0xfa, 0xfb, 0xfc, 0xfe, 0xff];
const WORDS = [
  'select 1',
  "/*atomesh_gid='g'*/ delete from t",
  "set @atomesh_gid = 'g'",
  'atomesh',
  '\0\0\0\0',
  '\x04',
  '\x03',
];

/** A payload by chance. */
function anyPayload(random: Random): Buffer {
  const bytes = Buffer.from(Array.from({ length: random.between(0, 30) }, () => random.between(0, 255)));
  return Buffer.concat([Buffer.from([random.pick(FIRSTS)]), Buffer.from(random.pick(WORDS)), bytes]);
}

/** A packet, most of the time; some have another length or number, some bytes are changed. */
function damaged(random: Random, payload: Buffer, sequence: number): Buffer {
  const packet = encodePackets(payload, random.chance(0.9) ? sequence : random.between(0, 255));
  if (random.chance(0.15)) packet[random.between(0, packet.length - 1)] = random.between(0, 255);
  return random.chance(0.05) ? packet.subarray(0, random.between(1, packet.length)) : packet;
}

test('whatever client and server say, the sidecar lives, keeps little of it, and lets go of both', async (t) => {
  t.log(`seed ${seed}`);
  const random = new Random(seed);
  const servers = new Set<Socket>();
  const stand = createServer((socket) => {
    servers.add(socket);
    socket.on('error', () => socket.destroy()).once('close', () => servers.delete(socket));
    socket.write(random.chance(0.9) ? encodePackets(HANDSHAKE, 0) : damaged(random, HANDSHAKE, 0));
    let isLoggedIn = false;
    socket.on('data', () => {
      if (!isLoggedIn && random.chance(0.8)) {
        isLoggedIn = true;
        socket.write(encodePackets(OK, 2));
        return;
      }
      const count = random.between(1, 6);
      for (let left = count; left > 0 && !socket.destroyed; left -= 1) {
        socket.write(damaged(random, random.chance(0.4) ? OK : anyPayload(random), count - left + 1));
      }
    });
  });
  stand.listen(0, '127.0.0.1');
  await once(stand, 'listening');
  await using sidecar = await startListening({
    to: (stand.address() as AddressInfo).port,
    statementBytesMax: 1 << 20,
    options: { auth: { timeout: '2s' } },
  });
  const before = process.memoryUsage().arrayBuffers;
  let heard = 0;
  for (let round = 0; round < 15; round += 1) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const client = connect(sidecar.port, '127.0.0.1');
        client.on('error', () => client.destroy());
        let left = random.between(1, 12);
        client.on('data', (chunk: Buffer) => {
          heard += chunk.length;
          if (left === 12 || random.chance(0.1)) return void client.write(damaged(random, anyPayload(random), 1));
          client.write(
            heard === chunk.length || random.chance(0.5)
              ? encodePackets(HELLO, 1)
              : damaged(random, anyPayload(random), 0),
          );
          left -= 1;
          if (left <= 0) client.destroy();
          return undefined;
        });
        const closed = once(client, 'close');
        // Either side may wait for the other for ever: that is not the sidecar's affair.
        await Promise.race([
          closed,
          until('it is enough', () => Promise.resolve(undefined), { withinMs: 200 }).catch(() => undefined),
        ]);
        client.destroy();
        await closed;
      }),
    );
  }
  t.true(heard > 10_000, `only ${heard} bytes were heard`);
  // A server that owes an answer for ever is waited for, as a client without a sidecar waits for it.
  for (const socket of servers) socket.destroy();
  await until('the sidecar has let go of all', () =>
    Promise.resolve(sidecar.listener.sessions === 0 && servers.size === 0 ? true : undefined),
  );
  t.true(process.memoryUsage().arrayBuffers - before < 100_000_000);
  stand.close();
});
