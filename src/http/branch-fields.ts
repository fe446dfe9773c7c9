/** The fields of an enlistment: what may be asked of a branch, where, with what, and what its answers mean. */
import { HEADER_BYTES_MAX, headerFault, IDENTITY_HEADERS, TRANSPORT_HEADERS } from '../contract/branch-headers.ts';
import { branchUrlFault } from '../contract/branch-url.ts';
import { parseGrpcUrl } from '../contract/grpc-url.ts';
import type { EnlistRequest, OperationRequest, ResultRules } from '../contract/messages.ts';
import type { BranchKind, Operation } from '../contract/transaction.ts';
import { requiredOperations } from '../engine/operations.ts';
import { base64, type Check, type Field, integer, objectFaults, oneOf, optional, required, text } from './fields.ts';

const DAY_MS = 86_400_000;
/** Ranges that mean one result. */
const RANGES_MAX = 20;
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

const KINDS: Readonly<Record<BranchKind, true>> = { undo: true, xa: true, tcc: true, saga: true, msg: true };
const OPERATIONS: Readonly<Record<Operation, true>> = {
  commit: true,
  rollback: true,
  confirm: true,
  cancel: true,
  action: true,
  compensate: true,
  msg: true,
  workflow: true,
};

/** Where a branch or an initiator is called: `http`, `https`, `grpc` or `grpcs`. */
export const branchUrl: Check = (value) => {
  if (typeof value !== 'string') return 'expected a URL';
  if (!isGrpc(value)) return branchUrlFault(value);
  const parsed = parseGrpcUrl(value);
  return 'fault' in parsed ? parsed.fault : undefined;
};

/** Looked at below, with what surrounds it. */
const nested: Check = () => undefined;

/** The body of an enlistment; `branchFaults` looks at what is in its objects. */
export const ENLIST: Readonly<Record<keyof EnlistRequest, Field>> = {
  kind: required(oneOf(Object.keys(KINDS))),
  resource: required(text(1, 200)),
  operations: required(nested),
  requests: optional(nested),
  results: optional(nested),
  delayMs: optional(integer(0, 30 * DAY_MS)),
  attemptsMax: optional(integer(1, 1_000_000)),
  retryIntervalMs: optional(integer(1, DAY_MS)),
  requestTimeoutMs: optional(integer(1, DAY_MS)),
  run: optional(integer(1, Number.MAX_SAFE_INTEGER)),
};
const URLS = eachOperation(optional((value) => (value === '' ? undefined : branchUrl(value))));
const REQUESTS = eachOperation(optional(nested));
const REQUEST: Readonly<Record<keyof OperationRequest, Field>> = {
  method: optional(oneOf(METHODS)),
  headers: optional(nested),
  body: optional(base64),
};
const RESULTS: Readonly<Record<keyof ResultRules, Field>> = {
  success: required(statusRanges),
  failure: required(statusRanges),
  ongoing: required(statusRanges),
};

/** Every fault inside `operations`, `requests` and `results` of an enlistment. */
export function branchFaults(value: object): readonly string[] {
  const { kind, operations, requests, results } = value as Readonly<Record<string, unknown>>;
  return [
    ...(operations === undefined ? [] : operationFaults(kind, operations)),
    ...(requests === undefined ? [] : requestsFaults(requests, operations)),
    ...(results === undefined ? [] : objectFaults(results, RESULTS, 'results')),
  ];
}

function operationFaults(kind: unknown, operations: unknown): readonly string[] {
  const faults = objectFaults(operations, URLS, 'operations');
  if (!isObject(operations)) return faults;
  const needed = typeof kind === 'string' && Object.hasOwn(KINDS, kind) ? requiredOperations(kind as BranchKind) : [];
  const missing = needed.filter((operation) => !Object.hasOwn(operations, operation));
  return [...faults, ...missing.map((operation) => `operations.${operation}: missing, a branch of its kind needs it`)];
}

function requestsFaults(requests: unknown, operations: unknown): readonly string[] {
  const faults = objectFaults(requests, REQUESTS, 'requests');
  if (!isObject(requests)) return faults;
  const inside = Object.entries(requests).flatMap(([operation, request]): readonly string[] => {
    if (!Object.hasOwn(OPERATIONS, operation)) return [];
    const path = `requests.${operation}`;
    const url = isObject(operations) && Object.hasOwn(operations, operation) ? operations[operation] : undefined;
    if (url === undefined) return [`${path}: operations.${operation} is missing`];
    const own = objectFaults(request, REQUEST, path);
    const headers = isObject(request) ? request['headers'] : undefined;
    return headers === undefined ? own : [...own, ...headersFaults(headers, `${path}.headers`, isGrpc(url))];
  });
  return [...faults, ...inside];
}

function headersFaults(headers: unknown, path: string, overGrpc: boolean): readonly string[] {
  if (!isObject(headers)) return [`${path}: expected a JSON object`];
  let bytes = 0;
  const faults = Object.entries(headers).flatMap(([name, value]): readonly string[] => {
    if (typeof value !== 'string') return [`${path}: expected texts`];
    bytes += name.length + value.length;
    const fault = ownHeaderFault(name, value, overGrpc);
    return fault === undefined ? [] : [`${path}: ${fault}`];
  });
  return bytes > HEADER_BYTES_MAX ? [...faults, `${path}: more than ${HEADER_BYTES_MAX} bytes in all`] : faults;
}

function ownHeaderFault(name: string, value: string, overGrpc: boolean): string | undefined {
  const fault = headerFault(name, value, overGrpc);
  if (fault !== undefined) return fault;
  if (name !== name.toLowerCase()) return `"${name.slice(0, 60)}" is not in lower case`;
  if (TRANSPORT_HEADERS.has(name)) return `"${name}" belongs to the connection and cannot be given`;
  if (IDENTITY_HEADERS.has(name)) return `"${name}" is the coordinator's own`;
  // One character is one byte on the wire; undici takes no others.
  // oxlint-disable-next-line no-control-regex -- every character that is one byte
  return /^[\u0000-\u00ff]*$/.test(value)
    ? undefined
    : `the value of "${name.slice(0, 60)}" has characters beyond one byte`;
}

function statusRanges(value: unknown): string | undefined {
  const isList = Array.isArray(value) && value.length <= RANGES_MAX && value.every(isStatusRange);
  return isList ? undefined : `expected a list of at most ${RANGES_MAX} ranges [from, to] of HTTP statuses`;
}

function isStatusRange(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [from, to] = value as readonly unknown[];
  return isStatus(from) && isStatus(to) && from <= to;
}

function isStatus(value: unknown): value is number {
  return integer(100, 599)(value) === undefined;
}

function eachOperation(field: Field): Readonly<Record<string, Field>> {
  return Object.fromEntries(Object.keys(OPERATIONS).map((operation) => [operation, field]));
}

function isGrpc(url: unknown): boolean {
  return typeof url === 'string' && /^grpcs?:\/\//i.test(url);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
