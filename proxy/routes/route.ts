/** Outbound routes as they are carried out: patterns and templates, made once from the options. */
import { assert } from '../../src/platform/assert.ts';
import { headerFault, IDENTITY_HEADERS, TRANSPORT_HEADERS } from '../../src/contract/branch-headers.ts';
import { parseGrpcUrl } from '../../src/contract/grpc-url.ts';
import type { ResultRules } from '../../src/contract/messages.ts';
import { normalPath } from './paths.ts';
import { parseTemplate, sourcesOf, type Template } from './template.ts';

/** One operation as it is written: `METHOD URL` or a gRPC URL, and what is sent with it. */
export interface OperationOptions {
  readonly request: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
}

/** A route as it is written; durations in milliseconds. The table of options is in `route-options.ts`. */
export interface RouteOptions {
  readonly match: string;
  readonly tcc?: { readonly confirm: OperationOptions; readonly cancel: OperationOptions } | undefined;
  readonly saga?: { readonly compensate: OperationOptions } | undefined;
  readonly message?:
    | { readonly delay: number; readonly attempts?: number | undefined; readonly retryInterval?: number | undefined }
    | undefined;
  readonly timeout?: number | undefined;
  readonly retry?: { readonly attempts: number; readonly interval: number } | undefined;
  readonly results?: ResultRules | undefined;
}

/** One operation that the coordinator calls. */
export interface Operation {
  /** Undefined over gRPC. */
  readonly method: string | undefined;
  readonly url: Template;
  readonly headers: readonly (readonly [name: string, value: Template])[];
  /** Undefined: that of the call, where the method has one. */
  readonly body: Template | undefined;
  /** False for methods whose body means nothing (RFC 9110 §9.3): the body of the call is not theirs. */
  readonly takesBody: boolean;
}

/** What a route does with a call inside a global transaction. */
export type Rule =
  | { readonly kind: 'tcc'; readonly operations: Readonly<Record<'confirm' | 'cancel', Operation>> }
  | { readonly kind: 'saga'; readonly operations: Readonly<Record<'compensate', Operation>> }
  | {
      readonly kind: 'message';
      readonly delayMs: number;
      readonly attemptsMax: number | undefined;
      readonly retryIntervalMs: number | undefined;
    }
  | { readonly kind: 'plain' };

export interface Route {
  /** As it is written, for people. */
  readonly match: string;
  readonly pattern: Pattern;
  readonly rule: Rule;
  readonly timeoutMs: number | undefined;
  readonly retry: RetryRule | undefined;
  readonly results: ResultRules | undefined;
  /** Whether an operation says something that is known only once the branch is enlisted, or the call is answered. */
  readonly needs: { readonly branch: boolean; readonly response: boolean };
}

/** How often a request is sent when it is not answered, or with a gateway's error. */
export interface RetryRule {
  /** Tries in all, the first one included. */
  readonly attempts: number;
  /** From the end of one try to the next, in milliseconds. */
  readonly intervalMs: number;
}

/** Which calls a route is for. */
export interface Pattern {
  /** `*` for every one. */
  readonly method: string;
  /** `URL.origin` of the destination. */
  readonly origin: string;
  readonly path: RegExp;
  /** Names of the groups of `path`, in their order. */
  readonly names: readonly string[];
  readonly isGrpc: boolean;
}

/** What is wrong with a route, and what belongs there. */
export interface RouteFault {
  readonly path: readonly string[];
  readonly expected: string;
}

/** Every fault of a route whose options have the right form. */
export function routeFaults(options: RouteOptions): readonly RouteFault[] {
  return read(options).faults;
}

/** The route. `options` must be without faults. */
export function compileRoute(options: RouteOptions): Route {
  const { route, faults } = read(options);
  assert(faults.length === 0 && route !== undefined, 'a route is checked when the options are read');
  return route;
}

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
const BODYLESS_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE']);
const KINDS = ['tcc', 'saga', 'message'] as const;

function read(options: RouteOptions): { readonly route: Route | undefined; readonly faults: readonly RouteFault[] } {
  const faults: RouteFault[] = [];
  const pattern = patternOf(options.match);
  if (typeof pattern === 'string') return { route: undefined, faults: [{ path: ['match'], expected: pattern }] };
  const kinds = KINDS.filter((kind) => options[kind] !== undefined);
  if (kinds.length > 1) faults.push({ path: [], expected: `one of ${kinds.join(', ')}` });
  const reader = new OperationReader(pattern, faults);
  const rule = ruleOf(options, reader);
  if (rule.kind === 'plain') {
    if (options.results !== undefined)
      faults.push({ path: ['results'], expected: 'no results without tcc, saga or message' });
    if (options.retry !== undefined && !SAFE_METHODS.has(pattern.method)) {
      faults.push({
        path: ['retry'],
        expected: 'no retry but with tcc, saga, or one of the methods GET, HEAD, OPTIONS',
      });
    }
  }
  if (rule.kind === 'message' && options.retry !== undefined) {
    faults.push({ path: ['retry'], expected: 'attempts and retryInterval in message, in place of retry' });
  }
  const route: Route = {
    match: options.match,
    pattern,
    rule,
    timeoutMs: options.timeout,
    retry:
      options.retry === undefined
        ? undefined
        : { attempts: options.retry.attempts, intervalMs: options.retry.interval },
    results: options.results,
    needs: { branch: reader.needsBranch, response: reader.needsResponse },
  };
  return { route, faults };
}

function ruleOf({ tcc, saga, message }: RouteOptions, reader: OperationReader): Rule {
  if (tcc !== undefined) {
    const confirm = reader.read(tcc.confirm, ['tcc', 'confirm']);
    return { kind: 'tcc', operations: { confirm, cancel: reader.read(tcc.cancel, ['tcc', 'cancel']) } };
  }
  if (saga !== undefined) {
    return { kind: 'saga', operations: { compensate: reader.read(saga.compensate, ['saga', 'compensate']) } };
  }
  if (message === undefined) return { kind: 'plain' };
  const { delay, attempts, retryInterval } = message;
  return { kind: 'message', delayMs: delay, attemptsMax: attempts, retryIntervalMs: retryInterval };
}

class OperationReader {
  needsBranch = false;
  needsResponse = false;
  private readonly pattern: Pattern;
  private readonly faults: RouteFault[];

  constructor(pattern: Pattern, faults: RouteFault[]) {
    this.pattern = pattern;
    this.faults = faults;
  }

  read({ request, headers, body }: OperationOptions, path: readonly string[]): Operation {
    const [, method, url = ''] = /^(?:([A-Z]+) )?(.*)$/s.exec(request) ?? [];
    const isGrpc = method === undefined;
    if (isGrpc !== this.pattern.isGrpc) {
      this.fault(path, isGrpc ? 'an HTTP operation for a call over HTTP' : 'a gRPC operation for a call over gRPC');
    } else if (isGrpc) {
      const parsed = parseGrpcUrl(url);
      if ('fault' in parsed) this.fault(path, parsed.fault.replace(/^expected /, ''));
      if (body !== undefined) this.fault([...path, 'body'], 'no body: over gRPC the message of the call is sent');
    }
    for (const name of Object.keys(headers)) {
      const isTaken = TRANSPORT_HEADERS.has(name) || IDENTITY_HEADERS.has(name);
      if (isTaken) this.fault([...path, 'headers', name], "no header of the connection's or the coordinator's own");
      else if (headerFault(name, '', isGrpc) !== undefined) {
        this.fault([...path, 'headers', name], 'a name of a-z, 0-9, "-", "_" and "." over gRPC');
      }
    }
    return {
      method,
      url: this.template(url, 'url', path),
      headers: Object.entries(headers).map(([name, text]) => [
        name,
        this.template(text, 'header', [...path, 'headers', name]),
      ]),
      body: body === undefined ? undefined : this.template(body, 'body', [...path, 'body']),
      takesBody: isGrpc || !BODYLESS_METHODS.has(method),
    };
  }

  private template(text: string, kind: 'url' | 'header' | 'body', path: readonly string[]): Template {
    const template = parseTemplate(text, kind, this.pattern.names);
    if ('fault' in template) {
      this.fault(path, template.fault);
      return { kind: 'text', pieces: [] };
    }
    for (const source of sourcesOf(template)) {
      if (source.kind === 'branch') this.needsBranch = true;
      if (source.kind === 'status' || ('of' in source && source.of === 'response')) this.needsResponse = true;
      if (source.kind === 'json' && this.pattern.isGrpc) this.fault(path, 'no JSON fields of a call over gRPC');
    }
    return template;
  }

  private fault(path: readonly string[], expected: string): void {
    this.faults.push({ path, expected });
  }
}

/** The pattern, or what is expected in place of `match`. */
function patternOf(match: string): Pattern | string {
  const [, method = 'POST', scheme = '', authority = '', path = ''] =
    /^(?:(\*|[A-Z]+) )?([a-z]+):\/\/([^/]+)(.*)$/.exec(match) ?? [];
  const isGrpc = scheme.startsWith('grpc');
  const url = URL.parse(`${scheme === 'https' || scheme === 'grpcs' ? 'https' : 'http'}://${authority}`);
  if (url === null || url.hostname === '') return 'a URL with a host';
  const isOpen = path.endsWith('/**');
  const names: string[] = [];
  const segments = normalPath(isOpen ? path.slice(0, -3) : path)
    .split('/')
    .map((segment) => {
      const [, name] = /^\{([A-Za-z0-9_]+)\}$/.exec(segment) ?? [];
      if (name !== undefined) names.push(name);
      if (name !== undefined) return '([^/]+)';
      return segment === '*' ? '[^/]+' : segment.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    });
  if (/[{}*]/.test(path.replace(/\/(?:\{[A-Za-z0-9_]+\}|\*)(?=\/|$)/g, '/').replace(/\/\*\*$/, ''))) {
    return '{name} and * as whole segments of the path';
  }
  if (new Set(names).size < names.length) return 'a name of its own for each parameter of the path';
  return {
    method,
    origin: url.origin,
    path: new RegExp(`^${segments.join('/')}${isOpen ? '(?:/.*)?' : ''}$`, 's'),
    names,
    isGrpc,
  };
}
