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

test('with engine mysql the mode has to be said, and can be none alone', (t) => {
  t.regex(faultsOf(`  - { ${MYSQL} }`), /the option "mode" is missing\n.*expected none: row images/);
  t.regex(faultsOf(`  - { ${MYSQL}, mode: undo }`), /databases\[0\]\.mode: found "undo"\n.*expected none/);
});

test('what there is not with engine mysql is an unknown option, and only what there is is suggested', (t) => {
  for (const option of [
    'capture: triggers',
    'escalate: off',
    'lockTimeout: 1s',
    'credentials: { user: x }',
    'stripComments: true',
  ]) {
    const faults = faultsOf(`  - { ${MYSQL}, mode: none, ${option} }`);
    t.regex(faults, new RegExp(`unknown option "${option.split(':')[0]}"`));
    t.notRegex(faults, /expected one of .*escalate/);
  }
  t.regex(
    faultsOf(`  - { ${MYSQL}, mode: none, auth: { mode: managed } }`),
    /databases\[0\]\.auth\.mode: unknown option/,
  );
  t.regex(faultsOf(`  - { ${MYSQL}, mode: none, tls: { negotiation: direct } }`), /unknown option "negotiation"/);
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

test('there is no barrier in a database with engine mysql, neither by name nor for messages', (t) => {
  const inbound = (more: string): string => `inbound: { listen: 127.0.0.1:1, target: http://127.0.0.1:2, ${more} }`;
  const databases = `  - { ${MYSQL}, mode: none }`;
  t.regex(faultsOf(databases, inbound('barrier: books')), /barrier: the database books has engine mysql/);
  t.regex(
    faultsOf(databases, inbound('transactions: [{ match: POST /a, begin: { message: true } }]')),
    /expected an entry under databases whose engine is postgres/,
  );
  t.is(faultsOf(databases, inbound('barrier: off')), 'none');
});
