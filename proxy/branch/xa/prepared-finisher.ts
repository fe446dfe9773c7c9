/** The second phase of branches that may hold prepared transactions: those end first, then what undo mode has left. */
import type { Gid, Resolution } from '../../../src/contract/transaction.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { Finisher, FinishResult } from '../finish.ts';
import type { Prepared, PreparedTransactions } from './prepared.ts';

/**
 * Wraps the second phase of undo mode. A prepared transaction keeps the state of its branch locked, as an open one does, so it has to
 * be ended before that state can change. What undo records it holds, its commit publishes for the undo part to delete; its rollback
 * takes them with it.
 */
export function createPreparedFinisher(undo: Finisher, transactions: PreparedTransactions, log: Log): Finisher {
  /** Undefined when all were ended. */
  async function end(verb: 'COMMIT' | 'ROLLBACK', gid: Gid, resource: string): Promise<FinishResult | undefined> {
    const prepared = (await transactions.list()).filter((each) => each.gid === gid && each.resource === resource);
    if (prepared.length === 0) return undefined;
    const ended = verb === 'COMMIT' ? 'committed' : 'rolled_back';
    const state = await transactions.stateOf(gid, resource);
    // The undo part says that the two decisions contradict each other.
    if (state !== undefined && state !== 'active' && state !== ended) return undefined;
    for (const each of prepared) {
      const result = await transactions.end(verb, each);
      if (result === 'ended') continue;
      if (result === 'busy') return { result: 'ongoing', detail: `the prepared transaction ${each.name} is in use` };
      if (result === 'stuck') return stuck(log, each);
      const now = await transactions.stateOf(gid, resource);
      if (now === ended) continue;
      log.warn(
        { gid, resource, name: each.name, state: now ?? 'none' },
        'a prepared transaction was ended by somebody else',
      );
      return {
        result: 'ongoing',
        detail: `the prepared transaction ${each.name} has just been ended by somebody else`,
      };
    }
    return undefined;
  }

  async function finish(
    verb: 'COMMIT' | 'ROLLBACK',
    branch: { readonly gid: Gid; readonly resource: string },
    rest: () => Promise<FinishResult>,
  ): Promise<FinishResult> {
    try {
      const { gid, resource } = branch;
      return (await end(verb, gid, resource)) ?? (await rest());
    } catch (error) {
      return { result: 'unknown', detail: error instanceof Error ? error.message : String(error) };
    }
  }

  return {
    open: (gid, resource) => undo.open(gid, resource),
    discard: (gid, resource) => undo.discard(gid, resource),
    commit: (gid, resource) => finish('COMMIT', { gid, resource }, () => undo.commit(gid, resource)),
    rollback: (gid, resource, resolution?: Resolution) =>
      finish('ROLLBACK', { gid, resource }, async () => {
        const result = await undo.rollback(gid, resource, resolution);
        // One whose changes were all rolled back to a savepoint no longer keeps the state locked, and may have come in between.
        return result.result === 'success' ? ((await end('ROLLBACK', gid, resource)) ?? result) : result;
      }),
    cleanUp: (olderThanMs) => undo.cleanUp(olderThanMs),
    async close() {
      await Promise.all([undo.close(), transactions.close()]);
    },
  };
}

/** Nothing but a new start of the server brings it back: until then the coordinator asks again and again, and somebody has to know. */
export function stuck(log: Log, { gid, resource, name }: Pick<Prepared, 'gid' | 'resource' | 'name'>): FinishResult {
  const detail = `the database server has said OK to the end of the prepared transaction ${name}, and has not ended it; it keeps its rows locked until the server is started again`;
  log.error({ gid, resource, name }, `${detail}: start the database server anew, and it is ended as it was decided`);
  return { result: 'ongoing', detail };
}
