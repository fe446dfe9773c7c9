/**
 * Statements that pass as they came, and may wait for a lock: SELECT … FOR UPDATE, LOCK, and what a cursor or EXECUTE hides of them. One
 * that waits for what its own global transaction has prepared would wait for ever, for that ends behind it; and the rollback would wait
 * for the session.
 */
import { currentWork, type Conversation, mayLockRows } from '../session/conversation.ts';
import { BOUND_WAITS } from '../session/injected.ts';

/**
 * Bounds the waits for locks of the current local transaction, up to its end, by the lock timeout, unless the client has said when they
 * are over: ahead of the passed statement `text`, if it may wait and the gid has prepared something here. Undefined where there is no
 * need; false when it failed, which the client has been told: then everything up to a Sync is skipped.
 */
export function boundOwnWaits(c: Conversation, text: string): Promise<boolean> | undefined {
  const { block } = c.state;
  if (block === 'failed' || c.preparation === undefined || !mayLockRows(text)) return undefined;
  const work = currentWork(c);
  if (work?.kind !== 'undo' || !c.preparation.hasPrepared(work.branch)) return undefined;
  return block === 'idle' ? boundAlone(c) : boundBlock(c);
}

/** In the implicit transaction that the statement itself will end. */
async function boundAlone(c: Conversation): Promise<boolean> {
  return (await ask(c, 'bound_waits', BOUND_WAITS, [timeout(c)])) !== undefined;
}

/**
 * By commands that take no snapshot: where the isolation has one for the whole local transaction, LOCK in front of it is how a client
 * comes to see everything behind the lock. PG source: PlannedStmtRequiresSnapshot.
 */
async function boundBlock(c: Conversation): Promise<boolean> {
  const shown = await ask(c, 'lock_timeout', 'SHOW lock_timeout', []);
  if (shown?.[0]?.[0] !== '0') return shown !== undefined;
  return (await ask(c, 'set_lock_timeout', `SET LOCAL lock_timeout = '${timeout(c)}'`, [])) !== undefined;
}

function ask(
  c: Conversation,
  name: string,
  sql: string,
  parameters: readonly string[],
): Promise<(string | null)[][] | undefined> {
  // No Sync: outside a block it would end what has been set.
  return c.injected.query(name, sql, parameters, { isInPipeline: true, passOn: c.toClient });
}

function timeout({ lockTimeoutMs }: Conversation): string {
  return `${lockTimeoutMs}ms`;
}
