/** Transactions to decide about. */
import type { BeginRequest } from '../../src/contract/messages.ts';
import type { NewStep, NewTransaction } from '../../src/contract/new-transaction.ts';
import type { BranchId, BranchKind, Gid, GlobalStatus, Instant, Operation } from '../../src/contract/transaction.ts';
import { begin } from '../../src/engine/begin.ts';
import { branchIdOf } from '../../src/engine/branches/id.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Effect } from '../../src/engine/effect.ts';
import type { Event, NewBranch } from '../../src/engine/event.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import { start } from '../../src/engine/start.ts';

export const T0 = 1_000_000 as Instant;
export const TIMEOUT_MS = 60_000;

/** `ms` after the begin. */
export function after(ms: number): Instant {
  return (T0 + ms) as Instant;
}

export function branchId(text: string): BranchId {
  return text as BranchId;
}

/** A participant named `resource` with a URL for each operation that there is. */
export function participant(resource: string, kind: BranchKind = 'undo', host: string = resource): NewBranch {
  const operations: Record<string, string> = {};
  for (const operation of ['commit', 'rollback', 'confirm', 'cancel', 'compensate', 'action'] satisfies Operation[]) {
    operations[operation] = `http://${host}/${operation}`;
  }
  return { kind, resource, operations };
}

/** A begun transaction. */
export function begun(): GlobalTransaction {
  return begin({ timeoutMs: TIMEOUT_MS }, 'g' as Gid, 'hash', T0);
}

/** A mesh whose initiator is asked, as a message or as a workflow, 5,000 ms after its begin or its last sign of life. */
export function begunWith(operation: 'msg' | 'workflow', wanted: Partial<BeginRequest> = {}): GlobalTransaction {
  const callback = { operation, url: CALLBACK.url, afterMs: 5000, payload: 'cmVxdWVzdA==' };
  const deadline = operation === 'msg' ? {} : { timeoutMs: TIMEOUT_MS };
  return begin({ ...deadline, callback, ...wanted }, 'g' as Gid, 'hash', T0);
}

/** A transaction of another mode, as its initiator begins it at `T0`. */
export function started(
  mode: NewTransaction['mode'],
  status: 'prepared' | 'submitted',
  wanted: Partial<NewTransaction> = {},
): GlobalTransaction {
  return start({ gid: 'g' as Gid, mode, identity: 'same', protocol: 'http', steps: [], ...wanted }, status, 'hash', T0);
}

/** One step for each text: `ac` has an action and a compensation, `a` and `c` only that, `-` neither. */
export function stepsOf(...texts: readonly string[]): readonly NewStep[] {
  return texts.map((text, index) => ({
    id: branchIdOf(index + 1),
    ...(text.includes('a') ? { action: `http://s${index}/action` } : {}),
    ...(text.includes('c') ? { compensate: `http://s${index}/compensate` } : {}),
  }));
}

/** Where the initiator is asked. */
export const CALLBACK = { url: 'http://initiator/callback' } as const;

/** What the events make of `state`, all at `now`. */
export function happened(
  state: GlobalTransaction,
  events: readonly Event[],
  now: Instant = after(0),
): GlobalTransaction {
  return events.reduce((next, event) => decide(next, event, now).next, state);
}

export function reply(
  branch: string,
  operation: Operation,
  result: 'success' | 'failure' | 'ongoing' | 'unknown' | 'dirty',
): Event {
  return { kind: 'replied', branch: branchId(branch), operation, result };
}

/** A transaction of two undo branches, `a` and `b`, in the given status. */
export function inStatus(status: GlobalStatus): GlobalTransaction {
  const open = happened(begun(), [
    { kind: 'enlist', branch: participant('a') },
    { kind: 'enlist', branch: participant('b') },
  ]);
  switch (status) {
    case 'prepared':
      return open;
    case 'submitted':
      return happened(open, [{ kind: 'submit' }]);
    case 'aborting':
      return happened(open, [{ kind: 'abort', reason: 'no stock' }]);
    case 'succeed':
      return happened(inStatus('submitted'), [reply('01', 'commit', 'success'), reply('02', 'commit', 'success')]);
    case 'failed':
      return happened(inStatus('aborting'), [reply('02', 'rollback', 'success'), reply('01', 'rollback', 'success')]);
  }
}

/** The effects as short words: `commit 01`, `wake +2000`. */
export function effectWords(state: GlobalTransaction, event: Event, now: Instant): readonly string[] {
  return wordsOf(decide(state, event, now).effects);
}

/** What is due in `state` at `now`, in the same words. */
export function dueWords(state: GlobalTransaction, now: Instant = after(0)): readonly string[] {
  return effectWords(state, { kind: 'woken' }, now);
}

function wordsOf(effects: readonly Effect[]): readonly string[] {
  return effects.map((effect) =>
    effect.kind === 'call' ? `${effect.operation} ${effect.branch}` : `wake +${effect.at - T0}`,
  );
}
