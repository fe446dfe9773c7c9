import { pbkdf2Sync } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { ClientLogin, type ClientStep } from '../../proxy/postgres/login/client-login.ts';
import { preparedPassword } from '../../proxy/postgres/login/saslprep.ts';
import { ITERATIONS_MAX, KEY_BYTES, verifierOf } from '../../proxy/postgres/login/scram.ts';
import { mechanismsFor, ServerLogin, type ServerStep } from '../../proxy/postgres/login/server-login.ts';
import {
  decodePasswordMessage,
  decodeSaslInitialResponse,
  type Authentication,
} from '../../proxy/postgres/wire/authentication.ts';

const kind = 'authentication';
const seed = Number(process.env['ATOMESH_TEST_SEED'] ?? Date.now() % 1_000_000);

interface Ends {
  readonly clientPassword: string;
  readonly serverPassword: string;
  readonly clientBinding?: Buffer | undefined;
  readonly serverBinding?: Buffer | undefined;
  /** Changes what goes over the line. */
  readonly tamper?: (data: Buffer, turn: number) => Buffer;
}

/** How a login of our client half at our server half ends. */
function play(ends: Ends): string {
  const client = new ClientLogin({
    user: 'me',
    password: ends.clientPassword,
    isEncrypted: true,
    binding: ends.clientBinding,
    nonce: 'client-nonce',
  });
  const server = new ServerLogin({
    verifier: verifierOf(ends.serverPassword, Buffer.from('some salt'), 2),
    isMock: false,
    nonce: 'server-nonce',
    binding: ends.serverBinding,
  });
  const tamper = ends.tamper ?? ((data) => data);
  const said = client.receive({ kind, method: 'sasl', mechanisms: mechanismsFor(ends.serverBinding) });
  if (said.kind !== 'send') return describe(said);
  const first = decodeSaslInitialResponse(said.bytes.subarray(5));
  if (first.kind === 'fault') return first.message;
  const challenge = server.begin(first.mechanism, tamper(first.data ?? Buffer.alloc(0), 0));
  if (challenge.kind !== 'continue') return describe(challenge);
  const derive = client.receive({ kind, method: 'sasl-continue', data: tamper(challenge.data, 1) });
  if (derive.kind !== 'derive') return describe(derive);
  const proof = client.derived(salt(ends.clientPassword, derive));
  if (proof.kind !== 'send') return describe(proof);
  const verdict = server.receive(tamper(proof.bytes.subarray(5), 2));
  if (verdict.kind !== 'verified') return describe(verdict);
  const last = client.receive({ kind, method: 'sasl-final', data: tamper(verdict.data, 3) });
  if (last.kind !== 'wait') return describe(last);
  return describe(client.receive({ kind, method: 'ok' }));
}

function describe(step: ClientStep | ServerStep): string {
  if (step.kind === 'failed') return `failed: ${step.reason}`;
  if (step.kind !== 'refused') return step.kind;
  return step.why.kind === 'wrong-password' ? 'wrong password' : step.why.message;
}

function salt(password: string, step: ClientStep & { readonly kind: 'derive' }): Buffer {
  return pbkdf2Sync(preparedPassword(password), step.salt, step.iterations, KEY_BYTES, 'sha256');
}

const password = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
const binding = fc.option(
  fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
  { nil: undefined },
);

test('both halves come together over any password, with and without channel binding', (t) => {
  t.log(`seed ${seed}`);
  t.notThrows(() =>
    fc.assert(
      fc.property(password, binding, binding, (same, clientBinding, serverBinding) => {
        const end = play({ clientPassword: same, serverPassword: same, clientBinding, serverBinding });
        if (clientBinding === undefined || serverBinding === undefined) return end === 'done';
        return end === (clientBinding.equals(serverBinding) ? 'done' : 'SCRAM channel binding check failed');
      }),
      { seed, numRuns: 300 },
    ),
  );
  const certificate = Buffer.alloc(32, 9);
  t.is(
    play({ clientPassword: 'a', serverPassword: 'a', clientBinding: certificate, serverBinding: certificate }),
    'done',
  );
});

test('another password never gets in', (t) => {
  t.log(`seed ${seed}`);
  t.notThrows(() =>
    fc.assert(
      fc.property(password, password, (clientPassword, serverPassword) => {
        const isSame = preparedPassword(clientPassword).equals(preparedPassword(serverPassword));
        return play({ clientPassword, serverPassword }) === (isSame ? 'done' : 'wrong password');
      }),
      { seed, numRuns: 300 },
    ),
  );
});

test('a byte that is changed on its way in any message ends the login', (t) => {
  t.log(`seed ${seed}`);
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 3 }),
        fc.nat(200),
        fc.integer({ min: 1, max: 127 }),
        (turn, place, bits) => {
          const end = play({
            clientPassword: 'secret',
            serverPassword: 'secret',
            tamper(data, at) {
              if (at !== turn) return data;
              const changed = Buffer.from(data);
              const index = place % data.length;
              changed[index] = (changed[index] ?? 0) ^ bits;
              return changed;
            },
          });
          return end !== 'done';
        },
      ),
      { seed, numRuns: 2000 },
    ),
  );
});

const own = { user: 'me', password: 'secret', isEncrypted: false, binding: undefined, nonce: 'mine' };

test('an MD5 request is answered with the digest of digests', (t) => {
  const step = new ClientLogin(own).receive({ kind, method: 'md5-password', salt: Buffer.from([1, 2, 3, 4]) });
  t.is(step.kind, 'send');
  const sent = step.kind === 'send' ? decodePasswordMessage(step.bytes.subarray(5)) : undefined;
  // md5(md5('secretme') + salt), computed with coreutils' md5sum.
  t.is(sent?.kind === 'password' ? sent.password.toString() : '', 'md58322d584bf59f0253d58346307bb6ba3');
});

test('the password goes in clear text under TLS only', (t) => {
  const request: Authentication = { kind, method: 'cleartext-password' };
  t.like(new ClientLogin(own).receive(request), { kind: 'failed' });
  t.deepEqual(new ClientLogin({ ...own, isEncrypted: true }).receive(request), {
    kind: 'send',
    bytes: Buffer.from('p\0\0\0\x0bsecret\0', 'latin1'),
  });
});

for (const [rule, request, reason] of [
  ['asks for Kerberos', { kind, method: 'gss' }, /GSSAPI/],
  ['asks for Windows', { kind, method: 'sspi' }, /SSPI/],
  ['asks for OAuth', { kind, method: 'sasl', mechanisms: [Buffer.from('OAUTHBEARER')] }, /OAUTHBEARER/],
  ['asks for what nobody knows', { kind, method: 'other', code: 99, data: Buffer.alloc(0) }, /method 99/],
  [
    'offers channel binding without TLS',
    { kind, method: 'sasl', mechanisms: mechanismsFor(Buffer.alloc(1)) },
    /without TLS/,
  ],
  [
    'goes on with what was not begun',
    { kind, method: 'sasl-continue', data: Buffer.from('r=mine1,s=AAAA,i=1') },
    /out of turn/,
  ],
  ['ends what was not begun', { kind, method: 'sasl-final', data: Buffer.from('v=') }, /out of turn/],
] as const) {
  test(`a server that ${rule} is not answered, and why is said`, (t) => {
    const step = new ClientLogin(own).receive(request);
    t.regex(step.kind === 'failed' ? step.reason : step.kind, reason);
  });
}

test('without a password only a server that does not ask for one lets the sidecar in', (t) => {
  const open = { ...own, password: undefined, isEncrypted: true };
  t.is(new ClientLogin(open).receive({ kind, method: 'ok' }).kind, 'done');
  for (const request of [
    { kind, method: 'cleartext-password' },
    { kind, method: 'md5-password', salt: Buffer.alloc(4) },
    { kind, method: 'sasl', mechanisms: mechanismsFor(undefined) },
  ] as const) {
    t.like(new ClientLogin(open).receive(request), { kind: 'failed' });
  }
});

test('a server that lets the sidecar in before it has proved itself is refused', (t) => {
  const login = new ClientLogin(own);
  login.receive({ kind, method: 'sasl', mechanisms: mechanismsFor(undefined) });
  t.like(login.receive({ kind, method: 'ok' }), { reason: 'the server did not prove that it knows the password' });
});

for (const [rule, first, reason] of [
  ['asks for more iterations than anybody needs', `r=mine1,s=AAAA,i=${ITERATIONS_MAX + 1}`, /iterations/],
  ['asks for a number of iterations that is none', 'r=mine1,s=AAAA,i=99999999999', /another SCRAM/],
  ['asks for no iterations', 'r=mine1,s=AAAA,i=0', /iterations/],
  ['gives our nonce back alone', 'r=mine,s=AAAA,i=4096', /nonce/],
  ['gives another nonce', 'r=other,s=AAAA,i=4096', /nonce/],
  ['gives no salt', 'r=mine1,s=,i=4096', /another SCRAM/],
  ['wants an extension', 'm=x,r=mine1,s=AAAA,i=4096', /another SCRAM/],
] as const) {
  test(`a server that ${rule} is refused`, (t) => {
    const login = new ClientLogin(own);
    login.receive({ kind, method: 'sasl', mechanisms: mechanismsFor(undefined) });
    const step = login.receive({ kind, method: 'sasl-continue', data: Buffer.from(first) });
    t.regex(step.kind === 'failed' ? step.reason : step.kind, reason);
  });
}
