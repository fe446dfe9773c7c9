/** One PostgreSQL database of a sidecar: its listener, its branches, and their second phase. */
import type { Log } from '../src/platform/log.ts';
import { resourceName, startOn, type Database, type DatabaseParts } from './database.ts';
import type { DatabaseOptions } from './options.ts';
import { createBarrier } from './postgres/barrier.ts';
import { SharedFacts } from './postgres/facts/shared-facts.ts';
import { createFinisher } from './postgres/finish.ts';
import { startPostgresListener } from './postgres/listener.ts';
import { createLockList } from './postgres/locks/list.ts';
import { createPlanner } from './postgres/plan.ts';
import { checkSchema } from './postgres/schema.ts';
import { missingTriggers } from './postgres/triggers/install.ts';
import { phaseTwoConnection } from './postgres/upstream.ts';
import { checkXa, openXa } from './postgres/xa/open.ts';

/**
 * Checks at the start of a sidecar, before anything listens, that the database has all that its options ask for.
 * @throws CodedError that says what to do.
 */
export async function checkPostgresDatabase(options: DatabaseOptions): Promise<void> {
  const connection = phaseTwoConnection(options);
  await checkSchema(connection);
  await checkXa(options);
  if (options.capture !== 'triggers') return;
  const error = await missingTriggers(connection, { except: options.captureExcept });
  if (error !== undefined) throw error;
}

/** Starts one database. Rejects when it cannot be asked, or its address cannot be bound. */
export async function startPostgresDatabase(parts: DatabaseParts<DatabaseOptions>): Promise<Database> {
  const { options, coordinator, limits, traces, log } = parts;
  const connection = phaseTwoConnection(options);
  const xa = await openXa({ options, resource: resourceName(parts), coordinator, log });
  const finisher = xa.wrap(createFinisher({ connection, log }));
  const mode = options.mode === 'none' ? 'none' : 'undo';
  const { maxRows, capture } = options;
  const carriesBarrier = parts.barrier === 'here';
  const planning = { mode, maxRows, capture, carriesBarrier, preparing: xa.preparing } as const;
  const sharedFacts = new SharedFacts();
  const locks = createLockList(connection, log);
  const database = await startOn(
    {
      finisher,
      barrier: carriesBarrier ? createBarrier({ connection, coordinator, log }) : undefined,
      preparation: xa.preparation,
      locks: (query) => locks.read(query),
      listen: (seams) =>
        startPostgresListener({
          ...seams,
          database: options,
          sessionsMax: limits.sessions,
          statementBytesMax: limits.statement,
          createPlanner: () => createPlanner(planning, sharedFacts),
          preparation: xa.preparation,
          traces,
          log,
        }),
      recover: () => xa.recover(finisher),
      close: () => locks.close(),
    },
    parts,
  );
  if (capture !== 'triggers') return database;
  return {
    ...database,
    async cleanUp(olderThanMs) {
      await database.cleanUp(olderThanMs);
      await warnOfTables(options, log);
    },
  };
}

/** Tables that were made or altered since the start. */
async function warnOfTables(options: DatabaseOptions, log: Log): Promise<void> {
  const error = await missingTriggers(phaseTwoConnection(options), { except: options.captureExcept });
  if (error !== undefined) log.warn({ database: options.name, hint: error.hint }, error.message);
}
