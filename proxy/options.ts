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
} from '../src/platform/option-types.ts';
import { databaseOptions } from './database-options.ts';
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
  databases: z.array(databaseOptions).default([]).describe('The databases that the application uses'),
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

/**
 * Whether the rows of branch operations can be in the database: with engine mysql and `mode: none` nothing of the sidecar's own is on
 * the server.
 */
export function carriesBarriers({ engine, mode }: AnyDatabaseOptions): boolean {
  return engine !== 'mysql' || mode !== 'none';
}
