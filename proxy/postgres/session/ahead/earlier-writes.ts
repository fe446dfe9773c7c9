/**
 * Whether a local transaction had changed rows before it was told to what it belongs. The server knows only whether it has a number yet,
 * and a number is also given for `nextval`, for SELECT … FOR UPDATE and for a temporary table. So it is asked ahead of what passes, and not
 * only ahead of the first change: what such statements do behind the name says nothing about the time before it.
 */
import { markOf } from '../../../sql/session.ts';
import { boundOwnWaits } from '../../xa/own-waits.ts';
import type { Conversation } from '../conversation.ts';
import { FIXED } from '../injected.ts';

/** Statements that take a snapshot themselves. Ahead of SET TRANSACTION and LOCK there must be none: asking takes one. */
const TAKES_SNAPSHOT =
  /^(?:\s|\(|\/\*(?:[^*]|\*(?!\/))*\*\/|--.*\n)*(?:select|with|values|table|insert|update|delete|declare|execute|copy|create)\b/i;

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
  return isUnknown && TAKES_SNAPSHOT.test(text);
}

async function askAhead(c: Conversation, text: string): Promise<boolean> {
  return (await askEarlier(c)) && (await boundOwnWaits(c, text)) !== false;
}

async function askEarlier(c: Conversation): Promise<boolean> {
  const options = { isInPipeline: true, passOn: c.toClient };
  const rows = await c.injected.query('has-written', FIXED['has-written'], [], options);
  if (rows?.length === 0) c.state = { ...c.state, boundLate: false };
  return rows !== undefined;
}
