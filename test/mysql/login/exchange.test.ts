import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import test from 'ava';
import { createKeys } from '../../../proxy/mysql/login/keys.ts';
import { Exchange, type Move, type Sides } from '../../../proxy/mysql/login/exchange.ts';
import { decodeAuthentication, encodeAuthentication } from '../../../proxy/mysql/wire/authentication.ts';
import { decryptPassword, encryptPassword } from '../../../proxy/mysql/wire/scramble.ts';

const PASSWORD = Buffer.from('pässwörd');
const SCRAMBLE = Buffer.from('12345678901234567890');
const CHALLENGE = Buffer.concat([SCRAMBLE, Buffer.from([0])]);
const FAST = Buffer.from([1, 3]);
const FULL = Buffer.from([1, 4]);
const KEY_REQUEST = Buffer.from([2]);
const keys = createKeys();
const ofServer = generateKeyPairSync('rsa', { modulusLength: 2048 });

const SIDES: readonly Sides[] = [
  { client: 'plain', server: 'plain' },
  { client: 'tls', server: 'tls' },
  { client: 'plain', server: 'tls' },
  { client: 'tls', server: 'plain' },
];

async function exchange(sides: Sides, plugin = 'caching_sha2_password'): Promise<Exchange> {
  return new Exchange({ sides, plugin, challenge: CHALLENGE, keys: await keys() });
}

function shown(move: Move): string {
  return move.kind === 'refuse' ? `refused ${move.refusal.errno}` : `to ${move.to}, then ${move.next}`;
}

function payloadOf(move: Move): Buffer {
  if (move.kind === 'refuse') throw new Error(move.refusal.message);
  return move.payload;
}

test('what the server knows already goes through as it comes, and the client does not answer', async (t) => {
  for (const sides of SIDES) {
    const move = (await exchange(sides)).server(FAST);
    t.is(shown(move), 'to client, then server');
    t.deepEqual(payloadOf(move), FAST);
  }
});

test('where the sides are equal the password goes through as it comes', async (t) => {
  for (const sides of SIDES.slice(0, 2)) {
    const between = await exchange(sides);
    t.is(shown(between.server(FULL)), 'to client, then client');
    const said = Buffer.from('whatever\0');
    const move = between.client(said);
    t.is(shown(move), 'to server, then server');
    t.deepEqual(payloadOf(move), said);
  }
});

test('a client without TLS gets the sidecar’s key, and the server the password over its TLS', async (t) => {
  const between = await exchange({ client: 'plain', server: 'tls' });
  between.server(FULL);
  const key = between.client(KEY_REQUEST);
  t.is(shown(key), 'to client, then client');
  const sent = decodeAuthentication(payloadOf(key));
  if (sent.kind !== 'auth-more-data') return t.fail();
  const move = between.client(encryptPassword(PASSWORD, SCRAMBLE, createPublicKey(sent.data.toString())));
  t.is(shown(move), 'to server, then server');
  t.deepEqual(payloadOf(move), Buffer.concat([PASSWORD, Buffer.from([0])]));
});

test('a password under another key than the sidecar’s is refused', async (t) => {
  const between = await exchange({ client: 'plain', server: 'tls' });
  between.server(FULL);
  t.is(shown(between.client(encryptPassword(PASSWORD, SCRAMBLE, ofServer.publicKey))), 'refused 1045');
});

test('a client with TLS sends the password, and the server gets it under its own key', async (t) => {
  const between = await exchange({ client: 'tls', server: 'plain' });
  between.server(FULL);
  const asked = between.client(Buffer.concat([PASSWORD, Buffer.from([0])]));
  t.is(shown(asked), 'to server, then server');
  t.deepEqual(payloadOf(asked), KEY_REQUEST);
  const pem = ofServer.publicKey.export({ type: 'spki', format: 'pem' });
  const move = between.server(encodeAuthentication({ kind: 'auth-more-data', data: Buffer.from(pem) }));
  t.is(shown(move), 'to server, then server');
  t.deepEqual(decryptPassword(payloadOf(move), SCRAMBLE, ofServer.privateKey), PASSWORD);
  t.is(shown(between.server(Buffer.from('\x01no key'))), 'to client, then client');
});

test('what is no key, and what is no password, ends the login', async (t) => {
  const between = await exchange({ client: 'tls', server: 'plain' });
  between.server(FULL);
  t.is(shown(between.client(Buffer.from('no NUL'))), 'refused 1835');
  between.client(Buffer.concat([PASSWORD, Buffer.from([0])]));
  t.is(shown(between.server(Buffer.from('\x01no key'))), 'refused 1835');
});

test('a switch changes the method and the challenge', async (t) => {
  const between = await exchange({ client: 'plain', server: 'tls' }, 'mysql_native_password');
  const other = Buffer.from('abcdefghijabcdefghij');
  const challenge = Buffer.concat([other, Buffer.from([0])]);
  const plugin = Buffer.from('caching_sha2_password');
  t.is(
    shown(between.server(encodeAuthentication({ kind: 'auth-switch', plugin, challenge }))),
    'to client, then client',
  );
  between.client(Buffer.alloc(32));
  between.server(FULL);
  const { publicKey } = await keys();
  const move = between.client(encryptPassword(PASSWORD, other, createPublicKey(publicKey)));
  t.deepEqual(payloadOf(move), Buffer.concat([PASSWORD, Buffer.from([0])]));
});

test('methods that send the password otherwise are refused where it would not arrive, or be read by others', async (t) => {
  const refused = async (plugin: string): Promise<readonly string[]> => {
    const found: string[] = [];
    for (const sides of SIDES) {
      const { obstacle } = await exchange(sides, plugin);
      const switched = (await exchange(sides)).server(
        encodeAuthentication({ kind: 'auth-switch', plugin: Buffer.from(plugin), challenge: CHALLENGE }),
      );
      t.is(obstacle === undefined, switched.kind === 'say');
      if (obstacle !== undefined) found.push(`${sides.client}-${sides.server}`);
    }
    return found;
  };
  t.deepEqual(await refused('sha256_password'), ['plain-tls', 'tls-plain']);
  t.deepEqual(await refused('mysql_clear_password'), ['tls-plain']);
  t.deepEqual(await refused('dialog'), ['tls-plain']);
  t.deepEqual(await refused('client_ed25519'), []);
});
