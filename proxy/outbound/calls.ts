/**
 * What becomes of the application's calls to other services: a gid in any carrier leaves in every carrier, a call with a route becomes
 * a branch of its gid, and what a workflow's program calls is looked up in its journal.
 */
import { CodedError } from '../../src/contract/errors.ts';
import { BRANCH_HEADER, OPERATION_HEADER } from '../../src/contract/propagation.ts';
import type { Mark } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/random.ts';
import type { ActiveRequests } from '../binding/active-requests.ts';
import { openCarriers, traceIdOf, valuesOf, type Carriers } from '../binding/from-headers.ts';
import type { Admission, Gate, Passage, RequestHead } from '../http/admission.ts';
import type { SidecarOptions } from '../options.ts';
import type { Routed } from '../routes/paths.ts';
import { openRoutes, parametersOf, type Routes } from '../routes/route-table.ts';
import type { Route } from '../routes/route.ts';
import { openBranches, type Branches, type BranchesParts, type MadeStep } from './branches.ts';
import { openDestinations, type Destination, type Destinations } from './destination.ts';
import type { RoutedCall } from './enlistment.ts';
import type { Journal } from './journal.ts';
import { bareHost, portOf, type TargetGuard } from '../http/targets.ts';

export interface CallsParts extends BranchesParts {
  readonly options: NonNullable<SidecarOptions['outbound']>;
  readonly propagation: SidecarOptions['propagation'];
  /** Calls that carry only a `traceparent` take the mark of the request that they belong to. */
  readonly activeRequests: ActiveRequests;
  readonly guard: TargetGuard;
  /** Asked for every call of a workflow's program. Without it, such a call is one of its gid like any other. */
  readonly journal?: Journal;
}

/** A call on its way, with the mark that it belongs to. */
interface Outgoing {
  readonly destination: Destination;
  readonly mark: Mark | undefined;
}

/** A call inside a global transaction, with the path that is matched and forwarded. */
interface MarkedCall {
  readonly head: RequestHead;
  readonly mark: Mark;
  readonly route: Route | undefined;
  readonly origin: string;
  readonly path: string;
  /** As they go out, with the bare gid in all carriers. */
  readonly headers: string[];
}

/** Decides about every call. HTTP/1 and HTTP/2 share it. */
export class Calls {
  private readonly guard: TargetGuard;
  private readonly destinationOf: Destinations;
  private readonly carriers: Carriers;
  private readonly activeRequests: ActiveRequests;
  private readonly routes: Routes | undefined;
  private readonly branches: Branches;
  private readonly journal: Journal | undefined;
  private readonly bodyBytesMax: number;

  constructor(parts: CallsParts) {
    const { upstreams, routes } = parts.options;
    this.guard = parts.guard;
    this.destinationOf = openDestinations(upstreams);
    this.carriers = openCarriers(parts.propagation, newId);
    this.activeRequests = parts.activeRequests;
    this.routes = routes.length === 0 ? undefined : openRoutes(routes);
    this.branches = openBranches(parts);
    this.journal = parts.journal;
    this.bodyBytesMax = parts.bodyBytesMax;
  }

  /** A call outside any global transaction, and one that takes no route, awaits nothing. */
  admit(head: RequestHead): Admission | Promise<Admission> {
    const outgoing = this.outgoingOf(head);
    if (outgoing instanceof CodedError) return refuse(outgoing);
    const { destination, mark } = outgoing;
    const { origin } = destination.url;
    if (mark === undefined) {
      return { kind: 'pass', passage: { origin, path: destination.path, headers: head.headers } };
    }
    const routed = this.routed(head, destination);
    if (routed.kind === 'ambiguous') return refuse(ambiguousPath());
    const route = routed.kind === 'route' ? routed.route : undefined;
    const path = routed.kind === 'route' ? routed.path : destination.path;
    const call = { head, mark, route, origin, path, headers: this.marked(head.headers, mark) };
    const isOfRun = mark.operation?.task.startsWith('run') === true;
    if (this.journal !== undefined && isOfRun) return this.journaled(call, this.journal);
    return isBranch(route) ? this.enlisted(call) : { kind: 'pass', passage: plainPassage(call) };
  }

  /** Where a WebSocket handshake goes, and with which headers. It never takes a route. */
  upgraded(head: RequestHead): { readonly destination: Destination; readonly headers: string[] } | CodedError {
    const outgoing = this.outgoingOf(head);
    if (outgoing instanceof CodedError) return outgoing;
    const { destination, mark } = outgoing;
    return { destination, headers: mark === undefined ? head.headers : this.marked(head.headers, mark) };
  }

  private outgoingOf(head: RequestHead): Outgoing | CodedError {
    const destination = this.destinationOf(head);
    if (destination instanceof CodedError) return destination;
    const fault = this.guard.fault(bareHost(destination.url), portOf(destination.url));
    if (fault !== undefined) return fault;
    const mark = this.markOf(head.headers);
    return mark instanceof CodedError ? mark : { destination, mark };
  }

  /** The mark in the carriers, or that of the trace when it is one of a request being served. */
  private markOf(headers: readonly string[]): Mark | CodedError | undefined {
    if (this.carriers.mayBeIn(headers)) {
      const binding = this.carriers.read(headers, 'inside');
      if (binding.kind === 'fault') return badGid(binding.message);
      if (binding.kind === 'bound') return binding.mark;
    }
    const traceId = this.activeRequests.size === 0 ? undefined : traceIdOf(headers);
    const mark = traceId === undefined ? undefined : this.activeRequests.markOf(traceId, now());
    return mark === 'ambiguous' ? badGid('several requests of its trace are being served') : mark;
  }

  /**
   * Other services get the bare gid: the operation is this service's own. An application that copies all headers of the request that it
   * serves copies those that name its operation too; they do not name one of whom it calls.
   */
  private marked(headers: string[], mark: Mark): string[] {
    const { operation } = mark;
    const isCopy =
      operation !== undefined &&
      valuesOf(headers, BRANCH_HEADER).includes(operation.branch) &&
      valuesOf(headers, OPERATION_HEADER).includes(operation.task);
    return this.carriers.set(isCopy ? withoutOperation(headers) : headers, { gid: mark.gid }).headers;
  }

  private routed(head: RequestHead, { url, path }: Destination): Routed<Route> {
    if (this.routes === undefined) return { kind: 'none' };
    const isGrpc = valuesOf(head.headers, 'content-type').some((type) => /^application\/grpc(?:[+; ]|$)/i.test(type));
    return this.routes.find({ method: head.method, origin: url.origin, target: path, isGrpc });
  }

  private async enlisted(call: MarkedCall, step?: MadeStep, added: readonly string[] = []): Promise<Admission> {
    const routed = await this.routedCall(call, added);
    if (routed === undefined) return { kind: 'pass', passage: plainPassage(call) };
    if (routed instanceof CodedError) return refuse(routed);
    const { origin, path } = call;
    const headers = withoutOperation([...call.headers, ...added]);
    return this.branches.admit(routed, { origin, path, headers }, step);
  }

  /** The call as its route takes it; undefined when it takes none that makes it a branch. `added`: headers that go along. */
  private async routedCall(call: MarkedCall, added: readonly string[]): Promise<RoutedCall | CodedError | undefined> {
    const { head, mark, route, origin, path } = call;
    if (route === undefined || !isBranch(route)) return undefined;
    const body = await head.body(this.bodyBytesMax);
    if (body instanceof CodedError) return body;
    return {
      route,
      params: parametersOf(route, path),
      gid: mark.gid,
      method: head.method,
      url: new URL(origin + path),
      headers: this.carriers.strip([...head.headers, ...added]),
      body,
    };
  }

  /** Recorded before: answered. Not yet: goes out, and what comes back is recorded behind whatever else looks at it. */
  private async journaled(call: MarkedCall, journal: Journal): Promise<Admission> {
    const { head, mark, route, origin, path } = call;
    const entry = await journal.enter({
      mark,
      method: head.method,
      url: origin + path,
      headers: head.headers,
      body: () => head.body(this.bodyBytesMax),
      isBranch: isBranch(route),
    });
    switch (entry.kind) {
      case 'refuse':
        return entry;
      case 'answer': {
        const routed = await this.routedCall(call, entry.headers);
        const fault =
          routed === undefined || routed instanceof CodedError
            ? routed
            : await this.branches.again(routed, entry, entry.answer);
        return fault === undefined ? entry : refuse(fault);
      }
      case 'call': {
        const { gate, headers } = entry;
        if (isBranch(route)) return await journaledAdmission(await this.enlisted(call, entry, headers), gate);
        return {
          kind: 'pass',
          passage: { ...plainPassage({ ...call, headers: [...call.headers, ...headers] }), gate },
        };
      }
    }
  }
}

/** Tells the gate of a step what became of a call that does not leave; one that does has it in its passage. */
async function journaledAdmission(admission: Admission, gate: Gate): Promise<Admission> {
  switch (admission.kind) {
    case 'pass':
      return admission;
    case 'answer': {
      const verdict = await gate.answered(admission.answer);
      return verdict.kind === 'replace' ? refuse(verdict.error) : admission;
    }
    case 'refuse':
      await gate.failed(admission.error);
      return admission;
  }
}

function isBranch(route: Route | undefined): boolean {
  return route !== undefined && route.rule.kind !== 'plain';
}

function plainPassage({ origin, path, headers, route }: MarkedCall): Passage {
  const { timeoutMs, retry } = route ?? {};
  return {
    origin,
    path,
    headers,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(retry === undefined ? {} : { retry }),
  };
}

function withoutOperation(headers: readonly string[]): string[] {
  return headers.filter((_, index) => {
    const name = headers[index - (index % 2)]?.toLowerCase();
    return name !== BRANCH_HEADER && name !== OPERATION_HEADER;
  });
}

function refuse(error: CodedError): Admission {
  return { kind: 'refuse', error };
}

function badGid(message: string): CodedError {
  return new CodedError('BAD_GID', `The global transaction of the call is not clear: ${message}`, {
    hint: 'A gid is 1 to 128 of A-Z a-z 0-9 . _ : { } -; pass the same one on in every header, or none',
  });
}

function ambiguousPath(): CodedError {
  return new CodedError('BAD_REQUEST', 'The path can be read in several ways, of which only some take a route', {
    hint: 'Send the path of the route without #, \\, empty segments and dot segments in it',
  });
}
