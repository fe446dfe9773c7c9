/** Prepared transactions of one database, as its configuration and its server allow them. */
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import { CodedError } from '../../../src/contract/errors.ts';
import type { Log } from '../../../src/platform/log.ts';
import { preparedPhase, type PreparedPhase } from '../../branch/xa/second-phase.ts';
import type { DatabaseOptions } from '../../options.ts';
import { phaseTwoConnection } from '../upstream.ts';
import type { Preparing } from './planner.ts';
import { createPreparation, type Preparation } from './preparation.ts';
import { openPreparedTransactions, readPreparedMax } from './prepared.ts';

export interface Xa extends PreparedPhase {
  /** Undefined where no local transaction is prepared. */
  readonly preparation: Preparation | undefined;
  /** What planners make of statements whose local transactions could be prepared; undefined where none is. */
  readonly preparing: Preparing | undefined;
}

export interface XaParts {
  readonly options: DatabaseOptions;
  /** `<service>/<database>`. */
  readonly resource: string;
  readonly coordinator: CoordinatorClient;
  readonly log: Log;
}

/**
 * Checks at the start of a sidecar, before anything listens, that the server can do what the mode needs.
 * @throws CodedError BAD_REQUEST when the mode is xa and it prepares nothing, UPSTREAM_UNREACHABLE (retry safe) when it cannot be asked.
 */
export async function checkXa(options: DatabaseOptions): Promise<void> {
  if (options.mode !== 'xa' || (await preparedMax(phaseTwoConnection(options))) > 0) return;
  throw new CodedError(
    'BAD_REQUEST',
    `database ${options.name} has mode: xa, but max_prepared_transactions of its server is 0`,
    {
      hint: 'Set max_prepared_transactions in postgresql.conf to at least max_connections, and start the server again; or use mode: undo.',
    },
  );
}

/**
 * Asks the server whether it can prepare transactions.
 * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) when it cannot be asked.
 */
export async function openXa({ options, resource, coordinator, log }: XaParts): Promise<Xa> {
  const connection = phaseTwoConnection(options);
  const max = await preparedMax(connection);
  const preparing = preparingFor(options, max);
  const preparation =
    preparing === 'escalated' || preparing === 'all'
      ? createPreparation(options.credentials.user, { coordinator, xa: options.xa })
      : undefined;
  const transactions = max === 0 ? undefined : openPreparedTransactions({ database: resource, connection, log });
  return {
    preparation,
    preparing,
    ...preparedPhase(transactions, { coordinator, everyMs: options.xa.recover, log }),
  };
}

function preparingFor({ mode, escalate, capture }: DatabaseOptions, max: number): Preparing | undefined {
  if (mode === 'xa') return 'all';
  // Whoever has triggers installed wants everything undone by images, and to be told what cannot be.
  if (mode === 'none' || escalate === 'off' || capture === 'triggers') return undefined;
  return max === 0 ? 'unavailable' : 'escalated';
}

async function preparedMax(connection: Parameters<typeof readPreparedMax>[0]): Promise<number> {
  try {
    return await readPreparedMax(connection);
  } catch (error) {
    throw new CodedError(
      'UPSTREAM_UNREACHABLE',
      `the database cannot be asked for max_prepared_transactions: ${(error as Error).message}`,
      {
        retry: 'safe',
        hint: 'Check upstream, tls and credentials of this database.',
        cause: error,
      },
    );
  }
}
