import test from 'ava';
import {
  CAPABILITY,
  agreed,
  has,
  insistsOnCompression,
  namesOf,
  offeredTo,
} from '../../../proxy/mysql/wire/capabilities.ts';
import { decodeHandshake, encodeHandshake, narrowHandshake } from '../../../proxy/mysql/wire/handshake.ts';

const ALL = Object.values(CAPABILITY).reduce((all, flag) => all | flag, 0n);

test('what the sidecar cannot follow is not offered, whatever the server has', (t) => {
  const offered = namesOf(offeredTo((1n << 64n) - 1n, { tls: false }));
  for (const name of ['compress', 'zstd', 'optionalMetadata', 'mariadbMulti', 'extension', 'ssl']) {
    t.false(offered.includes(name), name);
  }
  for (const name of ['deprecateEof', 'sessionTrack', 'queryAttributes', 'mariadbBulk', 'mariadbCacheMetadata']) {
    t.true(offered.includes(name), name);
  }
  t.true(offeredTo((1n << 64n) - 1n, { tls: false }) < 1n << 38n, 'flags without a name');
});

test('nothing is offered that the server does not have, but for the TLS of the sidecar’s own', (t) => {
  for (const flag of Object.values(CAPABILITY)) t.is(offeredTo(flag, { tls: false }) & ~flag, 0n);
  t.is(offeredTo(0n, { tls: true }), CAPABILITY.ssl);
});

test('both legs have what was offered and asked for', (t) => {
  const offered = offeredTo(ALL, { tls: false });
  const asked = CAPABILITY.protocol41 | CAPABILITY.compress | CAPABILITY.deprecateEof;
  t.is(agreed(offered, asked), CAPABILITY.protocol41 | CAPABILITY.deprecateEof);
  t.true(has(asked, CAPABILITY.compress));
});

test('a client that compresses without an offer is found', (t) => {
  const offered = offeredTo(ALL, { tls: false });
  t.true(insistsOnCompression(offered, CAPABILITY.compress));
  t.true(insistsOnCompression(offered, CAPABILITY.zstd | CAPABILITY.protocol41));
  // Flags that mean nothing to the server may be set freely: drivers do.
  t.false(insistsOnCompression(offered, CAPABILITY.interactive | CAPABILITY.odbc | CAPABILITY.rememberOptions));
});

test('a handshake is shown to the client with what the sidecar can follow, and encodes to as many bytes', (t) => {
  const server = (1n << 38n) - 1n - CAPABILITY.longPassword;
  const handshake = {
    kind: 'handshake' as const,
    version: Buffer.from('5.5.5-10.11.19-MariaDB'),
    connectionId: 1,
    challenge: Buffer.alloc(21),
    challengeLength: 21,
    capabilities: server,
    charset: 45,
    status: 2,
    reserved: Buffer.alloc(6),
    plugin: Buffer.from('mysql_native_password'),
  };
  const narrowed = narrowHandshake(handshake, { tls: false });
  t.is(narrowed.capabilities, offeredTo(server, { tls: false }));
  t.is(encodeHandshake(narrowed).length, encodeHandshake(handshake).length);
  t.deepEqual(decodeHandshake(encodeHandshake(narrowed)), narrowed);
});
