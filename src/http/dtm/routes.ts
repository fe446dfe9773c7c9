/** DTM's HTTP API: the table of its endpoints (svr/api_http.go:22), each with a short handler. */
import { VERSION } from '../../contract/version.ts';
import type { DtmAdmin } from '../../dtm/admin.ts';
import type { DtmReply, DtmService } from '../../dtm/service.ts';
import type { Call, Reply, Route } from '../routes.ts';
import { jsonRpcHandler } from './json-rpc.ts';
import { dtmJson, dtmJsonReply, dtmReply, badBranchReply } from './replies.ts';
import { readBranchRequest, readTransaction } from './read.ts';

/** Where DTM's API lives. Everything below it answers in DTM's shapes, errors too. */
export const DTM_PREFIX = '/api/';

const LIMIT_DEFAULT = 100;

export interface DtmRoutesOptions {
  /** `resetCronTime` without a timeout leaves alone what is tried within this. Milliseconds. */
  readonly resetBeyondMs: number;
  /** The metrics, under DTM's path too. */
  readonly metrics: Route['handle'];
  /** Counts a request; both words come from closed sets. */
  readonly onRequest: (api: string, result: DtmReply['kind']) => void;
}

/** The routes over `service` and `admin`. */
export function dtmRoutes(service: DtmService, admin: DtmAdmin, options: DtmRoutesOptions): readonly Route[] {
  const { resetBeyondMs, metrics, onRequest } = options;
  const registerBranch = post('registerBranch', branch);
  return [
    post(
      'submit',
      transaction('submit', (request, call) => service.submit(request, call.signal())),
    ),
    post(
      'prepare',
      transaction('prepare', (request) => service.prepare(request)),
    ),
    post(
      'abort',
      transaction('abort', (request) => service.abort(request)),
    ),
    registerBranch,
    { ...registerBranch, path: '/api/dtmsvr/registerXaBranch' },
    { ...registerBranch, path: '/api/dtmsvr/registerTccBranch' },
    post('prepareWorkflow', prepareWorkflow),
    post(
      'forceStop',
      withGid('forceStop', (gid) => admin.forceStop(gid)),
    ),
    post(
      'resetNextCronTime',
      withGid('resetNextCronTime', (gid) => admin.resetNextCronTime(gid)),
    ),
    get('newGid', () => {
      counted('newGid', SUCCESS);
      return json({ dtm_result: 'SUCCESS', gid: service.newGid() });
    }),
    get('version', () => json({ version: VERSION })),
    get(
      'query',
      query((get) => admin.query(get('gid'))),
    ),
    get('all', query(all)),
    get('resetCronTime', query(resetCronTime)),
    get(
      'subscribe',
      query((get) => service.subscribe(get('topic'), get('url'), get('remark'))),
    ),
    get(
      'unsubscribe',
      query((get) => service.unsubscribe(get('topic'), get('url'))),
    ),
    get('scanKV', query(scanKv)),
    get(
      'queryKV',
      query((get) => admin.queryKv(get('cat'), get('key'))),
    ),
    { method: 'DELETE', path: '/api/dtmsvr/topic/{topic}', handle: deleteTopic },
    { method: 'POST', path: '/api/json-rpc', handle: jsonRpcHandler(service, onRequest) },
    { method: 'ANY', path: '/api/ping', isOpen: true, handle: () => json({ msg: 'pong' }) },
    { method: 'GET', path: '/api/metrics', handle: metrics },
  ];

  /** Counts the answer under the name of the endpoint, which never holds what a client sent. */
  function counted<T>(api: string, reply: DtmReply<T>): DtmReply<T> {
    onRequest(api, reply.kind);
    return reply;
  }

  function transaction(
    api: string,
    act: (request: Parameters<DtmService['submit']>[0], call: Call) => Promise<DtmReply>,
  ): Route['handle'] {
    return async (call) => {
      const read = readTransaction(call.body);
      return dtmReply(counted(api, read.ok ? await act(read.value, call) : fault(read.message)));
    };
  }

  async function branch(call: Call): Promise<Reply> {
    const read = readBranchRequest(call.body);
    if (!read.ok) {
      counted('registerBranch', fault(read.message));
      return badBranchReply(read.message);
    }
    return dtmReply(counted('registerBranch', await service.registerBranch(read.value)));
  }

  async function prepareWorkflow(call: Call): Promise<Reply> {
    const read = readTransaction(call.body);
    const reply = counted('prepareWorkflow', read.ok ? await service.prepareWorkflow(read.value) : fault(read.message));
    if (reply.kind !== 'success') return dtmReply(reply);
    const { transaction, progresses } = reply.value;
    return json({
      transaction,
      progresses: progresses.map(({ branchId, op, status, data }) => ({
        branch_id: branchId,
        op,
        status,
        bin_data: data,
      })),
    });
  }

  function withGid(api: string, act: (gid: string) => Promise<DtmReply>): Route['handle'] {
    return transaction(api, ({ gid }) => act(gid));
  }

  function query(act: (get: Getter) => Promise<DtmReply<unknown>>): (call: Call, api: string) => Promise<Reply> {
    return async (call, api) => {
      const parameters = new URLSearchParams(call.query);
      const reply = counted(api, await act((name) => parameters.get(name) ?? ''));
      return reply.kind === 'success' && reply.value === undefined ? dtmReply(SUCCESS) : dtmJsonReply(reply);
    };
  }

  function all(get: Getter): Promise<DtmReply<unknown>> {
    const ranges = { limit: LIMIT_DEFAULT, createTimeStart: 0, createTimeEnd: 0 };
    return withNumbers(get, ranges, ({ limit, createTimeStart, createTimeEnd }) =>
      admin.all({
        gid: get('gid'),
        position: get('position'),
        limit,
        status: get('status'),
        transType: get('transType'),
        createdFrom: createTimeStart === 0 ? undefined : createTimeStart,
        createdUntil: createTimeEnd === 0 ? undefined : createTimeEnd,
      }),
    );
  }

  function resetCronTime(get: Getter): Promise<DtmReply<unknown>> {
    return withNumbers(get, { timeout: resetBeyondMs / 1000, limit: LIMIT_DEFAULT }, ({ timeout, limit }) =>
      admin.resetCronTime(timeout * 1000, limit),
    );
  }

  function scanKv(get: Getter): Promise<DtmReply<unknown>> {
    return withNumbers(get, { limit: LIMIT_DEFAULT }, ({ limit }) => admin.scanKv(get('cat'), get('position'), limit));
  }

  async function deleteTopic({ segment }: Call): Promise<Reply> {
    return dtmReply(counted('deleteTopic', await service.deleteTopic(decoded(segment))));
  }
}

/** A parameter of the query, empty when it is not there. */
type Getter = (name: string) => string;

const SUCCESS: DtmReply = { kind: 'success', value: undefined };

function post(api: string, handle: Route['handle']): Route {
  return { method: 'POST', path: `/api/dtmsvr/${api}`, handle };
}

function get(api: string, handle: (call: Call, api: string) => Promise<Reply> | Reply): Route {
  return { method: 'GET', path: `/api/dtmsvr/${api}`, handle: (call) => handle(call, api) };
}

function fault(message: string): Extract<DtmReply, { message: string }> {
  return { kind: 'error', message };
}

/** Reads parameters that are numbers and not negative; an empty one is as in `defaults`. */
async function withNumbers<Name extends string>(
  get: Getter,
  defaults: Readonly<Record<Name, number>>,
  act: (numbers: Readonly<Record<Name, number>>) => Promise<DtmReply<unknown>>,
): Promise<DtmReply<unknown>> {
  const numbers: Record<Name, number> = { ...defaults };
  for (const name of Object.keys(defaults) as Name[]) {
    const text = get(name);
    if (text === '') continue;
    if (!/^[0-9]{1,15}$/.test(text)) {
      return fault(`${name}: expected a number, found ${JSON.stringify(text.slice(0, 60))}`);
    }
    numbers[name] = Number(text);
  }
  return act(numbers);
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function json(value: unknown): Reply {
  return { status: 200, text: dtmJson(value), contentType: 'application/json; charset=utf-8' };
}
