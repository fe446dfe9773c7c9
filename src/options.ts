/** The option table of the coordinator: names, types, defaults and meanings. `config/` reads YAML into it. */
import { z } from 'zod';
import { address, byteSize, duration, logOptions, pattern, secret } from './platform/option-types.ts';

export const coordinatorOptions = z.strictObject({
  listen: address.prefault('127.0.0.1:36789').describe('Where the HTTP API listens'),
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
      z.strictObject({ memory: z.strictObject({}).describe('Nothing survives the process; for tests only') }),
    ])
    .prefault({ sqlite: { path: 'atomesh.db' } })
    .describe('Where transactions are kept'),
  token: secret.optional().describe('What callers must send as "Authorization: Bearer …"; without it anybody may call'),
  branchToken: secret
    .optional()
    .describe(
      'What this coordinator sends as "Authorization: Bearer …" to branches (the control listeners of sidecars)',
    ),
  lease: duration.prefault('10s').describe('How long a coordinator that stopped answering keeps its transactions'),
  retention: duration.prefault('24h').describe('How long finished transactions are kept'),
  limits: z
    .strictObject({
      body: byteSize.prefault('1MiB').describe('Largest request body'),
      branches: z.int().min(1).max(100_000).default(1000).describe('Most branches of one transaction'),
      unfinished: z
        .int()
        .min(1)
        .default(1_000_000)
        .describe('Most unfinished transactions; further begins are refused with 429'),
      calls: z.int().min(1).default(256).describe('Most branch calls in flight'),
    })
    .prefault({})
    .describe('What clients can make the coordinator hold'),
  shutdown: z
    .strictObject({
      grace: duration.prefault('10s').describe('How long branch calls in flight may take to end after SIGTERM'),
    })
    .prefault({})
    .describe('What happens on SIGTERM'),
  log: logOptions,
});

export type CoordinatorOptions = z.output<typeof coordinatorOptions>;
