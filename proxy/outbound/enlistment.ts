/** What the coordinator is told of a call before it leaves: pure, from the route, the call, and what is known of its answer. */
import { IDENTITY_HEADERS, TRANSPORT_HEADERS } from '../../src/contract/branch-headers.ts';
import type { EnlistRequest, OperationRequest } from '../../src/contract/messages.ts';
import type { BranchId, Gid, Operation as OperationName } from '../../src/contract/transaction.ts';
import { valuesOf } from '../binding/from-headers.ts';
import type { HeldAnswer } from '../http/admission.ts';
import { isRefusedOverGrpc } from '../http2/grpc.ts';
import type { Operation, Route } from '../routes/route.ts';
import { fill, parseRawJson, type Placeholder, type Source, type Template, type ValueOf } from '../routes/template.ts';

/** A call that takes a branch route. */
export interface RoutedCall {
  readonly route: Route;
  /** Values of the parameters of the route's path. */
  readonly params: ReadonlyMap<string, string>;
  readonly gid: Gid;
  readonly method: string;
  /** Scheme, authority, path and query. */
  readonly url: URL;
  /** End-to-end headers without any carrier of ours. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** What is known when a call is enlisted, and when it is enlisted again. */
export interface Known {
  readonly branch?: BranchId;
  readonly answer?: HeldAnswer;
}

export interface Enlistment {
  readonly request: EnlistRequest;
  /** Placeholders that the call itself does not fill. */
  readonly unfilled: readonly string[];
  /** Placeholders that only the branch's number or the answer can fill, and that nothing of `Known` does. */
  readonly open: readonly string[];
}

/** An operation that is never called. */
const NOTHING_TO_DO = '';

/** True when a call has taken effect as it was wanted. */
export function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

/**
 * True when a call of `route` is refused for good: there is nothing to confirm, even where the program goes on without it. Over gRPC its
 * status says so, which came with the trailers; an answer without one is some gateway's.
 */
export function isRefused({ pattern }: Pick<Route, 'pattern'>, { status, headers }: HeldAnswer): boolean {
  const overGrpc = pattern.isGrpc ? isRefusedOverGrpc(headers) : undefined;
  return overGrpc ?? (!isSuccess(status) && status < 500 && status !== 425 && status !== 429);
}

/** On an operation that is asked for without what the answer would have said: the call was never answered, or not with success. */
const RESPONSE_HEADER = 'atomesh-response';
/** What gRPC says about one call, not about another (PROTOCOL-HTTP2.md, Call-Definition): a delivery makes its own. */
const GRPC_CALL_HEADER = /^(?:content-type|user-agent|grpc-.*)$/;

/** The enlistment of `call`; `resource` names the branch within its gid, `run` the run of a workflow that it belongs to. */
export function enlistmentOf(
  call: RoutedCall,
  identity: { readonly resource: string; readonly run?: number },
  known: Known,
): Enlistment {
  const { rule, results, timeoutMs } = call.route;
  if (rule.kind === 'message') {
    const { delayMs, attemptsMax, retryIntervalMs } = rule;
    const request: EnlistRequest = {
      kind: 'msg',
      ...identity,
      operations: { action: actionUrl(call) },
      requests: { action: delivery(call) },
      ...(results === undefined ? {} : { results }),
      ...(delayMs === 0 ? {} : { delayMs }),
      ...(attemptsMax === undefined ? {} : { attemptsMax }),
      ...(retryIntervalMs === undefined ? {} : { retryIntervalMs }),
      ...(timeoutMs === undefined ? {} : { requestTimeoutMs: timeoutMs }),
    };
    return { request, unfilled: [], open: [] };
  }
  const filler = new Filler(call, known);
  const operations: Partial<Record<OperationName, string>> = {};
  const requests: Partial<Record<OperationName, OperationRequest>> = {};
  const isNothingToConfirm = known.answer !== undefined && isRefused(call.route, known.answer);
  for (const [name, operation] of rule.kind === 'plain' ? [] : Object.entries(rule.operations)) {
    if (name === 'confirm' && isNothingToConfirm) {
      operations[name] = NOTHING_TO_DO;
      continue;
    }
    const { url, request } = filler.operation(operation);
    operations[name as OperationName] = url;
    requests[name as OperationName] = request;
  }
  const kind = rule.kind === 'tcc' ? 'tcc' : 'saga';
  const request = { kind, ...identity, operations, requests, ...(results === undefined ? {} : { results }) } as const;
  return { request, unfilled: [...filler.unfilled], open: [...filler.open] };
}

/** Fills the operations of one call, and remembers what could not be filled. */
class Filler {
  readonly unfilled = new Set<string>();
  readonly open = new Set<string>();
  private readonly call: RoutedCall;
  private readonly valueOf: ValueOf;

  constructor(call: RoutedCall, known: Known) {
    this.call = call;
    this.valueOf = valuesFrom(call, known);
  }

  operation({ method, url, headers, body, takesBody }: Operation): { url: string; request: OperationRequest } {
    const before = this.open.size;
    const filledUrl = this.fill(url);
    const sent: Record<string, string> = {};
    const type = body === undefined ? valuesOf(this.call.headers, 'content-type').join(', ') : 'application/json';
    const isGrpc = method === undefined;
    const hasBody = body !== undefined || (takesBody && this.call.body.byteLength > 0);
    if (hasBody && !isGrpc && type !== '') sent['content-type'] = type;
    for (const [name, template] of headers) sent[name] = this.fill(template);
    const bytes = body === undefined ? this.call.body : Buffer.from(this.fill(body));
    if (this.open.size > before) sent[RESPONSE_HEADER] = 'missing';
    const request = {
      ...(isGrpc ? {} : { method }),
      headers: sent,
      ...(hasBody || isGrpc ? { body: bytes.toString('base64') } : {}),
    };
    return { url: filledUrl, request };
  }

  private fill(template: Template): string {
    const { text, missing } = fill(template, this.valueOf);
    for (const placeholder of missing) (isOpen(placeholder) ? this.open : this.unfilled).add(placeholder.text);
    return text;
  }
}

function isOpen({ source }: Placeholder): boolean {
  return source.kind === 'branch' || source.kind === 'status' || ('of' in source && source.of === 'response');
}

function valuesFrom({ gid, params, headers, body }: RoutedCall, { branch, answer }: Known): ValueOf {
  const request = messageOf(headers, body);
  // A call that was refused has nothing to say.
  const said = answer !== undefined && isSuccess(answer.status) ? answer : undefined;
  const response = said && messageOf(said.headers, said.body);
  return (source) => {
    switch (source.kind) {
      case 'gid':
        return gid;
      case 'branch':
        return branch;
      case 'status':
        return said?.status;
      case 'path':
        return params.get(source.name);
      case 'header':
      case 'json':
        return (source.of === 'request' ? request : response)?.(source);
    }
  };
}

/** Reads headers and fields of one message; its body is parsed when first asked for. */
function messageOf(headers: readonly string[], body: Buffer | undefined): ValueOf {
  let json: { readonly value: unknown } | undefined;
  return (source: Source) => {
    if (source.kind === 'header') {
      const values = valuesOf(headers, source.name);
      return values.length === 0 ? undefined : values.join(', ');
    }
    if (source.kind !== 'json') return undefined;
    json ??= { value: body === undefined ? undefined : parseRawJson(body.toString()) };
    return source.path.reduce<unknown>((value, name) => {
      return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
        ? (value as Readonly<Record<string, unknown>>)[name]
        : undefined;
    }, json.value);
  };
}

/** Where a stored call is delivered. A gRPC URL says its port. */
function actionUrl({ route, url }: RoutedCall): string {
  if (!route.pattern.isGrpc) return url.href;
  const isTls = url.protocol === 'https:';
  return `${isTls ? 'grpcs' : 'grpc'}://${url.hostname}:${url.port === '' ? (isTls ? 443 : 80) : url.port}${url.pathname}`;
}

/** The call itself, as it is delivered later. */
function delivery({ route, method, headers, body }: RoutedCall): OperationRequest {
  const { isGrpc } = route.pattern;
  const sent = new Map<string, string>();
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = (headers[index] ?? '').toLowerCase();
    const value = headers[index + 1] ?? '';
    if (TRANSPORT_HEADERS.has(name) || IDENTITY_HEADERS.has(name) || (isGrpc && GRPC_CALL_HEADER.test(name))) continue;
    const before = sent.get(name);
    // RFC 9110 §5.3, RFC 6265 §5.4: repeated headers are one list, cookies are separated in their own way.
    sent.set(name, before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`);
  }
  return {
    ...(isGrpc ? {} : { method }),
    headers: Object.fromEntries(sent),
    ...(body.byteLength === 0 && !isGrpc ? {} : { body: body.toString('base64') }),
  };
}
