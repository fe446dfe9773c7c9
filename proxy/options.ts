/** The option table of the sidecar: names, types, defaults and meanings. `config/` reads YAML into it. */
import { z } from 'zod';
import { address, byteSize, duration, httpUrl, logOptions, secret } from '../src/platform/option-types.ts';

/** `METHOD /path` with `*` for one segment and a trailing `/**` for the rest; METHOD may be `*`. */
const routeMatch = z.string().regex(/^(?:\*|[A-Z]+) \/[^\s?#]*$/, {
  error: 'expected a method and a path, such as "POST /orders" or "* /orders/**"',
});

const transactionRoute = z.strictObject({
  match: routeMatch.describe('The requests that begin a global transaction'),
  begin: z.strictObject({
    timeout: duration.prefault('60s').describe('After this long without an answer the transaction is rolled back'),
    wait: z
      .enum(['decided', 'finished'])
      .default('decided')
      .describe('Answer the caller once the outcome is decided, or once every branch has carried it out'),
  }),
});

const inbound = z.strictObject({
  listen: address.prefault('0.0.0.0:9700'),
  target: httpUrl.describe('The application'),
  trustGid: z
    .boolean()
    .default(true)
    .describe('Take a gid that the caller sends; set false on a listener that the outside world can reach'),
  transactions: z.array(transactionRoute).default([]),
  timeout: duration.prefault('300s').describe('How long the application may take to begin its answer'),
});

const outbound = z.strictObject({
  listen: address.prefault('127.0.0.1:9701'),
  upstreams: z
    .record(z.string().regex(/^[a-z0-9][a-z0-9-]*$/), z.strictObject({ url: httpUrl }))
    .default({})
    .describe('Names for plain base URLs: http://127.0.0.1:9701/<name>/…'),
  timeout: duration.prefault('300s').describe('How long another service may take to begin its answer'),
});

const postgresUrl = z
  .string()
  .regex(/^postgres(?:ql)?:\/\/[^@/?#]+(?:\/[^?#]*)?$/, {
    error: 'expected postgres://host:port/database, without user and password (see credentials)',
  })
  .describe('The database server, and the database that holds the atomesh schema');

const database = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/)
    .describe('Unique within this service'),
  listen: address.describe('Where the application connects instead of to the database'),
  upstream: postgresUrl,
  tls: z
    .strictObject({
      mode: z.enum(['disable', 'require', 'verify-full']).default('disable'),
      ca: z.string().optional().describe('PEM file of the authority that signed the server certificate'),
    })
    .prefault({}),
  credentials: z
    .strictObject({ user: z.string().min(1), password: secret.optional() })
    .describe('For the second phase only; the application logs in as itself'),
  mode: z
    .enum(['undo', 'none'])
    .default('undo')
    .describe('undo: row images; none: refuse writes inside a global transaction'),
  lockTimeout: duration
    .prefault('3s')
    .describe('How long a statement waits for a row that another unfinished global transaction has changed'),
  maxRows: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Most rows that one statement inside a global transaction may change'),
});

export const sidecarOptions = z.strictObject({
  service: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
    .describe('The name of the service this sidecar stands beside'),
  coordinator: z.strictObject({
    url: httpUrl,
    token: secret.optional(),
    timeout: duration.prefault('5s').describe('How long one request to the coordinator may take'),
  }),
  inbound: inbound.optional(),
  outbound: outbound.optional(),
  control: z
    .strictObject({
      listen: address.prefault('127.0.0.1:9702').describe('Where the coordinator calls the second phase'),
      advertise: httpUrl
        .optional()
        .describe('The address of this listener as the coordinator sees it; default http://<listen>'),
      token: secret.optional().describe('What the coordinator must send as "Authorization: Bearer …"'),
    })
    .prefault({}),
  admin: z.strictObject({ listen: address.prefault('127.0.0.1:9703') }).prefault({}),
  databases: z.array(database).default([]),
  propagation: z
    .strictObject({
      header: z
        .string()
        .regex(/^[a-z0-9-]+$/)
        .default('atomesh-gid'),
      aliases: z
        .array(z.string().regex(/^[a-zA-Z0-9_-]+$/))
        .default(['dtm-gid', 'TX_XID'])
        .describe('Further headers that may carry a gid'),
    })
    .prefault({}),
  limits: z
    .strictObject({
      header: byteSize.prefault('16KiB').describe('Largest request head'),
      sessions: z.int().min(1).default(10_000).describe('Most database sessions'),
      statement: byteSize
        .prefault('64MiB')
        .describe('Largest message of a database client inside a global transaction'),
    })
    .prefault({}),
  shutdown: z.strictObject({ grace: duration.prefault('30s') }).prefault({}),
  log: logOptions,
});

export type SidecarOptions = z.output<typeof sidecarOptions>;
export type DatabaseOptions = SidecarOptions['databases'][number];
