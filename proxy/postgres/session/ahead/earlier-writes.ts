/**
 * Whether a local transaction had changed rows before it was told to what it belongs. The server knows only whether it has a number yet,
 * and a number is also given for `nextval`, for SELECT … FOR UPDATE and for a temporary table. So it is asked ahead of what passes, and not
 * only ahead of the first change: what such statements do behind the name says nothing about the time before it.
 */
import { heardEarlier, markOf } from '../../../sql/session.ts';
import { boundOwnWaits } from '../../xa/own-waits.ts';
import type { Conversation } from '../conversation.ts';
import { earlierIn, FIXED } from '../injected.ts';

/** Statements that take a snapshot themselves, or whose cursor has. Ahead of SET TRANSACTION there must be none: asking takes one. */
const TAKES_SNAPSHOT =
  /^(?:\s|\(|\/\*(?:[^*]|\*(?!\/))*\*\/|--.*\n)*(?:select|with|values|table|insert|update|delete|declare|execute|copy|create|fetch|move|explain)\b/i;
/**
 * A lock is no change, but the strongest takes a number. Where one snapshot holds for the whole local transaction none must go ahead of it:
 * LOCK is how a client comes to see everything behind the lock.
 */
const LOCKS = /^(?:\s|\/\*(?:[^*]|\*(?!\/))*\*\/|--.*\n)*lock\b/i;

/**
 * What goes ahead of the passed statement `text`. Undefined where there is nothing; false when it failed, which the client has been
 * told: then everything up to a Sync is skipped.
 */
export function aheadOfPassed(c: Conversation, text: string): Promise<boolean> | undefined {
  return mayAskEarlier(c, text) ? askAhead(c, text) : boundOwnWaits(c, text);
}

/** Asks ahead of a locking read, as ahead of what passes. */
export function aheadOfRead(c: Conversation, text: string): Promise<boolean> | undefined {
  return mayAskEarlier(c, text) ? askEarlier(c) : undefined;
}

function mayAskEarlier({ state }: Conversation, text: string): boolean {
  const isUnknown = state.boundLate && !state.changed && state.block === 'open' && markOf(state) !== undefined;
  return isUnknown && (TAKES_SNAPSHOT.test(text) || LOCKS.test(text));
}

async function askAhead(c: Conversation, text: string): Promise<boolean> {
  const mayAsk = !LOCKS.test(text) || (await isReadCommitted(c));
  if (mayAsk === undefined || (mayAsk && !(await askEarlier(c)))) return false;
  return (await boundOwnWaits(c, text)) !== false;
}

/** Undefined when the server could not be asked, which the client has been told. SHOW takes no snapshot. */
async function isReadCommitted(c: Conversation): Promise<boolean | undefined> {
  const options = { isInPipeline: true, passOn: c.toClient };
  const rows = await c.injected.query('isolation', FIXED.isolation, [], options);
  return rows && rows[0]?.[0] === 'read committed';
}

async function askEarlier(c: Conversation): Promise<boolean> {
  const options = { isInPipeline: true, passOn: c.toClient };
  const rows = await c.injected.query('has-written', FIXED['has-written'], [], options);
  if (rows !== undefined) c.state = heardEarlier(c.state, earlierIn(rows));
  return rows !== undefined;
}
