/**
 * Hands events on to the coordinator that holds the transaction, over HTTP: the lease in the store says who that is and where. So it
 * does not matter which coordinator a load balancer picks.
 */
import { Agent } from 'undici';
import { CodedError, type ErrorBody, type ErrorCode } from '../contract/errors.ts';
import type { Instant } from '../contract/transaction.ts';
import type { GlobalTransaction } from '../engine/global-transaction.ts';
import { at, now } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Secret } from '../platform/option-types.ts';
import type { Shared } from '../runner/ports.ts';
import type { Peers } from '../runner/peers.ts';
import type { Outcome } from '../runner/runner.ts';
import { PEER_PATH, type PeerRequest } from './event.ts';
import { urlOfOwner } from './owner.ts';

/** A holder that has not answered by then is taken for silent; the event is sent again, to it or to whoever holds the transaction then. */
const ANSWER_MS = 3000;
/** Connections to one coordinator; what comes on top waits its turn. */
const CONNECTIONS_MAX = 64;
/** Below the time after which our own HTTP server closes an idle connection. */
const KEEP_ALIVE_MS = 30_000;

/** It has stopped, or has lost the transaction, or its store is away: somebody else holds it soon, perhaps we. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['STORE_FAILED', 'SHUTTING_DOWN']);
/** It is no coordinator of our cluster, or of another version, or it has another token: only people can help. */
const STRANGE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['UNAUTHORIZED', 'NOT_FOUND', 'METHOD_NOT_ALLOWED']);

export interface ForwardOptions {
  readonly store: Shared;
  /** Our own name in leases. */
  readonly owner: string;
  /** Sent as bearer token: the coordinators of a cluster have one token. */
  readonly token: Secret | undefined;
  readonly log: Log;
}

/** Peers that hold connections until they are closed. */
export interface ForwardingPeers extends Peers {
  close(): Promise<void>;
}

/** The peers of the coordinator that `owner` names. */
export function openPeers({ store, owner, token, log }: ForwardOptions): ForwardingPeers {
  const agent = new Agent({
    connections: CONNECTIONS_MAX,
    pipelining: 1,
    connect: { timeout: ANSWER_MS },
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
  });
  const headers = {
    'content-type': 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token.reveal()}` }),
  };
  /** The last one that people were told of. */
  let strange: string | undefined;
  return {
    onDue: (listener) => store.onDue(listener),
    happen: async (gid, event) => {
      // A store that does not answer is met again at the claim, which says so.
      const holder = await store.holderOf(gid, now()).catch(() => undefined);
      if (holder === undefined || holder === owner) return undefined;
      const url = urlOfOwner(holder);
      if (url === undefined) return undefined;
      try {
        const outcome = await send(agent, new URL(url + PEER_PATH), headers, { gid, event });
        if (outcome.ok) return outcome;
        if (STRANGE.has(outcome.error.code)) {
          if (strange !== holder) log.error({ url, err: outcome.error }, 'another coordinator refuses our requests');
          strange = holder;
          return undefined;
        }
        return PASSING.has(outcome.error.code) ? undefined : outcome;
      } catch (error) {
        log.debug({ gid, holder, err: error }, 'the coordinator that holds the transaction does not answer');
        return undefined;
      }
    },
    close: () => agent.destroy(),
  };
}

/** What the holder answers. Rejects when there is no answer, or none of a coordinator. */
async function send(
  agent: Agent,
  url: URL,
  headers: Readonly<Record<string, string>>,
  request: PeerRequest,
): Promise<Outcome<GlobalTransaction>> {
  const late = new AbortController();
  const cancel = at((now() + ANSWER_MS) as Instant, () => late.abort(new Error(`no answer within ${ANSWER_MS} ms`)));
  try {
    const { statusCode, body } = await agent.request({
      origin: url.origin,
      path: url.pathname,
      method: 'POST',
      headers,
      body: JSON.stringify(request),
      signal: late.signal,
    });
    const answer: unknown = await body.json();
    if (statusCode === 200) return { ok: true, value: answer as GlobalTransaction };
    const { code, message, hint, retry } = (answer as ErrorBody).error;
    return { ok: false, error: new CodedError(code, message, { retry, ...(hint === undefined ? {} : { hint }) }) };
  } finally {
    cancel();
  }
}
