/** The option table of the coordinator: names, types, defaults and meanings. `config/` reads YAML into it. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import { parseGrpcUrl } from './contract/grpc-url.ts';
import {
  address,
  addressOrOff,
  bearerToken,
  byteSize,
  duration,
  httpUrl,
  logOptions,
  pattern,
  type Secret,
  secret,
} from './platform/option-types.ts';

/** A URL of which nothing may be shown: it carries a key or a password. */
function secretUrl(protocols: readonly string[], expected: string) {
  return secret
    .refine((url) => protocols.includes(URL.parse(url.reveal())?.protocol ?? ''), {
      error: `expected ${expected}, best given as \${env:NAME} or \${file:/path}`,
    })
    .meta({ writeOnly: true });
}

/** Those of chat services carry their key in the path or the query. A user in it would not be sent: `token` is for that. */
const hookUrl = secretUrl(['http:', 'https:'], 'an http or https URL').refine(
  (url) => /^[^/?#]*\/\/[^/?#@]*(?:[/?#]|$)/.test(url.reveal()),
  { error: 'expected an http or https URL without user and password', abort: true },
);

/** One of zero would be none: calls given up before they begin, tried again without a pause. */
const someTime = duration.refine((ms) => ms >= 1, { error: 'expected at least 1ms' });

const ORIGIN = 'an origin such as https://orders:8443 or grpc://orders:9000';

/** `http://host:port` as the calls of branches have it: lower case, no default port, one spelling of an address. */
const origin = pattern(/^(?:https?:\/\/[^\s/?#@]+|grpcs?:\/\/[^\s/?#@]+:[0-9]+)$/i, ORIGIN).transform(
  (text, context) => {
    const found = originOf(text);
    if (found !== undefined) return found;
    context.addIssue({ code: 'custom', message: `expected ${ORIGIN}` });
    return z.NEVER;
  },
);

function originOf(text: string): string | undefined {
  if (!/^grpc/i.test(text)) return URL.parse(text)?.origin;
  const parsed = parseGrpcUrl(`${text}/any.Service/Method`);
  return 'fault' in parsed ? undefined : parsed.origin;
}

const pem = pattern(/-----BEGIN CERTIFICATE-----/, 'certificates in PEM, best given as ${file:/path}');

interface Pems {
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: Secret | undefined;
}

/** True when a TLS connection can be made with these. */
function isUsable({ ca, certificate, key }: Pems): boolean {
  try {
    // Of a bad authority OpenSSL says nothing: it is then not trusted.
    for (const [text] of ca?.matchAll(/-----BEGIN CERTIFICATE-----[^-]*(?:-----END CERTIFICATE-----)?/g) ?? []) {
      void new X509Certificate(text);
    }
    createSecureContext({ ca, cert: certificate, key: key?.reveal() });
    return (certificate === undefined) === (key === undefined);
  } catch {
    return false;
  }
}

/** The longest text of V8 has 512 MiB, and between coordinators a body is twice as long: one beyond would end the process. */
const bodySize = byteSize.refine((bytes) => bytes >= 1024 && bytes <= 128 * 1024 ** 2, {
  error: 'expected 1KiB to 128MiB',
});

export const coordinatorOptions = z.strictObject({
  listen: address.prefault('127.0.0.1:36789').describe('Where the HTTP API listens'),
  grpc: z
    .strictObject({ listen: addressOrOff.prefault('127.0.0.1:36790').describe('Where it listens; off: nowhere') })
    .prefault({})
    .describe("DTM's protocol over gRPC"),
  store: z
    .union([
      z.strictObject({
        sqlite: z
          .strictObject({
            path: pattern(/^.+$/s, 'the path of a file, such as /var/lib/atomesh/atomesh.db').describe(
              'The database file; its folder must exist',
            ),
          })
          .describe('An SQLite database of its own'),
      }),
      z.strictObject({
        postgres: z
          .strictObject({
            url: secretUrl(
              ['postgres:', 'postgresql:'],
              'a URL such as postgres://user:password@host:5432/database',
            ).describe('The database; a direct connection, not a pooler that shares connections'),
            schema: pattern(/^[a-z_][a-z0-9_]{0,62}$/, 'a name of small letters, digits and _')
              .default('atomesh_coordinator')
              .describe('The schema of the tables; made when it is not there'),
          })
          .describe('A PostgreSQL database, which several coordinators may share'),
      }),
      z.strictObject({ memory: z.strictObject({}).describe('Nothing survives the process; for tests only') }),
    ])
    .prefault({ sqlite: { path: 'atomesh.db' } })
    .describe('Where transactions are kept'),
  cluster: z
    .strictObject({
      url: httpUrl
        .optional()
        .describe('Where the others reach this one, such as http://10.0.0.7:36789; without it where it listens'),
    })
    .prefault({})
    .describe('Several coordinators on one PostgreSQL database'),
  token: bearerToken
    .optional()
    .describe('What callers must send as "Authorization: Bearer …"; without it anybody may call'),
  branchToken: bearerToken
    .optional()
    .describe(
      'What this coordinator sends as "Authorization: Bearer …" to branches (the control listeners of sidecars)',
    ),
  branches: z
    .strictObject({
      allow: z
        .array(origin)
        .optional()
        .describe('The only servers that branches may be at; without it any but metadata services of clouds'),
      tls: z
        .strictObject({
          ca: pem.optional().describe('Certificates of the authorities to trust instead of the usual ones'),
          certificate: pem.optional().describe("The coordinator's own certificate, for branches that ask for one"),
          key: secret.optional().describe('The key of that certificate'),
        })
        .refine(isUsable, { error: 'expected PEM texts, and certificate and key that belong together' })
        .prefault({})
        .describe('How branches at https and grpcs URLs are called'),
    })
    .prefault({})
    .describe('Where branches may be, and how they are called'),
  lease: duration
    .refine((ms) => ms >= 100, { error: 'expected at least 100ms' })
    .prefault('10s')
    .describe('How long a coordinator that stopped answering keeps its transactions'),
  retention: duration.prefault('24h').describe('How long finished transactions are kept'),
  limits: z
    .strictObject({
      body: bodySize.prefault('1MiB').describe('Largest request body'),
      branches: z.int().min(1).max(100_000).default(1000).describe('Most branches of one transaction'),
      unfinished: z
        .int()
        .min(1)
        .default(1_000_000)
        .describe('Most unfinished transactions; further begins are refused with 429'),
      calls: z
        .int()
        .min(1)
        .default(1024)
        .describe('Most branch calls in flight; at most a quarter of them to one host'),
    })
    .prefault({})
    .describe('What clients can make the coordinator hold'),
  shutdown: z
    .strictObject({
      grace: duration.prefault('10s').describe('How long branch calls in flight may take to end after SIGTERM'),
    })
    .prefault({})
    .describe('What happens on SIGTERM'),
  dtm: z
    .strictObject({
      timeoutToFail: someTime
        .prefault('35s')
        .describe(
          'When TCC and XA transactions that nobody has decided are rolled back, and message senders are asked',
        ),
      retryInterval: someTime
        .prefault('1s')
        .describe('First pause between tries of a branch call; doubles up to a minute'),
      requestTimeout: someTime.prefault('10s').describe('How long one branch call may take'),
    })
    .prefault({})
    .describe("What transactions of DTM's protocol are given when they do not say; workflows have longer ones"),
  webhooks: z
    .strictObject({
      alert: z
        .strictObject({
          url: hookUrl.describe('Where it is posted'),
          token: bearerToken.optional().describe('What is sent as "Authorization: Bearer …"'),
          after: z.int().min(1).default(3).describe('Calls in vain after which it is posted, each time'),
        })
        .optional()
        .describe('Posts gid, status, branch, op, error and retry_count of a branch that does not get on'),
      completion: z
        .strictObject({
          url: hookUrl.describe('Where it is posted'),
          token: bearerToken.optional().describe('What is sent as "Authorization: Bearer …"'),
        })
        .optional()
        .describe('Posts gid, mode, status and reason of each transaction that has ended'),
    })
    .prefault({})
    .describe('Who is told what happens'),
  log: logOptions,
});

export type CoordinatorOptions = z.output<typeof coordinatorOptions>;
