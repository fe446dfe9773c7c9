import test from 'ava';
import { applicationEnvironment } from '../../cli/run/environment.ts';
import { factsOf, type SidecarFacts } from '../../cli/run/facts.ts';
import { sidecarOptions } from '../../proxy/options.ts';

const ORDERS = {
  name: 'orders',
  listen: { host: '127.0.0.1', port: 15432 },
  upstream: 'postgres://db.internal:5432/orders',
};
const AUDIT = {
  name: 'audit-log',
  listen: { host: '127.0.0.1', port: 15433 },
  upstream: 'postgres://db.internal/audit',
};
const LOCAL = { name: 'local', listen: { host: '::1', port: 15434 }, upstream: 'postgres://localhost:5433/app' };

const FACTS: SidecarFacts = {
  service: 'orders',
  inboundUrl: 'http://127.0.0.1:9700',
  target: 'http://127.0.0.1:3000',
  outboundUrl: 'http://127.0.0.1:9701',
  controlUrl: 'http://127.0.0.1:9702',
  adminUrl: 'http://127.0.0.1:9703',
  databases: [ORDERS, AUDIT, LOCAL],
  graceMs: 1000,
};
const HERE = '127.0.0.1:15432';

const URLS: readonly (readonly [from: string, to: string])[] = [
  ['postgres://db.internal:5432/orders', `postgres://${HERE}/orders?sslmode=disable`],
  ['postgres://app:p%40ss@db.internal/orders', `postgres://app:p%40ss@${HERE}/orders?sslmode=disable`],
  ['postgresql://app:a@b:c@DB.internal/orders', `postgresql://app:a@b:c@${HERE}/orders?sslmode=disable`],
  ['postgres://u@db.internal/audit', 'postgres://u@127.0.0.1:15433/audit?sslmode=disable'],
  ['postgres://u@127.0.0.1:5433/app', 'postgres://u@[::1]:15434/app?sslmode=disable'],
  ['postgres://u@[::1]:5433/app', 'postgres://u@[::1]:15434/app?sslmode=disable'],
  ['postgres://u@localhost:5433/', 'postgres://u@[::1]:15434/?sslmode=disable'],
  [
    'postgres://u@db.internal/orders?schema=public&sslmode=require&channel_binding=require',
    `postgres://u@${HERE}/orders?schema=public&sslmode=disable`,
  ],
  [
    'jdbc:postgresql://db.internal:5432/orders?user=a&ssl=true&sslrootcert=/x.pem',
    `jdbc:postgresql://${HERE}/orders?user=a&sslmode=disable`,
  ],
  ['postgresql+psycopg://u@db.internal/orders', `postgresql+psycopg://u@${HERE}/orders?sslmode=disable`],
  ['postgresql+asyncpg://u@db.internal/orders?ssl=require', `postgresql+asyncpg://u@${HERE}/orders`],
];

for (const [from, to] of URLS) {
  test(`the URL of a configured database leads to its listener: ${from}`, (t) => {
    const { variables, changed, left } = applicationEnvironment({ SOME_URL: from }, FACTS);
    t.is(variables['SOME_URL'], to);
    t.true(changed.includes('SOME_URL'));
    t.deepEqual(left, []);
  });
}

const OTHERS: readonly (readonly [value: string, left: string | undefined])[] = [
  ['postgres://u:secret@db.internal:5432/other', 'X (db.internal:5432/other)'],
  ['postgres://u:secret@db.internal:5433/orders', 'X (db.internal:5433/orders)'],
  ['postgres://u:secret@db.internal', 'X (db.internal)'],
  ['postgres://u:secret@db.internal,db2.internal/orders', 'X (db.internal,db2.internal/orders)'],
  ['postgres://u:secret@db.internal/orders?host=/run/socket', 'X (db.internal/orders)'],
  ['postgres:///orders', 'X (/orders)'],
  ['mysql://u:secret@db.internal:5432/orders', 'X (db.internal:5432/orders)'],
  ['redis://u:secret@db.internal:5432/0', undefined],
  ['http://db.internal:5432/orders', undefined],
  ['db.internal:5432', undefined],
  ['', undefined],
];

for (const [value, left] of OTHERS) {
  test(`what leads elsewhere stays, and is named without its password: ${value}`, (t) => {
    const found = applicationEnvironment({ X: value }, FACTS);
    t.is(found.variables['X'], value);
    t.false(found.changed.includes('X'));
    t.deepEqual(found.left, left === undefined ? [] : [left]);
  });
}

test('a variable that was named leads to its database whatever it says', (t) => {
  const inherited = { REPORTS: 'postgres://u:p@10.0.0.7:6432/orders?host=pool&sslmode=require' };
  const { variables, left } = applicationEnvironment(inherited, FACTS, { named: new Map([['REPORTS', ORDERS]]) });
  t.is(variables['REPORTS'], `postgres://u:p@${HERE}/orders?sslmode=disable`);
  t.deepEqual(left, []);
});

test('the variables of libpq lead to the listener, and ask for no TLS on the way to it', (t) => {
  const { variables } = applicationEnvironment(
    {
      PGHOST: 'db.internal',
      PGDATABASE: 'orders',
      PGUSER: 'app',
      PGPASSWORD: 'p',
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: 'system',
      PGCHANNELBINDING: 'require',
    },
    FACTS,
  );
  t.like(variables, { PGHOST: '127.0.0.1', PGPORT: '15432', PGSSLMODE: 'disable', PGDATABASE: 'orders' });
  t.like(variables, { PGUSER: 'app', PGPASSWORD: 'p' });
  t.false('PGSSLROOTCERT' in variables || 'PGCHANNELBINDING' in variables);
});

for (const [title, inherited] of Object.entries({
  'another server': { PGHOST: 'elsewhere', PGDATABASE: 'orders' },
  'another port': { PGHOST: 'db.internal', PGPORT: '6432', PGDATABASE: 'orders' },
  'a socket': { PGHOST: '/run/postgresql', PGDATABASE: 'orders' },
  'one of two databases, nobody knows which': { PGHOST: 'db.internal' },
  'no host': { PGDATABASE: 'orders', PGSSLMODE: 'require' },
})) {
  test(`the variables of libpq stay as they are when they mean ${title}`, (t) => {
    const { changed } = applicationEnvironment(inherited, FACTS);
    t.deepEqual(
      changed.filter((name) => name.startsWith('PG')),
      [],
    );
  });
}

test('a database that is alone on its server needs no name', (t) => {
  const { variables } = applicationEnvironment({ PGHOST: '::1', PGPORT: '5433' }, FACTS);
  t.like(variables, { PGHOST: '::1', PGPORT: '15434' });
});

test('calls go to the outbound listener, in every language that can be told by variables', (t) => {
  const inherited = {
    HTTP_PROXY: 'http://proxy:3128',
    NO_PROXY: 'localhost',
    JAVA_TOOL_OPTIONS: '-Xmx1g',
    HTTPS_PROXY: 'x',
  };
  const { variables, replaced } = applicationEnvironment(inherited, FACTS);
  const url = 'http://127.0.0.1:9701';
  t.like(variables, { HTTP_PROXY: url, http_proxy: url, grpc_proxy: url, NODE_USE_ENV_PROXY: '1' });
  t.is(variables['JAVA_TOOL_OPTIONS'], '-Xmx1g -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=9701');
  t.like(variables, { NO_PROXY: 'localhost', HTTPS_PROXY: 'x' });
  t.deepEqual(replaced, ['HTTP_PROXY']);
});

test('without an outbound listener proxies are left alone', (t) => {
  const { outboundUrl: _, ...facts } = FACTS;
  const { changed, replaced } = applicationEnvironment({ HTTP_PROXY: 'http://proxy:3128' }, facts);
  t.deepEqual(
    changed.filter((name) => !name.startsWith('ATOMESH_')),
    ['OTEL_SERVICE_NAME', 'PORT'],
  );
  t.deepEqual(replaced, []);
});

test('the application is told where everything is', (t) => {
  const { variables } = applicationEnvironment({}, FACTS);
  t.like(variables, {
    ATOMESH_SERVICE: 'orders',
    ATOMESH_INBOUND_URL: 'http://127.0.0.1:9700',
    ATOMESH_OUTBOUND_URL: 'http://127.0.0.1:9701',
    ATOMESH_CONTROL_URL: 'http://127.0.0.1:9702',
    ATOMESH_ADMIN_URL: 'http://127.0.0.1:9703',
    ATOMESH_DATABASE_ORDERS: HERE,
    ATOMESH_DATABASE_AUDIT_LOG: '127.0.0.1:15433',
    ATOMESH_DATABASE_LOCAL: '[::1]:15434',
    OTEL_SERVICE_NAME: 'orders',
    PORT: '3000',
  });
});

test('what a trace agent needs is named as changed, and goes together with the rest', (t) => {
  const agent = { NODE_OPTIONS: '--import=x', JAVA_TOOL_OPTIONS: '-javaagent:a.jar' };
  const { variables, changed } = applicationEnvironment({ JAVA_TOOL_OPTIONS: '' }, FACTS, { agent });
  t.is(variables['NODE_OPTIONS'], '--import=x');
  t.regex(variables['JAVA_TOOL_OPTIONS'] ?? '', /^-javaagent:a\.jar -Dhttp\.proxyHost=/);
  t.true(changed.includes('NODE_OPTIONS') && changed.includes('JAVA_TOOL_OPTIONS'));
});

test('what the user has set by hand stays', (t) => {
  const inherited = { OTEL_SERVICE_NAME: 'mine', PORT: '4000', NODE_USE_ENV_PROXY: '0', HOME: '/h' };
  const { variables, changed } = applicationEnvironment(inherited, FACTS);
  t.like(variables, inherited);
  for (const name of Object.keys(inherited)) t.false(changed.includes(name), name);
});

test('the facts have the ports that are bound, on addresses that can be connected to', (t) => {
  const options = sidecarOptions.parse({
    service: 'orders',
    coordinator: { url: 'http://127.0.0.1:36789' },
    inbound: { listen: '0.0.0.0:0', target: 'http://127.0.0.1:3000' },
    outbound: { listen: '[::]:9701' },
    databases: [
      { name: 'db', listen: '127.0.0.1:0', upstream: 'postgres://db/orders', credentials: { user: 'atomesh' } },
    ],
    shutdown: { grace: '2s' },
  });
  t.deepEqual(factsOf(options, { inbound: 1, outbound: 9701, control: 9702, admin: 9703, databases: { db: 2 } }), {
    service: 'orders',
    inboundUrl: 'http://127.0.0.1:1',
    target: 'http://127.0.0.1:3000',
    outboundUrl: 'http://[::1]:9701',
    controlUrl: 'http://127.0.0.1:9702',
    adminUrl: 'http://127.0.0.1:9703',
    databases: [{ name: 'db', listen: { host: '127.0.0.1', port: 2 }, upstream: 'postgres://db/orders' }],
    graceMs: 2000,
  });
});
