import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import test from 'ava';
import { ed25519Password, ed25519PublicKey } from '../../../proxy/mysql/wire/ed25519.ts';
import {
  cachingSha2Password,
  decryptPassword,
  encryptPassword,
  nativePassword,
} from '../../../proxy/mysql/wire/scramble.ts';

const secret = Buffer.from('secret');
const empty = Buffer.alloc(0);

test('mysql_native_password gives the vector of the driver of Go', (t) => {
  const challenge = Buffer.from([70, 114, 92, 94, 1, 38, 11, 116, 63, 114, 23, 101, 126, 103, 26, 95, 81, 17, 24, 21]);
  t.is(nativePassword(secret, challenge).toString('hex'), '35b18c9ffbbd7f356dfcac32d3c0f0a41a30cf2d');
  t.is(nativePassword(empty, challenge).length, 0);
});

test('caching_sha2_password gives the vectors of the driver of Go', (t) => {
  const challenge = Buffer.from([10, 47, 74, 111, 75, 73, 34, 48, 88, 76, 114, 74, 37, 13, 3, 80, 82, 2, 23, 21]);
  const vectors = {
    secret: 'f490e76f66d9d86665ce54d98c78d0acfe2fb0b08b423da807144873d30b312c',
    secret2: 'abc3934a012cf342e876071c8ee202de51785b430258a7a0138bc79c4d800bc6',
  };
  for (const [password, answer] of Object.entries(vectors)) {
    t.is(cachingSha2Password(Buffer.from(password), challenge).toString('hex'), answer);
  }
  t.is(cachingSha2Password(empty, challenge).length, 0);
});

test('a password under a server’s RSA key comes out of it with the challenge, and not otherwise', (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const challenge = Buffer.from('12345678901234567890');
  for (const password of [empty, secret, Buffer.from('a password longer than its challenge is')]) {
    const encrypted = encryptPassword(password, challenge, publicKey.export({ type: 'spki', format: 'pem' }));
    t.is(encrypted.length, 256);
    t.deepEqual(decryptPassword(encrypted, challenge, privateKey), password);
    t.notDeepEqual(decryptPassword(encrypted, Buffer.from('09876543210987654321'), privateKey), password);
    t.is(decryptPassword(encrypted.subarray(1), challenge, privateKey), undefined);
  }
});

test('client_ed25519 has the public key of MariaDB’s documentation, and signs for it', (t) => {
  const known = ed25519PublicKey(secret);
  t.is(known.toString('base64'), 'ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY=');
  for (const password of [empty, secret, Buffer.from('pässwörd')]) {
    const x = ed25519PublicKey(password).toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    const challenge = Buffer.alloc(32, password.length + 1);
    const signature = ed25519Password(password, challenge);
    t.is(signature.length, 64);
    t.true(verify(null, challenge, key, signature));
    t.false(verify(null, Buffer.alloc(32, 0xee), key, signature));
  }
});
