/** The option table of the sidecar: names, types, defaults and meanings. `config/` reads YAML into it. */
import { z } from 'zod';
import {
  address,
  bearerToken,
  byteSize,
  duration,
  httpUrl,
  logOptions,
  pattern,
  secret,
} from '../src/platform/option-types.ts';
import { outboundRoute, resultRules, statuses } from './routes/route-options.ts';

/** `METHOD /path` with `*` for one segment and a trailing `/**` for the rest; METHOD may be `*`. */
const routeMatch = pattern(
  /^(?:\*|[A-Z]+) \/[^\s?#]*$/,
  'a method and a path, such as "POST /orders" or "* /orders/**"',
);

const transactionRoute = z.strictObject({
  match: routeMatch.describe('The requests that begin a global transaction'),
  begin: z
    .strictObject({
      message: z
        .boolean()
        .default(false)
        .describe(
          "A two-phase message: what the request's local transaction has committed decides, whatever the answer",
        ),
      workflow: z
        .boolean()
        .default(false)
        .describe('The request is stored, and sent again after a crash; calls that were answered are not repeated'),
      timeout: duration
        .prefault('60s')
        .describe(
          'After this long without an answer the transaction is rolled back; of a message, its local transaction is looked at',
        ),
      rerunAfter: duration
        .prefault('10s')
        .describe('Of a workflow: after this long without a sign of life the request is sent again'),
      keyHeaders: z
        .array(pattern(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'the name of a header'))
        .max(20)
        .default([])
        .describe(
          'Of a workflow: headers, beside method, path and body, that have to be the same when an Idempotency-Key comes again',
        ),
      commitOn: statuses
        .prefault(['2xx'])
        .describe('The statuses of the application that commit; any other rolls back'),
      wait: z
        .enum(['decided', 'finished'])
        .default('decided')
        .describe('Answer the caller once the outcome is decided, or once every branch has carried it out'),
    })
    .describe('How the global transaction is begun and ended'),
});

const inbound = z.strictObject({
  listen: address.prefault('0.0.0.0:9700').describe('Where requests for the application arrive'),
  target: httpUrl.describe('The application'),
  protocol: z
    .enum(['auto', 'http1', 'h2c'])
    .default('auto')
    .describe(
      'What the application speaks: the version that the caller speaks (auto), HTTP/1, or HTTP/2 without upgrade',
    ),
  trustGid: z
    .boolean()
    .default(true)
    .describe('Take a gid that the caller sends; set false on a listener that the outside world can reach'),
  transactions: z
    .array(transactionRoute)
    .default([])
    .describe('Requests that begin a global transaction; the first match counts'),
  barrier: pattern(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'the name of one of databases, or off')
    .optional()
    .describe('The database in which branch operations change rows, each once; by default the first; off: none'),
  results: resultRules
    .optional()
    .describe("What the application's statuses for branch operations mean, where they do not mean what they say"),
  timeout: duration.prefault('300s').describe('How long the application may take to begin its answer'),
});

const outbound = z.strictObject({
  listen: address.prefault('127.0.0.1:9701').describe('Where the application sends its calls to other services'),
  upstreams: z
    .record(
      pattern(/^[a-z0-9][a-z0-9-]*$/, 'a name of lower-case letters, digits and "-", such as hotel'),
      z.strictObject({ url: httpUrl.describe('The other service, or its sidecar') }),
    )
    .default({})
    .describe('Names for plain base URLs: http://127.0.0.1:9701/<name>/…'),
  routes: z
    .array(outboundRoute)
    .default([])
    .describe('Calls that become branches of their global transaction; the first match counts'),
  timeout: duration.prefault('300s').describe('How long another service may take to begin its answer'),
});

const postgresUrl = pattern(
  /^postgres(?:ql)?:\/\/[^@/?#\s]+(?:\/[^?#\s]*)?$/,
  'a URL such as postgres://host:5432/database, without user and password (see credentials)',
).describe('The database server, and the database that holds the atomesh schema');

const pemFile = pattern(/^[^\0]+$/, 'the path of a PEM file');

/** What TLS towards a server is made of, whatever the database. */
const tlsOptions = {
  mode: z
    .enum(['disable', 'require', 'verify-full'])
    .default('disable')
    .describe('As in libpq; require does not check who the server is'),
  ca: pemFile
    .optional()
    .describe('PEM file of the authority that signed the server certificate; without it those of the system'),
  certificate: pemFile.optional().describe('PEM file of the certificate that the sidecar shows to the server'),
  key: pemFile.optional().describe('PEM file of the key of that certificate'),
};
const TLS_MEANING = 'How connections to the server are protected: of sessions and of the second phase';

const upstreamTls = z
  .strictObject({
    ...tlsOptions,
    negotiation: z
      .enum(['postgres', 'direct'])
      .default('postgres')
      .describe('How TLS begins: asked for, or at once, which PostgreSQL takes from 17 on (sslnegotiation of libpq)'),
  })
  .prefault({})
  .describe(TLS_MEANING);

const listenTls = z
  .strictObject({
    mode: z.enum(['allow', 'require']).default('require').describe('Whether clients may also connect without TLS'),
    certificate: pemFile.describe(
      'PEM file of the certificate that clients are shown, and of those that lead to its authority',
    ),
    key: pemFile.describe('PEM file of the key of that certificate'),
    clientCa: pemFile
      .optional()
      .describe('PEM file of the authority whose certificates clients must show; without it they show none'),
  })
  .describe('TLS of the listener; without it there is none. Files are read again when they change');

const databaseLogin = z.strictObject({
  user: pattern(/^[^\0]+$/, 'the name of a database role, such as orders_app').describe('The database role'),
  password: secret.optional().describe('Its password, if the server asks for one'),
});

const auth = z
  .strictObject({
    mode: z
      .enum(['passthrough', 'managed'])
      .default('passthrough')
      .describe('passthrough: clients log in at the database; managed: at the sidecar, which logs in at the database'),
    role: databaseLogin
      .optional()
      .describe('managed: how the sidecar logs in for clients that have no role of their own'),
    clients: z
      .array(
        z.strictObject({
          user: pattern(/^[^\0]+$/, 'the name of a user, such as orders').describe('The name that the client gives'),
          password: secret.describe('Its password, or the SCRAM-SHA-256 verifier of one as pg_authid has it'),
          role: databaseLogin.optional().describe('How the sidecar logs in for this client'),
        }),
      )
      .default([])
      .describe('managed: who may log in at the sidecar'),
    timeout: duration
      .prefault('60s')
      .describe(
        'How long a client may take for TLS and its start-up message, and as long again to log in at the sidecar',
      ),
  })
  .prefault({})
  .describe('Where the clients of this listener log in');

const xaOptions = z
  .strictObject({
    canCommit: z
      .boolean()
      .default(false)
      .describe('Ask the coordinator before each PREPARE TRANSACTION whether the global transaction can still commit'),
    timeout: duration
      .prefault('1s')
      .describe('How long to wait for that answer; without one the local transaction is rolled back'),
    recover: duration
      .prefault('30s')
      .describe('How often the coordinator is asked what has become of prepared transactions that nobody ends'),
  })
  .prefault({})
  .describe('Prepared transactions, in mode xa and where undo escalates');

/** What every database has. */
const databaseOptions = {
  name: pattern(
    /^[a-z0-9][a-z0-9_-]{0,62}$/,
    'a name of at most 63 lower-case letters, digits, "-" and "_", such as orders',
  ).describe('Unique within this service'),
  listen: address.describe('Where the application connects instead of to the database'),
};

const postgresDatabase = z.strictObject({
  engine: z.literal('postgres').optional().describe('What the server is; without it PostgreSQL'),
  ...databaseOptions,
  upstream: postgresUrl,
  tls: upstreamTls,
  listenTls: listenTls.optional(),
  auth,
  credentials: z
    .strictObject({
      user: pattern(/^.+$/s, 'the name of a database role, such as atomesh').describe(
        'A role that may change the rows',
      ),
      password: secret.optional().describe('Its password, if the server asks for one'),
    })
    .describe('For the second phase only; the application logs in as itself'),
  mode: z
    .enum(['undo', 'xa', 'none'])
    .default('undo')
    .describe('undo: row images; xa: prepared transactions; none: refuse writes inside a global transaction'),
  escalate: z
    .enum(['xa', 'off'])
    .default('xa')
    .describe(
      'In mode undo, what has no row images: xa prepares its local transaction, where max_prepared_transactions of the server is above 0; off refuses it',
    ),
  xa: xaOptions,
  capture: z
    .enum(['statements', 'triggers'])
    .default('statements')
    .describe(
      'In mode undo, who writes row images: statements that are rewritten, or triggers (atomesh db triggers install)',
    ),
  captureExcept: z
    .array(pattern(/^[^\0]+$/, 'a table such as public.log, with * for any characters'))
    .default([])
    .describe('With capture: triggers, tables without triggers: what functions change in them stays after a rollback'),
  lockTimeout: duration
    .prefault('3s')
    .describe('How long a statement waits for a row that another unfinished global transaction has changed'),
  writersOutside: z
    .enum(['pass', 'wait'])
    .default('pass')
    .describe(
      'What statements outside any global transaction do about such a row: pass changes it, and a rollback finds it dirty; wait waits for it as well, for which each of them is parsed',
    ),
  maxRows: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Most rows that one statement inside a global transaction may change'),
  stripComments: z
    .boolean()
    .default(false)
    .describe('Take comments that carry a gid or a trace off before a statement goes on to the database'),
});

const mysqlUrl = pattern(
  /^(?:mysql|mariadb):\/\/[^@/?#\s]+(?:\/[^?#\s]*)?$/,
  'a URL such as mysql://host:3306/database, without user and password: clients log in as themselves',
).describe('The database server');

const mysqlDatabase = z.strictObject({
  engine: z.literal('mysql').describe('What the server is: MySQL or MariaDB'),
  ...databaseOptions,
  upstream: mysqlUrl,
  tls: z.strictObject(tlsOptions).prefault({}).describe(TLS_MEANING),
  listenTls: listenTls.optional(),
  auth: z
    .strictObject({
      timeout: duration.prefault('60s').describe('How long a client may take to log in, TLS included'),
    })
    .prefault({})
    .describe('Clients of this listener log in at the database'),
  mode: z
    .literal('none', {
      error: 'expected none: row images and prepared transactions are not there yet with engine mysql',
    })
    .describe('none: refuse writes inside a global transaction'),
});

const database = z.discriminatedUnion('engine', [postgresDatabase, mysqlDatabase], {
  error: ({ code }) => (code === 'invalid_union' ? 'expected postgres or mysql' : undefined),
});

export const sidecarOptions = z.strictObject({
  service: pattern(
    /^[a-z0-9][a-z0-9._-]{0,62}$/,
    'a name of at most 63 lower-case letters, digits, "-", "_" and ".", such as orders',
  ).describe('The name of the service this sidecar stands beside'),
  coordinator: z
    .strictObject({
      url: httpUrl.describe('Where the coordinator listens'),
      token: bearerToken.optional().describe('What the coordinator asks for as "Authorization: Bearer …"'),
      timeout: duration.prefault('5s').describe('How long one request to the coordinator may take'),
    })
    .describe('The coordinator that keeps the global transactions'),
  inbound: inbound.optional().describe('Requests from others to the application'),
  outbound: outbound.optional().describe('Calls of the application to others'),
  control: z
    .strictObject({
      listen: address.prefault('127.0.0.1:9702').describe('Where the coordinator calls the second phase'),
      advertise: httpUrl
        .optional()
        .describe('The address of this listener as the coordinator sees it; default http://<listen>'),
      token: bearerToken.optional().describe('What the coordinator must send as "Authorization: Bearer …"'),
    })
    .prefault({})
    .describe('The second phase, called by the coordinator'),
  admin: z
    .strictObject({ listen: address.prefault('127.0.0.1:9703').describe('Health, readiness and metrics') })
    .prefault({})
    .describe('For operators and orchestrators'),
  databases: z.array(database).default([]).describe('The databases that the application uses'),
  propagation: z
    .strictObject({
      header: pattern(/^[a-z0-9-]+$/, 'the name of a header in lower case, such as atomesh-gid')
        .default('atomesh-gid')
        .describe('The header that carries the gid'),
      aliases: z
        .array(pattern(/^[a-zA-Z0-9_-]+$/, 'the name of a header, such as dtm-gid'))
        .default(['dtm-gid', 'TX_XID'])
        .describe('Further headers that may carry a gid'),
    })
    .prefault({})
    .describe('How the gid travels over HTTP'),
  limits: z
    .strictObject({
      header: byteSize.prefault('16KiB').describe('Largest request head'),
      body: byteSize
        .prefault('1MiB')
        .describe(
          'Largest body that is kept: of calls that a branch route, a message or a workflow stores, and of their answers',
        ),
      sessions: z.int().min(1).default(10_000).describe('Most database sessions'),
      statement: byteSize
        .prefault('64MiB')
        .describe('Largest message of a database client inside a global transaction'),
    })
    .prefault({})
    .describe('What one client can make the sidecar hold'),
  shutdown: z
    .strictObject({
      grace: duration.prefault('30s').describe('How long requests and sessions may take to end after SIGTERM'),
    })
    .prefault({})
    .describe('What happens on SIGTERM'),
  log: logOptions,
});

export type SidecarOptions = z.output<typeof sidecarOptions>;
export type AnyDatabaseOptions = SidecarOptions['databases'][number];
export type MysqlDatabaseOptions = Extract<AnyDatabaseOptions, { readonly engine: 'mysql' }>;
/** Of a PostgreSQL database. */
export type DatabaseOptions = Exclude<AnyDatabaseOptions, MysqlDatabaseOptions>;
