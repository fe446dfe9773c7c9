import test from 'ava';
import { loadSidecarConfig } from '../../config/load.ts';
import { formatFaults } from '../../config/fault.ts';
import type { Strings } from '../../config/strings.ts';

const STRINGS: Strings = { env: () => undefined, file: () => ({ kind: 'failed', reason: 'there are none' }) };

/** A sidecar with these lines under `databases`, and these at the top. */
function load(databases: string, top = ''): ReturnType<typeof loadSidecarConfig> {
  const text = `service: shop\ncoordinator: { url: http://127.0.0.1:36789 }\n${top}\ndatabases:\n${databases}`;
  return loadSidecarConfig(text, 'sidecar.yaml', STRINGS);
}

function faultsOf(databases: string, top?: string): string {
  const loaded = load(databases, top);
  return loaded.kind === 'invalid' ? formatFaults(loaded.faults) : 'none';
}

const MYSQL = 'engine: mysql, name: books, listen: 127.0.0.1:13306, upstream: mysql://db:3306/books';
const POSTGRES =
  'name: orders, listen: 127.0.0.1:15432, upstream: postgres://db/orders, credentials: { user: atomesh }';

test('a database is PostgreSQL unless it says otherwise, and both engines stand beside each other', (t) => {
  const loaded = load(
    `  - { ${POSTGRES} }\n  - { ${MYSQL}, mode: none }\n  - { engine: postgres, ${POSTGRES.replaceAll('orders', 'o').replace('15432', '1')} }`,
  );
  t.is(loaded.kind, 'valid');
  if (loaded.kind !== 'valid') return;
  t.deepEqual(
    loaded.options.databases.map(({ engine }) => engine),
    [undefined, 'mysql', 'postgres'],
  );
  const [, books] = loaded.options.databases;
  t.like(books, { tls: { mode: 'disable' }, auth: { timeout: 60_000 }, mode: 'none' });
});

test('with engine mysql the second phase has an account of its own, unless nothing is captured', (t) => {
  for (const mode of ['undo', 'xa']) {
    const expected = new RegExp(
      `databases\\[0\\]: with mode: ${mode} the second phase needs an account.*\\n.*credentials`,
    );
    t.regex(faultsOf(`  - { ${MYSQL}, mode: ${mode} }`), expected);
    t.is(faultsOf(`  - { ${MYSQL}, mode: ${mode}, credentials: { user: atomesh } }`), 'none');
  }
  t.regex(faultsOf(`  - { ${MYSQL} }`), /with mode: undo the second phase/);
  t.regex(faultsOf(`  - { ${MYSQL}, mode: both }`), /mode: found "both"\n.*expected one of undo, xa, none/);
  t.is(faultsOf(`  - { ${MYSQL}, mode: none }`), 'none');
});

test('with engine mysql there are the defaults of PostgreSQL, for as much as there is', (t) => {
  const loaded = load(`  - { ${MYSQL}, credentials: { user: atomesh } }\n  - { ${POSTGRES} }`);
  if (loaded.kind !== 'valid') return t.fail();
  const [books, orders] = loaded.options.databases;
  const { mode, escalate, xa, lockTimeout, maxRows, stripComments } = books ?? {};
  t.deepEqual(
    { mode, escalate, lockTimeout, maxRows, stripComments },
    { mode: 'undo', escalate: 'xa', lockTimeout: 3_000, maxRows: 10_000, stripComments: false },
  );
  t.deepEqual(xa, { canCommit: false, timeout: 1_000, recover: 30_000 });
  t.like(orders, { mode, escalate, xa, lockTimeout, maxRows, stripComments });
});

test('a password that is written in the file is warned of, and never shown', (t) => {
  const loaded = load(`  - { ${MYSQL}, credentials: { user: atomesh, password: hidden } }`);
  if (loaded.kind !== 'valid') return t.fail();
  t.regex(formatFaults(loaded.warnings), /credentials\.password: a secret is written in this file/);
  t.notRegex(formatFaults(loaded.warnings) + JSON.stringify(loaded.options), /hidden/);
});

test('what there is not with engine mysql is an unknown option, and only what there is is suggested', (t) => {
  for (const option of ['capture: triggers', 'captureExcept: [a]', 'writersOutside: wait']) {
    const faults = faultsOf(`  - { ${MYSQL}, mode: none, ${option} }`);
    t.regex(faults, new RegExp(`unknown option "${option.split(':')[0]}"`));
    t.notRegex(faults, /expected one of .*(?:capture|writersOutside)/);
  }
  t.regex(faultsOf(`  - { ${MYSQL}, mode: none, tls: { negotiation: direct } }`), /unknown option "negotiation"/);
});

const CLIENT = '{ user: orders, password: customer }';

for (const [rule, auth, fault] of [
  ['managed without clients', '{ mode: managed, role: { user: a } }', /auth: nobody may log in/],
  ['managed without a role', `{ mode: managed, clients: [${CLIENT}] }`, /auth\.clients\[0\]: it is not said how/],
  [
    'managed with one name twice',
    `{ mode: managed, role: { user: a }, clients: [${CLIENT}, ${CLIENT}] }`,
    /auth\.clients\[1\]\.user: clients\[0\] has the name orders already/,
  ],
  [
    'a client without a password',
    '{ mode: managed, role: { user: a }, clients: [{ user: b }] }',
    /clients\[0\]\.password/,
  ],
  [
    'a client with an empty password',
    `{ mode: managed, role: { user: a }, clients: [{ user: b, password: '' }] }`,
    /clients\[0\]\.password/,
  ],
  ['passthrough with clients', `{ clients: [${CLIENT}] }`, /auth\.clients: clients log in at the database/],
  ['passthrough with a role', '{ role: { user: a } }', /auth\.role: clients log in at the database/],
  ['another mode', '{ mode: both }', /auth\.mode: found "both"\n.*expected one of passthrough, managed/],
] as const) {
  test(`with engine mysql ${rule} is a fault at its place`, (t) => {
    t.regex(faultsOf(`  - { ${MYSQL}, mode: none, auth: ${auth} }`), fault);
  });
}

test('with engine mysql a managed login is read as with PostgreSQL, its passwords show nowhere, and an open listener is warned of', (t) => {
  const auth = `{ mode: managed, role: { user: app, password: hidden }, clients: [${CLIENT}] }`;
  const tls = 'listenTls: { certificate: /a, key: /b }';
  const warned = (lines: string): readonly string[] => {
    const loaded = load(`  - { ${lines} }`);
    if (loaded.kind !== 'valid') return [formatFaults(loaded.faults)];
    t.notRegex(JSON.stringify(loaded.options), /hidden|customer/);
    return loaded.warnings.map(({ path }) => path).filter((path) => !path.endsWith('password'));
  };
  t.deepEqual(warned(`${MYSQL}, mode: none, auth: ${auth}`), []);
  const open = MYSQL.replace('127.0.0.1', '0.0.0.0');
  t.deepEqual(warned(`${open}, mode: none, auth: ${auth}`), ['databases[0].listen']);
  t.deepEqual(warned(`${open}, mode: none, auth: ${auth}, ${tls}`), []);
  // Which certificate a client was shown says nothing to these servers.
  t.deepEqual(warned(`${MYSQL}, mode: none, ${tls}, tls: { mode: require }`), []);
});

test('another engine is a fault that names those there are', (t) => {
  t.regex(
    faultsOf('  - { engine: oracle, name: x, listen: 127.0.0.1:1 }'),
    /engine: found "oracle"\n.*expected postgres or mysql/,
  );
});

test('a URL of the other engine is a fault', (t) => {
  t.regex(faultsOf(`  - { ${MYSQL.replace('mysql://', 'postgres://')}, mode: none }`), /upstream: found/);
  t.regex(faultsOf(`  - { ${POSTGRES.replace('postgres://', 'mysql://')} }`), /upstream: found/);
});

test('a barrier is in any database in which something is captured or prepared, whatever its engine', (t) => {
  const inbound = (more: string): string => `inbound: { listen: 127.0.0.1:1, target: http://127.0.0.1:2, ${more} }`;
  const message = inbound('transactions: [{ match: POST /a, begin: { message: true } }]');
  const none = `  - { ${MYSQL}, mode: none }`;
  t.regex(
    faultsOf(none, inbound('barrier: books')),
    /barrier: the database books has mode: none.*\n.*mode: undo or xa/,
  );
  t.regex(faultsOf(`${none}\n  - { ${POSTGRES} }`, inbound('barrier: books')), /expected one of orders, or off/);
  t.regex(faultsOf(none, message), /expected an entry under databases that carries barriers/);
  t.is(faultsOf(none, inbound('barrier: off')), 'none');
  const undo = `  - { ${MYSQL}, credentials: { user: atomesh } }`;
  for (const top of [inbound('barrier: books'), message]) t.is(faultsOf(undo, top), 'none');
});
