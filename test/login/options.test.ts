import test from 'ava';
import { formatFaults } from '../../config/fault.ts';
import { loadSidecarConfig } from '../../config/load.ts';
import { stringsOf } from '../config/support.ts';

const STRINGS = stringsOf({ ROLE: 'role password', CLIENT: 'client password' });

/** A configuration with one database, which `lines` belong to. */
function configOf(lines: string, listen = '127.0.0.1:15432'): string {
  return `service: orders
coordinator: { url: http://127.0.0.1:36789 }
databases:
  - name: orders
    listen: ${listen}
    upstream: postgres://127.0.0.1/orders
    credentials: { user: atomesh }
${lines
  .split('\n')
  .map((line) => `    ${line}`)
  .join('\n')}
`;
}

function faultsOf(lines: string): string {
  const loaded = loadSidecarConfig(configOf(lines), 'c', STRINGS);
  return loaded.kind === 'valid' ? 'none' : formatFaults(loaded.faults);
}

function warningsOf(lines: string, listen?: string): readonly string[] {
  const loaded = loadSidecarConfig(configOf(lines, listen), 'c', STRINGS);
  return loaded.kind === 'valid' ? loaded.warnings.map(({ path }) => path) : [formatFaults(loaded.faults)];
}

const MANAGED = `auth:
  mode: managed
  role: { user: orders_app, password: '\${env:ROLE}' }
  clients:
    - { user: orders, password: '\${env:CLIENT}' }`;

test('without a word clients log in at the database, and nothing is encrypted', (t) => {
  const loaded = loadSidecarConfig(configOf('mode: undo'), 'c', STRINGS);
  t.is(loaded.kind, 'valid');
  const [database] = loaded.kind === 'valid' ? loaded.options.databases : [];
  t.like(database, {
    auth: { mode: 'passthrough', clients: [] },
    tls: { mode: 'disable', negotiation: 'postgres' },
    listenTls: undefined,
  });
});

test('a managed login is read, and its passwords show nowhere', (t) => {
  const loaded = loadSidecarConfig(configOf(MANAGED), 'c', STRINGS);
  t.is(loaded.kind, 'valid');
  if (loaded.kind !== 'valid') return;
  const database = loaded.options.databases.find((each) => each.engine !== 'mysql');
  t.is(database?.auth.clients[0]?.password.reveal(), 'client password');
  t.is(database?.auth.role?.password?.reveal(), 'role password');
  t.notRegex(JSON.stringify(loaded.options), /role password|client password/);
});

for (const [rule, lines, fault] of [
  ['managed without clients', 'auth: { mode: managed, role: { user: a } }', /auth: nobody may log in/],
  [
    'managed without a role',
    `auth: { mode: managed, clients: [{ user: a, password: '\${env:CLIENT}' }] }`,
    /auth\.clients\[0\]: it is not said how the sidecar logs in/,
  ],
  [
    'managed with one name twice',
    `${MANAGED}\n    - { user: orders, password: '\${env:CLIENT}' }`,
    /auth\.clients\[1\]\.user: clients\[0\] has the name orders already/,
  ],
  [
    'passthrough with clients',
    `auth: { clients: [{ user: a, password: '\${env:CLIENT}' }] }`,
    /auth\.clients: clients log in at the database/,
  ],
  ['passthrough with a role', 'auth: { role: { user: a } }', /auth\.role: clients log in at the database/],
  [
    'a certificate without its key',
    'tls: { mode: require, certificate: /a }',
    /tls: a certificate and its key go together/,
  ],
  [
    'a certificate without TLS',
    'tls: { certificate: /a, key: /b }',
    /tls\.certificate: the connection to the server has no TLS/,
  ],
  [
    'direct negotiation without TLS',
    'tls: { negotiation: direct }',
    /tls\.negotiation: the connection to the server has no TLS/,
  ],
  [
    'certificates of clients that need no TLS',
    'listenTls: { mode: allow, certificate: /a, key: /b, clientCa: /c }',
    /listenTls\.clientCa: a client that connects without TLS shows no certificate/,
  ],
  ['a listener with TLS and no key', 'listenTls: { certificate: /a }', /listenTls\.key/],
] as const) {
  test(`${rule} is a fault at its place`, (t) => {
    t.regex(faultsOf(lines), fault);
  });
}

test('what works otherwise than somebody may think is worth a warning', (t) => {
  const listenTls = 'listenTls: { certificate: /a, key: /b }';
  t.deepEqual(warningsOf(listenTls), []);
  t.deepEqual(warningsOf(`${listenTls}\ntls: { mode: require }`), ['databases[0].listenTls']);
  t.deepEqual(warningsOf(`${listenTls}\ntls: { mode: require }\n${MANAGED}`), []);
  t.deepEqual(warningsOf(MANAGED), []);
  t.deepEqual(warningsOf(MANAGED, '0.0.0.0:15432'), ['databases[0].listen']);
  t.deepEqual(warningsOf(`${listenTls}\n${MANAGED}`, '0.0.0.0:15432'), []);
});

test('a password that is written in the file is worth a warning, in the list of clients too', (t) => {
  t.deepEqual(warningsOf('auth: { mode: managed, role: { user: a }, clients: [{ user: b, password: open }] }'), [
    'databases[0].auth.clients[0].password',
  ]);
});
