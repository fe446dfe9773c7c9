/** Prepared transactions of one database on MySQL or MariaDB, as its configuration and its server allow them. */
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import { CodedError } from '../../../src/contract/errors.ts';
import type { Log } from '../../../src/platform/log.ts';
import { createLocalPreparation, type LocalPreparation } from '../../branch/xa/preparation.ts';
import type { PreparedTransactions } from '../../branch/xa/prepared.ts';
import { preparedPhase, type PreparedPhase } from '../../branch/xa/second-phase.ts';
import type { MysqlDatabaseOptions } from '../../options.ts';
import { phaseTwoLogin } from '../own-login.ts';
import { ParkedBranches } from './parked.ts';
import { openPreparedTransactions } from './prepared.ts';

export interface Xa extends PreparedPhase {
  /** Undefined where no local transaction is prepared. */
  readonly preparation: (LocalPreparation & { readonly parked: ParkedBranches }) | undefined;
}

export interface XaParts {
  readonly options: MysqlDatabaseOptions;
  /** `<service>/<database>`. */
  readonly resource: string;
  readonly coordinator: CoordinatorClient;
  readonly log: Log;
}

/**
 * Checks at the start of a sidecar, before anything listens, that the server can do what the mode needs.
 * @throws CodedError BAD_REQUEST when the mode is xa and it cannot, UPSTREAM_UNREACHABLE (retry safe) when it cannot be asked.
 */
export async function checkXa(options: MysqlDatabaseOptions): Promise<void> {
  if (options.mode !== 'xa') return;
  const transactions = await openPreparedTransactions({ database: options.name, connection: phaseTwoLogin(options) });
  await transactions.close();
}

/**
 * Asks the server whether it can prepare transactions. In mode undo one that cannot does without: what would escalate is refused.
 * @throws CodedError as `checkXa` does.
 */
export async function openXa({ options, resource, coordinator, log }: XaParts): Promise<Xa> {
  const { mode, escalate, xa } = options;
  const parked = new ParkedBranches();
  let transactions: PreparedTransactions | undefined;
  try {
    transactions = await openPreparedTransactions({ database: resource, connection: phaseTwoLogin(options), parked });
  } catch (error) {
    if (mode === 'xa' || !(error instanceof CodedError) || error.code !== 'BAD_REQUEST') throw error;
    const text = `changes without row images are refused, because nothing can be prepared: ${error.message}`;
    const hint = `${error.hint ?? ''} Say escalate: off if that is meant.`.trim();
    if (escalate === 'xa') log.warn({ database: options.name, hint }, text);
  }
  const prepares = transactions !== undefined && (mode === 'xa' || escalate === 'xa');
  return {
    preparation: prepares ? { ...createLocalPreparation({ coordinator, xa }), parked } : undefined,
    ...preparedPhase(transactions, { coordinator, everyMs: xa.recover, log }),
  };
}
