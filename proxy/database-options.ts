/** The options of one database of the sidecar, for each engine. */
import { z } from 'zod';
import { address, duration, pattern, secret } from '../src/platform/option-types.ts';

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

/** Where clients log in, whatever the database. */
function authOptions(described: { readonly password: string; readonly timeout: string }) {
  return z
    .strictObject({
      mode: z
        .enum(['passthrough', 'managed'])
        .default('passthrough')
        .describe(
          'passthrough: clients log in at the database; managed: at the sidecar, which logs in at the database',
        ),
      role: databaseLogin
        .optional()
        .describe('managed: how the sidecar logs in for clients that have no role of their own'),
      clients: z
        .array(
          z.strictObject({
            user: pattern(/^[^\0]+$/, 'the name of a user, such as orders').describe('The name that the client gives'),
            password: secret.describe(described.password),
            role: databaseLogin.optional().describe('How the sidecar logs in for this client'),
          }),
        )
        .default([])
        .describe('managed: who may log in at the sidecar'),
      timeout: duration.prefault('60s').describe(described.timeout),
    })
    .prefault({})
    .describe('Where the clients of this listener log in');
}

const xaOptions = z
  .strictObject({
    canCommit: z
      .boolean()
      .default(false)
      .describe(
        'Ask the coordinator before each local transaction is prepared whether the global transaction can still commit',
      ),
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
const everyDatabase = {
  name: pattern(
    /^[a-z0-9][a-z0-9_-]{0,62}$/,
    'a name of at most 63 lower-case letters, digits, "-" and "_", such as orders',
  ).describe('Unique within this service'),
  listen: address.describe('Where the application connects instead of to the database'),
  mode: z
    .enum(['undo', 'xa', 'none'])
    .default('undo')
    .describe('undo: row images; xa: prepared transactions; none: refuse writes inside a global transaction'),
  xa: xaOptions,
  lockTimeout: duration
    .prefault('3s')
    .describe('How long a statement waits for a row that another unfinished global transaction has changed'),
  maxRows: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Most rows that one statement inside a global transaction may change'),
  stripComments: z
    .boolean()
    .default(false)
    .describe('Take comments that carry a gid or a trace off before a statement goes on to the database'),
};

const postgresDatabase = z.strictObject({
  engine: z.literal('postgres').optional().describe('What the server is; without it PostgreSQL'),
  ...everyDatabase,
  upstream: postgresUrl,
  tls: upstreamTls,
  listenTls: listenTls.optional(),
  auth: authOptions({
    password: 'Its password, or the SCRAM-SHA-256 verifier of one as pg_authid has it',
    timeout: 'How long a client may take for TLS and its start-up message, and as long again to log in at the sidecar',
  }),
  credentials: z
    .strictObject({
      user: pattern(/^.+$/s, 'the name of a database role, such as atomesh').describe(
        'A role that may change the rows',
      ),
      password: secret.optional().describe('Its password, if the server asks for one'),
    })
    .describe('For the second phase only; the application logs in as itself'),
  escalate: z
    .enum(['xa', 'off'])
    .default('xa')
    .describe(
      'In mode undo, what has no row images: xa prepares its local transaction, where max_prepared_transactions of the server is above 0; off refuses it',
    ),
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
  writersOutside: z
    .enum(['pass', 'wait'])
    .default('pass')
    .describe(
      'What statements outside any global transaction do about a row that an unfinished one has changed: pass changes it, and a rollback finds it dirty; wait waits for it as well, for which each of them is parsed',
    ),
});

const mysqlUrl = pattern(
  /^(?:mysql|mariadb):\/\/[^@/?#\s]+(?:\/[^?#\s]*)?$/,
  'a URL such as mysql://host:3306/database, without user and password (see credentials and auth)',
).describe('The database server');

const mysqlDatabase = z.strictObject({
  engine: z.literal('mysql').describe('What the server is: MySQL or MariaDB'),
  ...everyDatabase,
  upstream: mysqlUrl,
  tls: z.strictObject(tlsOptions).prefault({}).describe(TLS_MEANING),
  listenTls: listenTls.optional(),
  auth: authOptions({ password: 'Its password', timeout: 'How long a client may take to log in, TLS included' }),
  credentials: z
    .strictObject({
      user: pattern(/^[^\0]+$/, 'the name of an account, such as atomesh').describe(
        'An account that may change the rows',
      ),
      password: secret.optional().describe('Its password, if the server asks for one'),
    })
    .optional()
    .describe('For the second phase only, in modes undo and xa; the application logs in as itself'),
  escalate: z
    .enum(['xa', 'off'])
    .default('xa')
    .describe(
      'In mode undo, what has no row images: xa prepares its local transaction, where the server can; off refuses it',
    ),
});

/** One of `databases`. */
export const databaseOptions = z.discriminatedUnion('engine', [postgresDatabase, mysqlDatabase], {
  error: ({ code }) => (code === 'invalid_union' ? 'expected postgres or mysql' : undefined),
});
