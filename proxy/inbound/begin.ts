/**
 * The sidecar's side of global transactions that begin with an inbound request: begun before the application sees it, decided by its
 * answer, which is held back until that decision is durable. What decides, and what happens when nobody answers, differs by kind.
 */
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import type { BeginRequest } from '../../src/contract/messages.ts';
import { INITIATOR, type Instant, type Mark } from '../../src/contract/transaction.ts';
import { assert } from '../../src/platform/assert.ts';
import { now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import { openPlainGate } from './begin-plain.ts';
import { openMessageGate, type MessageDesk } from './begin-message.ts';
import { beginError, type Undecided } from '../transaction/decide.ts';
import type { Beginning, BeginRule, Begun } from '../transaction/begin.ts';
import type { WorkflowDesk } from '../workflow/desk.ts';
import type { HttpMetrics } from '../http/metrics.ts';

/** Begins transactions and looks after those it has begun. */
export interface Desk {
  /** `open` once the transaction is durable at the coordinator. Never rejects. */
  begin(beginning: Beginning): Promise<Begun>;
  /** Resolves when no submit or abort is under way any more. Each has a bound of its own. */
  settled(): Promise<void>;
}

export interface DeskParts {
  readonly coordinator: CoordinatorClient;
  /** Set when a route begins messages. */
  readonly message?: MessageDesk | undefined;
  /** Set when a route begins workflows. */
  readonly workflow?: WorkflowDesk | undefined;
  readonly log: Log;
  readonly metrics: HttpMetrics;
}

/** The desk of one inbound listener. */
export function openDesk(parts: DeskParts): Desk {
  const pending = new Set<Promise<unknown>>();
  const follow = (work: Promise<unknown>): void => {
    pending.add(work);
    void work.finally(() => pending.delete(work));
  };
  return {
    async begin(beginning) {
      const { rule, initiator } = beginning;
      if (rule.workflow) {
        assert(parts.workflow !== undefined, 'the sidecar has a desk for workflows when a route begins them');
        return await parts.workflow.begin(beginning, follow);
      }
      try {
        const view = await parts.coordinator.begin({ ...termsOf(rule, parts), initiator: initiator.slice(0, 200) });
        parts.metrics.transaction('begun');
        // Our clock, our start: later than the coordinator's deadline by at least the way back.
        const deadline = (now() + rule.timeout) as Instant;
        return opened({ ...parts, gid: view.gid, deadline, follow }, rule, parts.message);
      } catch (cause) {
        parts.metrics.transaction('refused');
        parts.log.warn({ err: cause, initiator }, 'a transaction could not be begun; the application was not called');
        return { kind: 'refuse', error: beginError(cause) };
      }
    },
    async settled() {
      while (pending.size > 0) await Promise.allSettled(pending);
    },
  };
}

/** What ends the transaction when nobody here does: its deadline, or the answer to the question how a local transaction ended. */
function termsOf(rule: BeginRule, { message }: DeskParts): BeginRequest {
  if (!rule.message) return { timeoutMs: rule.timeout };
  assert(message !== undefined, 'the sidecar has a desk for messages when a route begins them');
  return { callback: { operation: 'msg', url: message.checkUrl, afterMs: rule.timeout } };
}

function opened(transaction: Undecided, rule: BeginRule, message: MessageDesk | undefined): Begun {
  const { gid } = transaction;
  if (!rule.message || message === undefined) {
    return { kind: 'open', mark: { gid }, gate: openPlainGate(transaction, rule) };
  }
  const mark: Mark = { gid, operation: { branch: INITIATOR, task: 'msg' } };
  return { kind: 'open', mark, gate: openMessageGate(transaction, rule, message) };
}
