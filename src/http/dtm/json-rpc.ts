/** DTM's protocol as JSON-RPC 2.0 (https://www.jsonrpc.org/specification): `POST /api/json-rpc`, one request a body. */
import type { DtmReply, DtmService } from '../../dtm/service.ts';
import type { Call, Reply } from '../routes.ts';
import { branchOf, parseObject, transactionOf, type Read } from './read.ts';
import { dtmJson } from './replies.ts';

/** The specification's codes, and DTM's two (imp/consts.go); DTM's own server never sends the last. */
const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const METHOD_NOT_FOUND = -32601;
const CODES = { error: -32603, failure: -32901, ongoing: -32902 } as const;

type Params = Readonly<Record<string, unknown>>;
type Method = (params: Params, signal: () => AbortSignal) => Promise<DtmReply<unknown>>;

/** The handler of the route. Every answer has `jsonrpc`, `id`, `result` and `error`. `onRequest` counts what was asked of a method. */
export function jsonRpcHandler(
  service: DtmService,
  onRequest: (method: string, result: DtmReply['kind']) => void,
): (call: Call) => Promise<Reply> {
  const methods: ReadonlyMap<string, Method> = new Map<string, Method>([
    ['newGid', async () => ({ kind: 'success', value: { gid: service.newGid() } })],
    ['prepare', (params) => withRead(transactionOf(params), (request) => service.prepare(request))],
    ['submit', (params, signal) => withRead(transactionOf(params), (request) => service.submit(request, signal()))],
    ['abort', (params) => withRead(transactionOf(params), (request) => service.abort(request))],
    ['registerBranch', (params) => withRead(branchOf(params), (request) => service.registerBranch(request))],
  ]);
  return async ({ body, signal }) => {
    const parsed = parseObject(body);
    if (!parsed.ok) return answer(400, null, PARSE_ERROR, parsed.message);
    const { jsonrpc, method, params } = parsed.value;
    const id = idOf(parsed.value['id']);
    if (id === undefined) return answer(400, null, PARSE_ERROR, 'id: expected a string');
    if (jsonrpc !== '2.0' || typeof method !== 'string') {
      return answer(200, id, INVALID_REQUEST, 'expected {"jsonrpc":"2.0","id":"…","method":"…","params":{…}}');
    }
    const run = methods.get(method);
    if (run === undefined) return answer(200, id, METHOD_NOT_FOUND, `Method not found: ${method.slice(0, 60)}`);
    const reply = await run(isObject(params) ? params : {}, signal);
    onRequest(method, reply.kind);
    if (reply.kind !== 'success') return answer(200, id, CODES[reply.kind], reply.message, reply.kind);
    return { ...TYPE, status: 200, text: dtmJson({ jsonrpc: '2.0', id, result: reply.value ?? null, error: null }) };
  };
}

const TYPE = { contentType: 'application/json; charset=utf-8' } as const;

function answer(
  status: number,
  id: string | number | null,
  code: number,
  message: string,
  kind: 'failure' | 'ongoing' | 'error' = 'error',
): Reply {
  const body = { jsonrpc: '2.0', id, result: null, error: { code, message } };
  return { ...TYPE, status, text: dtmJson(body, kind === 'error' ? 'neither' : kind) };
}

async function withRead<T>(read: Read<T>, act: (request: T) => Promise<DtmReply>): Promise<DtmReply> {
  return read.ok ? act(read.value) : { kind: 'error', message: read.message };
}

/** DTM wants a string; a number is taken too, as the specification allows. */
function idOf(id: unknown): string | number | null | undefined {
  return id === undefined ? null : id === null || typeof id === 'string' || typeof id === 'number' ? id : undefined;
}

function isObject(value: unknown): value is Params {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
