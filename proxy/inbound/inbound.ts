/** The listener in front of the application: begins global transactions, joins those that callers bring, forwards the rest. */
import type { IncomingMessage } from 'node:http';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { BRANCH_HEADER, OPERATION_HEADER } from '../../src/contract/propagation.ts';
import { INITIATOR, parseBranchId, parseTask, type Gid, type Mark } from '../../src/contract/transaction.ts';
import { monotonicSeconds, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import type { ActiveRequests } from '../binding/active-requests.ts';
import { openCarriers, traceIdOf, valuesOf, type Carriers, type HeaderBinding } from '../binding/from-headers.ts';
import type { OperationOf } from '../branch/barrier.ts';
import { carry } from '../http1/forward.ts';
import { openLane } from '../http1/lane/lane.ts';
import { openOrigin } from '../http1/open-origin.ts';
import type { Origin } from '../http1/origin.ts';
import { Http1Head } from '../http1/request-head.ts';
import { openHttp2Origin } from '../http2/origin.ts';
import { openHttp2Server } from '../http2/server.ts';
import { overHttp1, overHttp2 } from '../http2/translate.ts';
import type { MessageDesk } from './begin-message.ts';
import type { SidecarOptions } from '../options.ts';
import type { Admission, Ending, OperationDesk, Passage, RequestHead } from '../http/admission.ts';
import type { BeginRule } from '../transaction/begin.ts';
import { openDesk, type Desk } from './begin.ts';
import { sendRawError } from '../http/errors.ts';
import { requestHeaders } from '../http/headers.ts';
import type { ListenerLimits } from '../http/limits.ts';
import type { Listener, Listening, RequestHandler } from '../http/listener.ts';
import { openListener } from '../http/open-listener.ts';
import type { HttpMetrics } from '../http/metrics.ts';
import { compileRoutes, routeOf, type Routed, type RouteTable } from '../routes/paths.ts';
import type { WorkflowDesk } from '../workflow/desk.ts';
import { openUpgrades } from '../http/upgrade.ts';

/** What the inbound listener is made of. */
export interface InboundParts {
  readonly options: NonNullable<SidecarOptions['inbound']>;
  readonly propagation: SidecarOptions['propagation'];
  readonly limits: ListenerLimits;
  /** The name of this service, for people who look at transactions. */
  readonly service: string;
  readonly coordinator: CoordinatorClient;
  readonly activeRequests: ActiveRequests;
  /** Without it, a branch operation is a request of its gid like any other. */
  readonly operations?: OperationDesk;
  /** Needed where a route begins messages, and where one begins workflows. */
  readonly message?: MessageDesk | undefined;
  readonly workflow?: WorkflowDesk | undefined;
  readonly metrics: HttpMetrics;
  readonly log: Log;
}

type TransactionRoute = InboundParts['options']['transactions'][number];

/** Starts the listener. Rejects when the address cannot be bound. */
export async function startInbound(parts: InboundParts): Promise<Listening> {
  const { options } = parts;
  const target = new URL(options.target);
  const http1Origin = openOrigin({ url: target.origin, timeoutMs: options.timeout });
  const http2Origin = openHttp2Origin({ url: target.origin, timeoutMs: options.timeout });
  const desk = openDesk(parts);
  const upgrades = openUpgrades(target.origin);
  const inbound = new Inbound(parts, desk);
  const forHttp1 = options.protocol === 'h2c' ? overHttp2(http2Origin, target, options.timeout) : http1Origin;
  const originOf = (): Origin => forHttp1;
  const forHttp2 = options.protocol === 'http1' ? overHttp1(http1Origin) : http2Origin;
  const http2 = openHttp2Server({
    limits: parts.limits,
    log: parts.log,
    timeoutMs: options.timeout,
    admit: (head) => inbound.admit(head),
    place: ({ headers, authority }) => ({
      headers: authority === undefined ? headers : ['host', authority, ...headers],
      authority: undefined,
    }),
    originOf: () => forHttp2,
  });
  const serve: RequestHandler = (request, response, keeper) => {
    const startedAt = monotonicSeconds();
    if (!listener.admit(response)) return;
    const headers = requestHeaders(request, true);
    if (headers instanceof CodedError) return keeper.refuse(request, response, startedAt, headers);
    const head = new Http1Head(request, response, headers);
    carry({ listener: keeper, request, response, startedAt, head, originOf }, inbound.admit(head));
  };
  const listener: Listener = openListener({
    direction: 'inbound',
    metrics: parts.metrics,
    log: parts.log,
    limits: parts.limits,
    http1: openLane(parts.limits, parts.log, serve),
    http2,
    onRequest: serve,
    onUpgrade: (request, socket, head) => {
      const headers = requestHeaders(request, true);
      const upgraded = headers instanceof CodedError ? headers : inbound.upgraded(request, headers);
      if (upgraded instanceof CodedError) sendRawError(socket, upgraded);
      else upgrades.relay(listener, request, socket, head, upgraded);
    },
  });
  return listener.listen(options.listen, async () => {
    await desk.settled();
    http2Origin.destroy();
    await http1Origin.destroy();
  });
}

/** What becomes of requests to the application. */
class Inbound {
  private readonly parts: InboundParts;
  private readonly desk: Desk;
  private readonly origin: string;
  private readonly basePath: string;
  private readonly carriers: Carriers;
  private readonly routes: RouteTable<TransactionRoute> | undefined;

  constructor(parts: InboundParts, desk: Desk) {
    const { options, propagation } = parts;
    const target = new URL(options.target);
    this.parts = parts;
    this.desk = desk;
    this.origin = target.origin;
    this.basePath = target.pathname.replace(/\/$/, '');
    this.carriers = openCarriers(propagation, newId);
    this.routes = options.transactions.length === 0 ? undefined : compileRoutes(options.transactions);
  }

  /** Without a gid and a route, a request is not parsed, copied or awaited beyond what forwarding takes. */
  admit(head: RequestHead): Admission | Promise<Admission> {
    const target = originForm(head.method, head.target);
    if (target instanceof CodedError) return refuse(target);
    const routed = this.routes === undefined ? UNROUTED : routeOf(this.routes, head.method, target);
    if (routed.kind === 'ambiguous') return refuse(ambiguousTarget());
    const path = routed.kind === 'route' ? routed.path : target;

    const binding = this.bindingOf(head.headers);
    if (binding.kind === 'fault') return refuse(badGid(binding.message));
    if (binding.kind === 'bound') return this.join(head.headers, path, binding.mark.gid);
    if (binding.kind === 'stray') return refuse(badOperation('no transaction is named'));
    if (routed.kind === 'route') return this.begin(head, path, binding.headers, routed.route.begin);
    return { kind: 'pass', passage: this.passage(path, this.unbound(binding.headers)) };
  }

  /** The path and headers of a WebSocket handshake. It joins the gid it carries; it never begins a transaction. */
  upgraded(
    request: IncomingMessage,
    headers: string[],
  ): { readonly path: string; readonly headers: string[] } | CodedError {
    const path = originForm(request.method ?? 'GET', request.url ?? '/');
    if (path instanceof CodedError) return path;
    const binding = this.bindingOf(headers);
    if (binding.kind === 'fault') return badGid(binding.message);
    if (binding.kind === 'stray') return badOperation('no transaction is named');
    if (binding.kind === 'none') return { path: this.basePath + path, headers: this.unbound(binding.headers) };
    if (namesOperation(headers)) return badOperation('a WebSocket serves none');
    const carried = this.carriers.set(headers, binding.mark).headers;
    return { path: this.basePath + path, headers: carried };
  }

  private bindingOf(headers: string[]): Binding {
    if (!this.carriers.mayBeIn(headers)) return { kind: 'none', headers };
    if (!this.parts.options.trustGid) return { kind: 'none', headers: this.carriers.strip(headers) };
    const binding = this.carriers.read(headers, 'outside');
    if (binding.kind !== 'none') return binding;
    return namesOperation(headers) ? { kind: 'stray' } : { kind: 'none', headers };
  }

  /**
   * A request of no transaction in the trace of one that is being served would have its statements and calls taken for that one's: it
   * goes on in a trace of its own.
   */
  private unbound(headers: string[]): string[] {
    const { activeRequests } = this.parts;
    const traceId = activeRequests.size === 0 ? undefined : traceIdOf(headers);
    return traceId !== undefined && activeRequests.holds(traceId) ? this.carriers.restart(headers) : headers;
  }

  private passage(path: string, headers: string[]): Passage {
    return { origin: this.origin, path: this.basePath === '' || path === '*' ? path : this.basePath + path, headers };
  }

  /** Serves a request of `gid`: a branch operation when the headers name one. */
  private join(headers: readonly string[], path: string, gid: Gid): Admission | Promise<Admission> {
    const operation = operationOf(headers, gid);
    if (operation instanceof CodedError) return refuse(operation);
    const { operations } = this.parts;
    if (operation === undefined || operations === undefined) {
      return this.bind(path, { gid }, this.carriers.set(headers, { gid }));
    }
    const mark = { gid, operation: { branch: operation.branch, task: operation.task } };
    // The next caller must not meet an application that still serves the last one: the operation runs on without its client.
    const pass = (ending: Ending): Admission =>
      this.bind(path, mark, this.carriers.set(headers, mark), { ...ending, outlivesClient: true });
    return operations.admit(operation, pass);
  }

  /** The request with all carriers set to `mark`, its trace bound to it for as long as the exchange runs. */
  private bind(path: string, mark: Mark, marked: ReturnType<Carriers['set']>, ending: Bound = {}): Admission {
    const { ended: endedToo, ...rest } = ending;
    const release = this.parts.activeRequests.add(marked.traceId, mark, now());
    if (release === undefined) {
      rest.gate?.clientLeft();
      endedToo?.();
      return refuse(tooManyTraces());
    }
    const ended = (): void => {
      release();
      endedToo?.();
    };
    return { kind: 'pass', passage: { ...this.passage(path, marked.headers), ...rest, ended } };
  }

  private async begin(
    head: RequestHead,
    path: string,
    headers: readonly string[],
    rule: BeginRule,
  ): Promise<Admission> {
    const [pathOnly = '/'] = path.split('?');
    const initiator = `${this.parts.service} ${head.method} ${pathOnly}`;
    const begun = await this.desk.begin({ rule, head, path, headers, initiator });
    // When the client has left meanwhile, the exchange hears it at once, calls nothing, and the gate aborts.
    if (begun.kind !== 'open') return begun;
    return this.bind(path, begun.mark, this.carriers.begin(headers, begun.mark), { gate: begun.gate });
  }
}

/** What the headers say, and the headers that go on when they say nothing. `stray`: a branch of no transaction. */
type Binding =
  | Exclude<HeaderBinding, { kind: 'none' }>
  | { readonly kind: 'stray' }
  | { readonly kind: 'none'; readonly headers: string[] };

/** What a request is sent on with, besides its head. */
type Bound = Ending & Pick<Passage, 'outlivesClient'>;

const UNROUTED: Routed<TransactionRoute> = { kind: 'none' };

/** The target in origin-form, otherwise as it came. */
function originForm(method: string, target: string): string | CodedError {
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return target;
  // RFC 9112 §3.2.2: a server accepts the absolute form too. The authority says nothing to a listener with one target.
  const [whole, rest = '/'] = /^https?:\/\/[^/?#@]+([/?].*)?$/i.exec(target) ?? [];
  if (whole === undefined) return badTarget();
  return rest.startsWith('/') ? rest : `/${rest}`;
}

function namesOperation(headers: readonly string[]): boolean {
  return [BRANCH_HEADER, OPERATION_HEADER].some((name) => valuesOf(headers, name).some((value) => value !== ''));
}

/** The branch operation that the headers ask for, undefined when they name none. Empty headers count as absent. */
function operationOf(headers: readonly string[], gid: Gid): OperationOf | CodedError | undefined {
  const branches = valuesOf(headers, BRANCH_HEADER).filter((value) => value !== '');
  const tasks = valuesOf(headers, OPERATION_HEADER).filter((value) => value !== '');
  if (!namesOperation(headers)) return undefined;
  if (branches.length !== 1 || tasks.length !== 1) return badOperation('one branch and one operation must be named');
  const branch = parseBranchId(branches[0] ?? '');
  if (branch === undefined || branch === INITIATOR) return badOperation('the branch is none that can be called');
  const task = parseTask(tasks[0] ?? '');
  if (task === undefined || task === 'msg' || isRun(task)) return badOperation('the operation is not known');
  return { gid, branch, task };
}

function isRun(task: string): task is `run${number}` {
  return task.startsWith('run');
}

function refuse(error: CodedError): Admission {
  return { kind: 'refuse', error };
}

function badOperation(what: string): CodedError {
  return new CodedError('BAD_REQUEST', `The branch operation of the request is not clear: ${what}`, {
    hint: `Send ${BRANCH_HEADER} (such as 01) together with ${OPERATION_HEADER} (try, action, confirm, cancel or compensate), or neither`,
  });
}

function ambiguousTarget(): CodedError {
  return new CodedError('BAD_REQUEST', 'The path can be read in several ways, of which only some begin a transaction', {
    hint: 'Send the path of the route without #, \\, empty segments and dot segments in it',
  });
}

function badTarget(): CodedError {
  return new CodedError('BAD_REQUEST', 'The target of the request is not a path', {
    hint: 'Send a path that begins with /',
  });
}

function badGid(message: string): CodedError {
  return new CodedError('BAD_GID', `The global transaction of the request is not clear: ${message}`, {
    hint: 'A gid is 1 to 128 of A-Z a-z 0-9 . _ : { } -; pass the same one on in every header, or none',
  });
}

function tooManyTraces(): CodedError {
  return new CodedError('OVERLOADED', 'Too many requests of global transactions are being served', {
    retry: 'safe',
    hint: 'Try again later, or run more replicas',
  });
}
