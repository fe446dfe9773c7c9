import test from 'ava';
import { applicationEnvironment } from '../../cli/run/environment.ts';
import type { SidecarFacts } from '../../cli/run/facts.ts';

const database = (name: string, port: number, upstream: string): SidecarFacts['databases'][number] => ({
  name,
  listen: { host: '127.0.0.1', port },
  upstream,
});

const FACTS: SidecarFacts = {
  service: 'orders',
  controlUrl: 'http://127.0.0.1:9702',
  adminUrl: 'http://127.0.0.1:9703',
  databases: [
    database('books', 13306, 'mysql://db.internal:3306/books'),
    database('authors', 13307, 'mariadb://db.internal/authors'),
    database('whole', 13308, 'mysql://other:3307'),
    database('orders', 15432, 'postgres://db.internal:3306/books'),
  ],
  graceMs: 1000,
};

const URLS: readonly (readonly [from: string, to: string])[] = [
  ['mysql://app:p%40ss@db.internal/books', 'mysql://app:p%40ss@127.0.0.1:13306/books'],
  ['mysql2://app:a@b:c@DB.internal:3306/books?pool=5', 'mysql2://app:a@b:c@127.0.0.1:13306/books?pool=5'],
  [
    'mariadb+pymysql://u@db.internal/authors?charset=utf8mb4',
    'mariadb+pymysql://u@127.0.0.1:13307/authors?charset=utf8mb4',
  ],
  ['mysql://u@other:3307/anything', 'mysql://u@127.0.0.1:13308/anything'],
  ['mysql://u@other:3307', 'mysql://u@127.0.0.1:13308'],
  ['postgres://u@db.internal:3306/books', 'postgres://u@127.0.0.1:15432/books?sslmode=disable'],
  [
    'mysql+mysqldb://u@db.internal/books?ssl_ca=/x.pem&ssl_mode=REQUIRED&connect_timeout=3&sslaccept=strict',
    'mysql+mysqldb://u@127.0.0.1:13306/books?connect_timeout=3',
  ],
  [
    'jdbc:mysql://db.internal:3306/books?useSSL=true&trustCertificateKeyStoreUrl=file:x&user=a',
    'jdbc:mysql://127.0.0.1:13306/books?user=a&sslMode=DISABLED&allowPublicKeyRetrieval=true',
  ],
  [
    'jdbc:mariadb://db.internal/authors?sslMode=verify-full&serverSslCert=/x&allowPublicKeyRetrieval=false',
    'jdbc:mariadb://127.0.0.1:13307/authors?allowPublicKeyRetrieval=false&sslMode=disable',
  ],
];

for (const [from, to] of URLS) {
  test(`the URL of a database on MySQL leads to its listener: ${from}`, (t) => {
    const { variables, left } = applicationEnvironment({ DATABASE_URL: from }, FACTS);
    t.is(variables['DATABASE_URL'], to);
    t.deepEqual(left, []);
  });
}

for (const [value, left] of [
  ['mysql://u:secret@db.internal/others', 'X (db.internal/others)'],
  ['mysql://u:secret@db.internal', 'X (db.internal)'],
  ['mysql://u:secret@db.internal/books?unix_socket=/run/mysqld.sock', 'X (db.internal/books)'],
  ['jdbc:mysql://u:secret@a,b/books', 'X (a,b/books)'],
] as const) {
  test(`what leads to no listener stays, and is named without its password: ${value}`, (t) => {
    const found = applicationEnvironment({ X: value }, FACTS);
    t.is(found.variables['X'], value);
    t.deepEqual(found.left, [left]);
  });
}

test('the variables of the client libraries, and those that applications make of them, lead to the listener', (t) => {
  const given = { MYSQL_HOST: 'db.internal', MYSQL_PORT: '3306', MYSQL_DATABASE: 'books', MYSQL_PASSWORD: 'p' };
  t.like(applicationEnvironment(given, FACTS).variables, {
    MYSQL_HOST: '127.0.0.1',
    MYSQL_PORT: '13306',
    MYSQL_TCP_PORT: '13306',
    MYSQL_DATABASE: 'books',
    MYSQL_PASSWORD: 'p',
  });
  const mariadb = { MARIADB_HOST: 'other', MARIADB_PORT: '3307', MARIADB_DATABASE: 'x', MYSQL_HOST: 'elsewhere' };
  const { variables, changed } = applicationEnvironment(mariadb, FACTS);
  t.like(variables, { MARIADB_HOST: '127.0.0.1', MARIADB_PORT: '13308', MYSQL_HOST: 'elsewhere' });
  t.false(changed.includes('MYSQL_TCP_PORT'));
});

test('a port that Kubernetes has made of a service is no port', (t) => {
  const given = { MYSQL_HOST: 'db.internal', MYSQL_PORT: 'tcp://10.0.0.7:3306', MYSQL_DATABASE: 'books' };
  t.like(applicationEnvironment(given, FACTS).variables, {
    MYSQL_HOST: '127.0.0.1',
    MYSQL_TCP_PORT: '13306',
    MYSQL_PORT: 'tcp://10.0.0.7:3306',
  });
});

for (const [title, given] of Object.entries({
  'another server': { MYSQL_HOST: 'elsewhere', MYSQL_DATABASE: 'books' },
  'another port': { MYSQL_HOST: 'db.internal', MYSQL_TCP_PORT: '3307', MYSQL_DATABASE: 'books' },
  'one of two databases, nobody knows which': { MYSQL_HOST: 'db.internal' },
  'no host': { MYSQL_DATABASE: 'books' },
})) {
  test(`the variables of the client library stay as they are when they mean ${title}`, (t) => {
    const { changed } = applicationEnvironment(given, FACTS);
    t.deepEqual(
      changed.filter((name) => name.startsWith('MYSQL_')),
      [],
    );
  });
}
