import { pbkdf2Sync } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { preparedPassword } from '../../proxy/postgres/login/saslprep.ts';
import {
  clientKeysOf,
  KEY_BYTES,
  maskedBySignature,
  parseVerifier,
  serverSignature,
  verifierOf,
} from '../../proxy/postgres/login/scram.ts';
import { mechanismsFor, mockVerifier, ServerLogin, type ServerStep } from '../../proxy/postgres/login/server-login.ts';

/** RFC 7677, section 3. */
const RFC = {
  password: 'pencil',
  salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'),
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  ownNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  withoutProof: 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  proof: 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};
const PLAIN = Buffer.from('SCRAM-SHA-256');
const PLUS = Buffer.from('SCRAM-SHA-256-PLUS');

function rfcLogin(over: { readonly binding?: Buffer; readonly isMock?: boolean } = {}): ServerLogin {
  return new ServerLogin({
    verifier: verifierOf(RFC.password, RFC.salt),
    isMock: over.isMock ?? false,
    nonce: RFC.ownNonce,
    binding: over.binding,
  });
}

/** What an answer says, or why it refuses. */
function told(step: ServerStep): string {
  if (step.kind !== 'refused') return `${step.kind} ${String(step.data)}`;
  return step.why.kind === 'wrong-password' ? 'wrong password' : `${step.why.code} ${step.why.message}`;
}

test('the exchange of RFC 7677 goes to the letter', (t) => {
  const login = rfcLogin();
  t.is(told(login.begin(PLAIN, Buffer.from(RFC.clientFirst))), `continue ${RFC.serverFirst}`);
  t.is(told(login.receive(Buffer.from(`${RFC.withoutProof},p=${RFC.proof}`))), `verified ${RFC.serverFinal}`);
});

test('the keys of a client give the proof and the signature of RFC 7677', (t) => {
  const salted = pbkdf2Sync(RFC.password, RFC.salt, 4096, KEY_BYTES, 'sha256');
  const { clientKey, storedKey, serverKey } = clientKeysOf(salted);
  const authMessage = `${RFC.clientFirst.slice(3)},${RFC.serverFirst},${RFC.withoutProof}`;
  t.is(maskedBySignature(clientKey, storedKey, authMessage).toString('base64'), RFC.proof);
  t.is(`v=${serverSignature(serverKey, authMessage).toString('base64')}`, RFC.serverFinal);
});

test('a client may leave its first message for the turn after its choice', (t) => {
  const login = rfcLogin();
  t.is(told(login.begin(PLAIN, null)), 'continue ');
  t.is(told(login.receive(Buffer.from(RFC.clientFirst))), `continue ${RFC.serverFirst}`);
});

test('a right proof does not help a user who does not exist, and whoever tries is told what a wrong password is told', (t) => {
  const login = rfcLogin({ isMock: true });
  login.begin(PLAIN, Buffer.from(RFC.clientFirst));
  t.is(told(login.receive(Buffer.from(`${RFC.withoutProof},p=${RFC.proof}`))), 'wrong password');
});

for (const [rule, first, answer] of [
  ['is empty', '', '08P01 malformed SCRAM message'],
  ['contains NUL', 'n,,n=,r=a\0', '08P01 malformed SCRAM message'],
  ['has no header', 'hello', '08P01 malformed SCRAM message'],
  ['has an unknown header', 'q,,n=,r=abc', '08P01 malformed SCRAM message'],
  [
    'wants to be somebody else',
    'n,a=other,n=,r=abc',
    '0A000 client uses authorization identity, but it is not supported',
  ],
  ['wants an extension', 'n,,m=x,n=,r=abc', '0A000 client requires an unsupported SCRAM extension'],
  ['has no nonce', 'n,,n=', '08P01 malformed SCRAM message'],
  ['has a nonce that cannot be printed', 'n,,n=,r=a b', '08P01 non-printable characters in SCRAM nonce'],
  ['has channel binding without having chosen it', 'p=tls-server-end-point,,n=,r=abc', '08P01 malformed SCRAM message'],
] as const) {
  test(`a first message that ${rule} is refused as the server refuses it`, (t) => {
    t.is(told(rfcLogin().begin(PLAIN, Buffer.from(first))), answer);
  });
}

for (const [rule, final, answer] of [
  ['has another nonce', `c=biws,r=other,p=${RFC.proof}`, '08P01 invalid SCRAM response'],
  [
    'repeats another header',
    `${RFC.withoutProof.replace('biws', 'eSws')},p=${RFC.proof}`,
    '08P01 unexpected SCRAM channel-binding attribute in client-final-message',
  ],
  ['has a short proof', `${RFC.withoutProof},p=AAAA`, '08P01 malformed SCRAM message'],
  ['has a proof that is not base64', `${RFC.withoutProof},p=!!!!`, '08P01 malformed SCRAM message'],
  ['has something behind its proof', `${RFC.withoutProof},p=${RFC.proof},x=1`, '08P01 malformed SCRAM message'],
  ['has no proof', RFC.withoutProof, '08P01 malformed SCRAM message'],
  ['proves another password', `${RFC.withoutProof},p=${Buffer.alloc(32).toString('base64')}`, 'wrong password'],
] as const) {
  test(`a last message that ${rule} is refused as the server refuses it`, (t) => {
    const login = rfcLogin();
    login.begin(PLAIN, Buffer.from(RFC.clientFirst));
    t.is(told(login.receive(Buffer.from(final))), answer);
  });
}

test('channel binding is offered with a certificate only, and nobody may choose what was not offered', (t) => {
  t.deepEqual(mechanismsFor(undefined).map(String), ['SCRAM-SHA-256']);
  t.deepEqual(mechanismsFor(Buffer.alloc(32)).map(String), ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']);
  const first = Buffer.from('p=tls-server-end-point,,n=,r=abc');
  t.is(told(rfcLogin().begin(PLUS, first)), '08P01 client selected an invalid SASL authentication mechanism');
  t.is(
    told(rfcLogin().begin(Buffer.from('PLAIN'), first)),
    '08P01 client selected an invalid SASL authentication mechanism',
  );
});

test('a client that chose channel binding must use it, with the one type there is', (t) => {
  const binding = Buffer.alloc(32, 7);
  t.is(told(rfcLogin({ binding }).begin(PLUS, Buffer.from('n,,n=,r=abc'))), '08P01 malformed SCRAM message');
  t.is(
    told(rfcLogin({ binding }).begin(PLUS, Buffer.from('p=tls-unique,,n=,r=abc'))),
    '08P01 unsupported SCRAM channel-binding type "tls-unique"',
  );
});

test('a client that missed an offer which was made is refused: somebody took it out', (t) => {
  const first = Buffer.from('y,,n=,r=abc');
  t.is(
    told(rfcLogin({ binding: Buffer.alloc(32) }).begin(PLAIN, first)),
    '28000 SCRAM channel binding negotiation error',
  );
  t.regex(told(rfcLogin().begin(PLAIN, first)), /^continue r=abc/);
});

test('the same unknown user is asked the same each time, another one something else', (t) => {
  const secret = Buffer.from('the secret of this process');
  t.deepEqual(mockVerifier('nobody', secret), mockVerifier('nobody', secret));
  t.notDeepEqual(mockVerifier('nobody', secret).salt, mockVerifier('somebody', secret).salt);
  t.notDeepEqual(mockVerifier('nobody', secret).salt, mockVerifier('nobody', Buffer.from('another')).salt);
  t.is(mockVerifier('nobody', secret).salt.length, 16);
});

test('only what has the form of a verifier is one: anything else is a password', (t) => {
  const key = Buffer.alloc(32, 1).toString('base64');
  const text = `SCRAM-SHA-256$4096:c2FsdA==$${key}:${key}`;
  t.like(parseVerifier(text), { iterations: 4096, salt: Buffer.from('salt') });
  for (const other of [
    'secret',
    text.slice(0, -1),
    text.replace('4096', '0'),
    text.replace('4096', '1000001'),
    text.replace('c2FsdA==', ''),
    text.replace(key, 'AAAA'),
    `${text}\n`,
  ]) {
    t.is(parseVerifier(other), undefined, other);
  }
});

test('whatever a client sends, it is answered, and never let in without a proof', (t) => {
  const seed = Number(process.env['ATOMESH_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.log(`seed ${seed}`);
  const piece = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(
      'n,,',
      'y,,',
      'p=',
      'tls-server-end-point',
      'r=',
      'c=biws',
      ',',
      'n=',
      'p=',
      RFC.proof,
      RFC.withoutProof,
    ),
  );
  const message = fc.array(piece, { maxLength: 8 }).map((pieces) => Buffer.from(pieces.join('')));
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.boolean(), fc.array(message, { maxLength: 4 }), (isBound, messages) => {
        const login = rfcLogin(isBound ? { binding: Buffer.alloc(32) } : {});
        const [first, ...others] = messages;
        const steps = [
          login.begin(isBound ? PLUS : PLAIN, first ?? null),
          ...others.map((each) => login.receive(each)),
        ];
        return steps.every(({ kind }) => kind !== 'verified');
      }),
      { seed, numRuns: 2000 },
    ),
  );
});

/** RFC 4013, section 3, and what PostgreSQL does with what cannot be prepared. */
for (const [password, prepared] of [
  ['I\u{ad}X', 'IX'],
  ['user', 'user'],
  ['USER', 'USER'],
  ['\u{aa}', 'a'],
  ['\u{2168}', 'IX'],
  ['a\u{7}', 'a\u{7}'],
  ['\u{627}1', '\u{627}1'],
  ['\u{627}1\u{628}', '\u{627}1\u{628}'],
  ['\u{627}a\u{628}\u{2168}', '\u{627}a\u{628}\u{2168}'],
  ['x\u{3000}y', 'x y'],
  ['e\u{301}', '\u{e9}'],
  ['e\u{301}\u{1f600}', 'e\u{301}\u{1f600}'],
  ['\u{2168}\u{e000}', '\u{2168}\u{e000}'],
  ['\u{ad}', '\u{ad}'],
] as const) {
  test(`SASLprep makes ${JSON.stringify(prepared)} of ${JSON.stringify(password)}`, (t) => {
    t.is(preparedPassword(password).toString(), prepared);
  });
}
