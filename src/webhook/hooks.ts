/** Tells others what happens to transactions: that one has ended, and that a branch does not get on. */
import type { Log } from '../platform/log.ts';
import type { Secret } from '../platform/option-types.ts';
import type { RunnerEvent } from '../runner/driven.ts';
import { Deliveries } from './deliveries.ts';

export interface WebhookOptions {
  readonly url: Secret;
  readonly token?: Secret | undefined;
}

export interface WebhooksOptions {
  /** Told when a branch has been called in vain so often, and each time again after that; and when one is given up. */
  readonly alert: (WebhookOptions & { readonly after: number }) | undefined;
  /** Told when a transaction has ended. */
  readonly completion: WebhookOptions | undefined;
}

export interface Webhooks {
  /** Never throws and never waits. */
  readonly onEvent: (event: RunnerEvent) => void;
  close(graceMs: number): Promise<void>;
}

/**
 * The body of an alert is DTM's: `{gid, status, branch, error, retry_count}`, and `op` (svr/trans_status.go:243), with
 * `abandoned: true` when a message is given up. That of a
 * completion is `{gid, mode, status, reason, createdAt, finishedAt}`, instants in milliseconds.
 *
 * Deliveries are kept in memory: what is not delivered when the process dies is not. The state itself is always in the API.
 */
export function openWebhooks({ alert, completion }: WebhooksOptions, log: Log): Webhooks {
  const alerts = alert && new Deliveries({ name: 'alert', url: alert.url, token: alert.token, log });
  const completions =
    completion && new Deliveries({ name: 'completion', url: completion.url, token: completion.token, log });
  return {
    onEvent: (event) => {
      if (event.kind === 'finished') {
        const { gid, mode, status, reason, createdAt, finishedAt } = event.transaction;
        completions?.add({ gid, mode, status, reason, createdAt, finishedAt }, { gid });
      } else if (event.kind === 'abandoned') {
        const { transaction, branch } = event;
        const { gid, status } = transaction;
        const { id, lastError: error, attempts: retry_count } = branch;
        alerts?.add({ gid, status, branch: id, op: 'action', error, retry_count, abandoned: true }, { gid });
      } else if (alerts !== undefined && alert !== undefined && isInVain(event)) {
        const { transaction, branch, operation, result, detail } = event;
        const tries = branch.attempts + 1;
        if (tries < alert.after && result !== 'dirty') return;
        const { gid, status } = transaction;
        const error = detail ?? `answered ${result}`;
        alerts.add({ gid, status, branch: branch.id, op: operation, error, retry_count: tries }, { gid });
      }
    },
    close: async (graceMs) => {
      await Promise.all([alerts?.close(graceMs), completions?.close(graceMs)]);
    },
  };
}

/** An answer after which somebody may have to look: not one that says to wait, nor a refusal that turns a transaction round. */
function isInVain({ transaction, operation, result }: Extract<RunnerEvent, { kind: 'called' }>): boolean {
  if (result === 'failure') {
    return !(transaction.mode === 'saga' && operation === 'action') && operation !== 'msg';
  }
  return result === 'unknown' || result === 'dirty';
}
