/** The coordinator's client over HTTP: one pool of keep-alive connections, cheap enough to be asked several times a transaction. */
import { type Dispatcher, Pool } from 'undici';
import { CodedError } from '../contract/errors.ts';
import type { Gid, Instant } from '../contract/transaction.ts';
import { now } from '../platform/clock.ts';
import type { Secret } from '../platform/option-types.ts';
import { newGid } from '../platform/random.ts';
import { enlistAnswerOf, errorOf, runAnswerOf, transactionListOf, transactionOf, unreachable } from './answers.ts';
import type { CoordinatorClient } from './coordinator-client.ts';
import { exchange } from './exchange.ts';

export interface CoordinatorConnection {
  /** The coordinator's base URL, such as `http://coordinator:36789`. */
  readonly url: string;
  /** What the coordinator asks for as bearer token. */
  readonly token?: Secret | string;
  /** How long one request may take, its one repetition included. Long polls get it on top of their wait. */
  readonly timeoutMs: number;
}

const CONNECTIONS_MAX = 128;
/** Shorter than the coordinator's own 75 s, so that it is us who let an idle connection go. */
const KEEP_ALIVE_MS = 30_000;

/**
 * A client of the coordinator at `url`. Connects when first asked. Requests that meet a connection which the other side
 * has just closed are sent once more: every method may be repeated (`begin` too: the gid is made here when none is given).
 * Throws `TypeError` when `url` is none.
 */
export function connectCoordinator({ url, token, timeoutMs }: CoordinatorConnection): CoordinatorClient {
  const { origin, pathname } = new URL(url);
  const pool = new Pool(origin, {
    connections: CONNECTIONS_MAX,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Time is kept per request, in `exchange`.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const secret = typeof token === 'string' ? token : token?.reveal();
  const authorization = secret === undefined ? [] : ['authorization', `Bearer ${secret}`];
  const ask = asker(pool, pathname.replace(/\/$/, ''), authorization, timeoutMs);
  const one = (gid: Gid): string => `/v1/transactions/${encodeURIComponent(gid)}`;
  return {
    begin: async (request) => transactionOf(await ask('POST', '/v1/transactions', { gid: newGid(), ...request })),
    enlist: async (gid, request) => enlistAnswerOf(await ask('POST', `${one(gid)}/branches`, request)),
    runs: async (gid) => runAnswerOf(await ask('POST', `${one(gid)}/runs`, {})),
    step: async (gid, request) => {
      await ask('POST', `${one(gid)}/steps`, request);
    },
    steps: (gid) => known(async () => runAnswerOf(await ask('GET', `${one(gid)}/steps`))),
    submit: async (gid, request = {}) => transactionOf(await ask('POST', `${one(gid)}/submit`, request)),
    abort: async (gid, request) => transactionOf(await ask('POST', `${one(gid)}/abort`, request)),
    retry: async (gid, request = {}) => transactionOf(await ask('POST', `${one(gid)}/retry`, request)),
    stop: async (gid, request = {}) => transactionOf(await ask('POST', `${one(gid)}/stop`, request)),
    resolve: async (gid, request) => transactionOf(await ask('POST', `${one(gid)}/resolve`, request)),
    read: (gid, waitMs = 0) => {
      const path = waitMs > 0 ? `${one(gid)}?wait=${Math.ceil(waitMs)}ms` : one(gid);
      return known(async () => transactionOf(await ask('GET', path, undefined, waitMs)));
    },
    list: async ({ status, limit, after }) => {
      const query = new URLSearchParams();
      if (status !== undefined) query.set('status', status);
      if (limit !== undefined) query.set('limit', String(limit));
      if (after !== undefined) query.set('after', after);
      return transactionListOf(await ask('GET', `/v1/transactions${query.size === 0 ? '' : `?${query.toString()}`}`));
    },
    ready: async () => {
      try {
        await ask('GET', '/readyz');
        return true;
      } catch {
        return false;
      }
    },
    close: () => pool.destroy(),
  };
}

/** What `answer` gives; undefined when the coordinator does not know the gid. */
async function known<T>(answer: () => Promise<T>): Promise<T | undefined> {
  try {
    return await answer();
  } catch (error) {
    if (error instanceof CodedError && error.code === 'GID_UNKNOWN') return undefined;
    throw error;
  }
}

type Ask = (method: 'GET' | 'POST', path: string, body?: object, waitMs?: number) => Promise<string>;

/** Sends a request and gives the body of its 2xx answer; everything else becomes a `CodedError`. */
function asker(pool: Pool, base: string, authorization: readonly string[], timeoutMs: number): Ask {
  const getHeaders = [...authorization];
  const postHeaders = ['content-type', 'application/json', ...authorization];
  return async (method, path, body, waitMs = 0) => {
    const options: Dispatcher.DispatchOptions = {
      method,
      path: base + path,
      headers: method === 'GET' ? getHeaders : postHeaders,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    };
    const limitMs = timeoutMs + waitMs;
    const until = (now() + limitMs) as Instant;
    let end = await exchange(pool, options, until);
    if (end.kind === 'lost' && end.mayRepeat) {
      const first = end.error;
      end = await exchange(pool, options, until);
      // That the second could not be sent says nothing of the first: the one that may have arrived is told of.
      if (end.kind === 'lost') end = { ...end, error: first };
    }
    switch (end.kind) {
      case 'answered':
        if (end.status >= 200 && end.status < 300) return end.text;
        throw errorOf(end.status, end.text);
      case 'late':
        throw unreachable(`the coordinator did not answer within ${limitMs} ms`);
      case 'lost':
        throw unreachable(`the coordinator cannot be reached: ${end.error.message}`, end.error);
    }
  };
}
