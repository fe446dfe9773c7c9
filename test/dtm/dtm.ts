/** A coordinator as DTM's clients see it, and branches as DTM calls them. */
import test from 'ava';
import type { z } from 'zod';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import type { coordinatorOptions } from '../../src/options.ts';
import { newId } from '../../src/platform/random.ts';
import {
  startTestBranch,
  startTestCoordinator,
  type BranchAnswer,
  type BranchRequest,
  type TestBranch,
  type TestCoordinator,
} from '../coordinator/started.ts';

export interface DtmAnswer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly body: any; // oxlint-disable-line typescript/no-explicit-any -- tests look into answers of every shape
}

export interface Dtm {
  /** POST to an endpoint under /api/dtmsvr. */
  post(api: string, body: unknown): Promise<DtmAnswer>;
  get(path: string): Promise<DtmAnswer>;
  request(method: string, path: string, body?: string, headers?: Record<string, string>): Promise<DtmAnswer>;
  /** `/query`: the status of the transaction, and `op: status` of its branches in their order. */
  state(gid: string): Promise<{ readonly status: string | undefined; readonly branches: readonly string[] }>;
}

export interface DtmCoordinator extends Dtm, AsyncDisposable {
  readonly coordinator: TestCoordinator;
}

/** The stores that every test of the protocol runs on. */
export const STORES = ['memory', 'sqlite', 'postgres'] as const;

type Store = (typeof STORES)[number];
type Options = Partial<z.input<typeof coordinatorOptions>>;

/** The server of a test file, started with its first coordinator on PostgreSQL. */
let postgres: Promise<PostgresServer> | undefined;
test.after.always(async () => (await postgres)?.[Symbol.asyncDispose]());

/** Starts a coordinator over such a store, of its own. Retries come fast. */
export async function startDtm(store: Store = 'memory', options: Options = {}): Promise<DtmCoordinator> {
  const coordinator = await startTestCoordinator({
    ...(await storeOptions(store)),
    dtm: { retryInterval: '20ms' },
    ...options,
  });
  return { ...dtmAt(coordinator.url), coordinator, [Symbol.asyncDispose]: () => coordinator[Symbol.asyncDispose]() };
}

async function storeOptions(store: Store): Promise<Options> {
  if (store === 'sqlite') return {};
  if (store === 'memory') return { store: { memory: {} } };
  postgres ??= startPostgres();
  return { store: { postgres: { url: (await postgres).url('postgres'), schema: `s${newId()}` } } };
}

/** The coordinator at `url`. */
export function dtmAt(url: string): Dtm {
  const request: Dtm['request'] = async (method, path, body, headers = {}) => {
    const answer = await fetch(url + path, { method, headers, ...(body === undefined ? {} : { body }) });
    const text = await answer.text();
    const isJson = text.startsWith('{');
    const type = answer.headers.get('content-type') ?? '';
    return { status: answer.status, type, text, body: isJson ? JSON.parse(text) : undefined };
  };
  const get: Dtm['get'] = (path) => request('GET', path);
  return {
    request,
    get,
    post: (api, body) => request('POST', `/api/dtmsvr/${api}`, typeof body === 'string' ? body : JSON.stringify(body)),
    state: async (gid) => {
      const { body } = await get(`/api/dtmsvr/query?gid=${encodeURIComponent(gid)}`);
      const branches = body.branches as { readonly op: string; readonly status: string }[];
      return { status: body.transaction?.status, branches: branches.map(({ op, status }) => `${op}: ${status}`) };
    },
  };
}

/** What a branch was asked. */
export interface DtmCall extends BranchRequest {
  /** The path without its query. */
  readonly name: string;
  readonly op: string | null;
  readonly branchId: string | null;
}

export interface DtmBranchServer extends AsyncDisposable {
  readonly url: string;
  /** `op branch_id path` of each call, in order. */
  readonly calls: readonly string[];
  readonly requests: TestBranch['requests'];
}

/** Starts branches that answer as `answer` says, by default with success. */
export async function startBranches(
  answer: (call: DtmCall) => BranchAnswer | undefined = () => ({ status: 200 }),
): Promise<DtmBranchServer> {
  const calls: string[] = [];
  const branch = await startTestBranch((request) => {
    const { pathname, searchParams } = new URL(request.path ?? '', 'http://x');
    const call = { ...request, name: pathname, op: searchParams.get('op'), branchId: searchParams.get('branch_id') };
    calls.push(`${call.op} ${call.branchId} ${pathname}`);
    return answer(call);
  });
  return { ...branch, calls, [Symbol.asyncDispose]: () => branch[Symbol.asyncDispose]() };
}

/** A saga of two steps at `url`, each with its payload. */
export function saga(gid: string, url: string, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    gid,
    trans_type: 'saga',
    steps: [
      { action: `${url}/out`, compensate: `${url}/out-back` },
      { action: `${url}/in`, compensate: `${url}/in-back` },
    ],
    payloads: ['{"amount":30}', '{"amount":30}'],
    wait_result: true,
    ...more,
  };
}

/** A message of one step at `url`. */
export function message(
  gid: string,
  url: string,
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    gid,
    trans_type: 'msg',
    steps: [{ action: `${url}/in` }],
    payloads: ['{"amount":30}'],
    query_prepared: `${url}/asked`,
    ...more,
  };
}

/** Begins a TCC transaction with two branches at `url`. */
export async function beginTcc(dtm: Dtm, gid: string, url: string): Promise<void> {
  await dtm.post('prepare', { gid, trans_type: 'tcc' });
  for (const branch_id of ['01', '02']) {
    await dtm.post('registerBranch', {
      gid,
      trans_type: 'tcc',
      branch_id,
      confirm: `${url}/confirm`,
      cancel: `${url}/cancel`,
      data: '{"amount":30}',
    });
  }
}
