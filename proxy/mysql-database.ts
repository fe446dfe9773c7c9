/** One MySQL or MariaDB database of a sidecar: its listener, its branches, and their second phase. */
import type { KeyObject } from 'node:crypto';
import {
  resourceName,
  startOn,
  type Database,
  type DatabaseParts,
  type Engine,
  type SessionSeams,
} from './database.ts';
import type { Finisher, FinishResult } from './branch/finish.ts';
import { createBarrier } from './mysql/barrier.ts';
import { createTableFacts } from './mysql/facts/table-facts.ts';
import { createViewFacts } from './mysql/facts/view-facts.ts';
import { createFinisher } from './mysql/finish.ts';
import { Contention } from './mysql/inside/capture/contention.ts';
import type { InsideParts, SessionPreparation } from './mysql/inside/parts.ts';
import { startMysqlListener } from './mysql/listener.ts';
import { createInterrupter } from './mysql/session/interrupting.ts';
import { createLockList } from './mysql/locks/list.ts';
import { createRowLocks } from './mysql/locks/row-locks.ts';
import { openOwnPool, type OwnLogin } from './mysql/own-pool.ts';
import { phaseTwoLogin } from './mysql/own-login.ts';
import { readSealSecret } from './mysql/seal.ts';
import { checkSchema } from './mysql/setup/init.ts';
import { openRestorableTables } from './mysql/setup/restorable.ts';
import { upstreamAddress } from './mysql/upstream.ts';
import { checkXa, openXa, type Xa } from './mysql/xa/open.ts';
import type { MysqlDatabaseOptions } from './options.ts';

type Parts = DatabaseParts<MysqlDatabaseOptions>;

/**
 * Checks at the start of a sidecar, before anything listens, that the server has all that the options ask for: its version and settings,
 * the database atomesh, and the rights of the second phase.
 * @throws CodedError that says what to do.
 */
export async function checkMysqlDatabase(options: MysqlDatabaseOptions): Promise<void> {
  // Nothing of the sidecar's own is on the server then.
  if (options.mode === 'none') return;
  const login = phaseTwoLogin(options);
  await checkSchema(login);
  await checkXa(options);
  if (options.mode === 'xa') return;
  const tables = await openRestorableTables(login);
  try {
    tables.check(upstreamAddress(options.upstream).database);
  } finally {
    await tables.close();
  }
}

/** Starts one database. Rejects when it cannot be asked, or its address cannot be bound. */
export async function startMysqlDatabase(parts: Parts): Promise<Database> {
  return await startOn(parts.options.mode === 'none' ? readingEngine(parts) : await changingEngine(parts), parts);
}

async function changingEngine(parts: Parts): Promise<Engine> {
  const { options, coordinator, log } = parts;
  const login = phaseTwoLogin(options);
  const { mode, escalate } = options;
  const xa = await openXa({ options, resource: resourceName(parts), coordinator, log });
  const finisher = xa.wrap(createFinisher({ connection: login, log }));
  const [allFacts, views, rowLocks, locks, interrupter] = [
    createTableFacts(login, log),
    createViewFacts(login, log),
    createRowLocks(login, log),
    createLockList(login, log),
    createInterrupter(login, log),
  ];
  // What is prepared is ended and not put back: then the second phase needs no rights to the tables.
  const tables = mode === 'xa' ? undefined : await openRestorableTables(login);
  const shared: Omit<InsideParts, 'resource' | 'enlistment' | 'holders' | 'operations' | 'preparation'> = {
    mode: mode === 'xa' ? 'xa' : 'undo',
    escalates: mode === 'undo' && escalate === 'xa' && xa.preparation !== undefined,
    facts: tables === undefined ? allFacts : tables.guard(allFacts),
    allFacts,
    views,
    rowLocks,
    contention: new Contention(),
    interrupter,
    sealSecret: await sealSecretOf(login),
    lockTimeoutMs: options.lockTimeout,
    maxRows: options.maxRows,
  };
  return {
    finisher,
    barrier: parts.barrier === 'here' ? createBarrier({ connection: login, coordinator }) : undefined,
    preparation: xa.preparation,
    parked: () => xa.preparation?.parked.size ?? 0,
    locks: (query) => locks.read(query),
    listen: ({ resource, enlistment, holders, operations, count }) =>
      startMysqlListener({
        ...listening(parts),
        inside: { ...shared, resource, enlistment, holders, operations, preparation: counted(xa.preparation, count) },
        count,
      }),
    recover: () => xa.recover(finisher),
    async close() {
      const mine = [allFacts.close(), views.close(), rowLocks.close(), locks.close(), interrupter.close()];
      await Promise.all([...mine, tables?.close()]);
    },
  };
}

/** What is prepared is counted. */
function counted(preparation: Xa['preparation'], count: SessionSeams['count']): SessionPreparation | undefined {
  return (
    preparation && {
      ...preparation,
      prepared(branch) {
        preparation.prepared(branch);
        count('prepared');
      },
    }
  );
}

const NOTHING: Promise<FinishResult> = Promise.resolve({ result: 'success' });

/** Whatever could change something inside a global transaction was refused: there is nothing to commit, and nothing to take back. */
const noBranches: Finisher = {
  open: () => Promise.resolve(),
  discard: () => Promise.resolve(),
  commit: () => NOTHING,
  rollback: () => NOTHING,
  cleanUp: () => Promise.resolve(0),
  close: () => Promise.resolve(),
};

/** In mode none nothing of the sidecar's own is on the server. */
function readingEngine(parts: Parts): Engine {
  return {
    finisher: noBranches,
    barrier: undefined,
    preparation: undefined,
    locks: () => Promise.resolve([]),
    listen: ({ count }) => startMysqlListener({ ...listening(parts), inside: undefined, count }),
    recover: () => undefined,
    close: () => Promise.resolve(),
  };
}

function listening({ options, limits, traces, barrier, log }: Parts) {
  return {
    database: options,
    sessionsMax: limits.sessions,
    statementBytesMax: limits.statement,
    areOperationsOff: barrier === 'off',
    traces,
    log,
  };
}

async function sealSecretOf(connection: OwnLogin): Promise<KeyObject> {
  const pool = openOwnPool({ connection, purpose: 'start', max: 1, statementTimeoutMs: 10_000, lockTimeoutS: 1 });
  return await readSealSecret(pool).finally(() => pool.end());
}
