/** Both halves of a login that the sidecar manages, message by message. */
import { generateKeyPairSync } from 'node:crypto';
import test from 'ava';
import { ClientLogin } from '../../../proxy/mysql/login/client-login.ts';
import { createAccounts } from '../../../proxy/mysql/login/accounts.ts';
import { newChallenge } from '../../../proxy/mysql/login/managed.ts';
import { ServerLogin, type Method } from '../../../proxy/mysql/login/server-login.ts';
import { decodeAuthentication, encodeAuthentication } from '../../../proxy/mysql/wire/authentication.ts';
import { ed25519Password } from '../../../proxy/mysql/wire/ed25519.ts';
import { scrambleOf } from '../../../proxy/mysql/wire/handshake.ts';
import { cachingSha2Password, decryptPassword, nativePassword } from '../../../proxy/mysql/wire/scramble.ts';
import { Secret } from '../../../src/platform/option-types.ts';

const PASSWORD = Buffer.from('pässwörd');
const NONE = Buffer.alloc(0);
const CHALLENGE = Buffer.from('12345678901234567890\0');
const NEXT = Buffer.from('abcdefghijklmnopqrst\0');
const NATIVE = 'mysql_native_password';
const SHA2 = 'caching_sha2_password';
const METHODS = [
  [NATIVE, nativePassword],
  [SHA2, cachingSha2Password],
] as const;
const ofServer = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = Buffer.from(ofServer.publicKey.export({ type: 'spki', format: 'pem' }).toString());
const FULL = Buffer.from([1, 4]);
const FAST = Buffer.from([1, 3]);

function asking(password: Buffer = PASSWORD, usual: Method = SHA2): ServerLogin {
  return new ServerLogin({ password, usual, challenge: CHALLENGE, nextChallenge: NEXT });
}

function switchTo(plugin: string, challenge: Buffer = NEXT): Buffer {
  return encodeAuthentication({ kind: 'auth-switch', plugin: Buffer.from(plugin), challenge });
}

for (const [method, make] of METHODS) {
  test(`${method}: a client is in by the answer to the challenge that it was asked, and by no other`, (t) => {
    const welcome = method === SHA2 ? FAST : undefined;
    t.deepEqual(asking().first(method, make(PASSWORD, scrambleOf(CHALLENGE))), { kind: 'proved', welcome });
    t.like(asking().first(method, make(PASSWORD, scrambleOf(NEXT))), { kind: 'refused', hasAnswered: true });
    const login = asking();
    const step = login.first('dialog', make(PASSWORD, scrambleOf(CHALLENGE)));
    if (step.kind !== 'ask') return t.fail(step.kind);
    t.like(decodeAuthentication(step.payload), { plugin: Buffer.from(SHA2), challenge: NEXT });
    t.like(login.answered(cachingSha2Password(PASSWORD, scrambleOf(NEXT))), { kind: 'proved' });
    const other = asking(PASSWORD, NATIVE);
    t.like(other.first('dialog', NONE), { kind: 'ask', payload: switchTo(NATIVE) });
    t.like(other.answered(nativePassword(PASSWORD, scrambleOf(NEXT))), { kind: 'proved' });
    const again = asking();
    t.like(again.first(method, NONE), { kind: 'ask' });
    t.like(again.answered(make(PASSWORD, scrambleOf(CHALLENGE))), { kind: 'refused' });
    t.like(again.answered(make(PASSWORD, scrambleOf(NEXT))), { kind: 'proved' });
  });
}

test('an empty answer lets nobody in, not even where the password were empty', (t) => {
  for (const password of [PASSWORD, NONE]) {
    for (const answer of [NONE, Buffer.from([0])]) {
      for (const [method] of METHODS) {
        const login = asking(password);
        login.ask(method);
        t.deepEqual(login.answered(answer), { kind: 'refused', hasAnswered: false });
      }
      t.like(asking(password).answered(answer), { kind: 'refused' });
    }
  }
});

test('each challenge is another one, of 20 bytes that clients can read', (t) => {
  const all = Array.from({ length: 1000 }, newChallenge);
  t.is(new Set(all.map(String)).size, 1000);
  t.true(all.every((each) => each.length === 21 && each.indexOf(0) === 20 && each.every((byte) => byte < 0x80)));
});

test('accounts are found by the bytes of their names, and of nobody there is a password that nobody has', (t) => {
  const clients = [
    { user: 'örders', password: new Secret('customer'), role: undefined },
    { user: 'reports', password: new Secret('x'), role: { user: 'reporting' } },
  ];
  const role = { user: 'app', password: new Secret('secret') };
  const accountOf = createAccounts({ mode: 'managed', clients, role, timeout: 1 });
  t.like(accountOf(Buffer.from('örders')), { isKnown: true, role: { user: 'app', password: Buffer.from('secret') } });
  t.like(accountOf(Buffer.from('reports')), { isKnown: true, role: { user: 'reporting', password: NONE } });
  for (const name of [Buffer.from('örders', 'latin1'), Buffer.from('Reports'), Buffer.from('app'), NONE]) {
    const { isKnown, password } = accountOf(name);
    t.false(isKnown);
    t.is(password.length, 32);
  }
});

test('the sidecar answers the greeting by the server’s usual method, or by another that it is then asked out of', (t) => {
  for (const [usual, method, make] of [
    [NATIVE, NATIVE, nativePassword],
    [SHA2, SHA2, cachingSha2Password],
    ['client_ed25519', NATIVE, nativePassword],
    ['nobody_knows', NATIVE, nativePassword],
  ] as const) {
    const login = new ClientLogin({ password: PASSWORD, isEncrypted: false });
    t.deepEqual(login.first(usual, CHALLENGE), { method, answer: make(PASSWORD, scrambleOf(CHALLENGE)) });
  }
  const none = new ClientLogin({ password: NONE, isEncrypted: false });
  t.is(none.first(SHA2, CHALLENGE).answer.length, 0);
});

test('the sidecar follows the server to each method that it knows', (t) => {
  const challenge = Buffer.from('12345678901234567890123456789012');
  for (const [method, answer] of [
    [NATIVE, nativePassword(PASSWORD, scrambleOf(challenge))],
    [SHA2, cachingSha2Password(PASSWORD, scrambleOf(challenge))],
    ['client_ed25519', ed25519Password(PASSWORD, challenge)],
  ] as const) {
    const login = new ClientLogin({ password: PASSWORD, isEncrypted: false });
    t.deepEqual(login.receive(switchTo(method, challenge)), { kind: 'send', payload: answer });
  }
});

for (const [method, begin, keyRequest] of [
  [SHA2, FULL, 2],
  ['sha256_password', undefined, 1],
] as const) {
  test(`${method}: the password itself goes over TLS only, or under the server’s key`, (t) => {
    const said = Buffer.concat([PASSWORD, Buffer.from([0])]);
    for (const isEncrypted of [true, false]) {
      const login = new ClientLogin({ password: PASSWORD, isEncrypted });
      let step = login.receive(switchTo(method));
      if (begin !== undefined) step = login.receive(begin);
      if (isEncrypted) {
        t.deepEqual(step, { kind: 'send', payload: said });
        continue;
      }
      t.deepEqual(step, { kind: 'send', payload: Buffer.from([keyRequest]) });
      const under = login.receive(encodeAuthentication({ kind: 'auth-more-data', data: pem }));
      if (under.kind !== 'send') return t.fail(under.kind);
      t.false(under.payload.includes(PASSWORD));
      t.deepEqual(decryptPassword(under.payload, scrambleOf(NEXT), ofServer.privateKey), PASSWORD);
    }
    return undefined;
  });
}

test('mysql_clear_password goes over TLS only', (t) => {
  const of = (isEncrypted: boolean) =>
    new ClientLogin({ password: PASSWORD, isEncrypted }).receive(switchTo('mysql_clear_password'));
  t.deepEqual(of(true), { kind: 'send', payload: Buffer.concat([PASSWORD, Buffer.from([0])]) });
  t.is(of(false).kind, 'failed');
});

test('what is not a login, and what the sidecar does not know, ends it with a reason', (t) => {
  const login = (...said: readonly Buffer[]): string => {
    const client = new ClientLogin({ password: PASSWORD, isEncrypted: false });
    client.first(SHA2, CHALLENGE);
    for (const each of said.slice(0, -1)) client.receive(each);
    const step = client.receive(said.at(-1) ?? NONE);
    return step.kind === 'failed' ? step.reason : step.kind;
  };
  t.is(login(FAST), 'wait');
  t.regex(login(NONE), /invalid|ends|truncated|short|begins/i);
  t.regex(login(Buffer.from([7])), /begins with 7/);
  t.regex(login(Buffer.from([1, 9])), /does not belong to a login/);
  t.regex(login(Buffer.from([1])), /does not belong to a login/);
  t.regex(login(switchTo(NATIVE), FULL), /does not belong to a login/);
  t.regex(login(switchTo('dialog')), /the server asks for dialog, which the sidecar does not know/);
  t.regex(login(switchTo('\u001b[2J')), /the server asks for \?\[2J/);
  t.regex(login(encodeAuthentication({ kind: 'old-auth-switch' })), /before MySQL 4\.1/);
  t.regex(
    login(encodeAuthentication({ kind: 'auth-next-factor', plugin: Buffer.from(NATIVE), challenge: NEXT })),
    /several factors/,
  );
  for (const data of [Buffer.from('no key'), NONE, pem.subarray(0, 100)]) {
    t.is(
      login(FULL, encodeAuthentication({ kind: 'auth-more-data', data })),
      'the public key of the server is none',
      data.toString(),
    );
  }
});
