/**
 * The listener that the coordinator calls. The service is part of the path because an address may lead to the wrong sidecar, which
 * would know nothing of the branch and could take that for success.
 *
 * | `POST /v1/services/{service}/…` | what is asked |
 * | --- | --- |
 * | `databases/{name}/commit`, `…/rollback` | the second phase of a branch; `?run=N`: of the branch of that run of a workflow |
 * | `messages/check` | how the local transaction of a message ended: 200 committed, 409 rolled back |
 * | `workflows/run` | to run a workflow again: 200 it is decided, 425 it runs |
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CodedError, errorBody, httpStatusOf } from '../../src/contract/errors.ts';
import {
  INITIATOR,
  parseBranchId,
  parseGid,
  parseResolution,
  type Gid,
  type Instant,
  type Resolution,
} from '../../src/contract/transaction.ts';
import { at, monotonicSeconds, now } from '../../src/platform/clock.ts';
import { bearerCheck } from '../../src/platform/bearer.ts';
import type { Log } from '../../src/platform/log.ts';
import { Counter, DURATION_SECONDS, Histogram, type Registry } from '../../src/platform/metrics.ts';
import type { Address, Secret } from '../../src/platform/option-types.ts';
import type { Diagnosis } from '../../src/contract/messages.ts';
import type { FinishResult } from './finish.ts';
import { resourceOf } from '../sql/work.ts';
import { readTarget, type ControlTarget, type FinishOperation } from './control-target.ts';

export interface FinishableDatabase {
  /** The name of the branch's participant at the coordinator: `<service>/<database>`. */
  readonly resource: string;
  readonly finisher: {
    commit(gid: Gid, resource: string): Promise<FinishResult>;
    rollback(gid: Gid, resource: string, resolution?: Resolution): Promise<FinishResult>;
  };
}

export interface ControlServerOptions {
  /** The service that this sidecar stands beside: branches of others are refused. */
  readonly service: string;
  readonly address: Address;
  /** What callers must send as `Authorization: Bearer …`; without it anybody who reaches the listener may call. */
  readonly token?: Secret;
  readonly databases: ReadonlyMap<string, FinishableDatabase>;
  /** `wait`: local transactions of the branch are still under way here; the coordinator is told to ask again. */
  readonly beforeFinish?: (
    database: string,
    gid: Gid,
    operation: FinishOperation,
    run: number | undefined,
  ) => Promise<'go' | 'wait'>;
  /** Says how the local transaction of a message ended; rejects with a `CodedError` while nobody knows. Absent: no route begins messages. */
  readonly checkMessage?: (gid: Gid) => Promise<'committed' | 'rolled-back'>;
  /** Runs a workflow again, unless it runs here or is decided. Rejects with a `CodedError` when it cannot. Absent: no route begins workflows. */
  readonly runWorkflow?: (gid: Gid) => Promise<'decided' | 'running'>;
  /** Called once a branch has ended, before the coordinator is answered. */
  readonly onFinished: (database: string, gid: Gid, operation: FinishOperation, run: number | undefined) => void;
  readonly log: Log;
  readonly metrics: Registry;
}

export interface ControlServer {
  readonly address: Address;
  /** Stops listening and waits for the calls under way, `graceMs` at most. */
  close(graceMs?: number): Promise<void>;
}

const BODY_BYTES_MAX = 64 * 1024;
const CALLS_MAX = 1_000;

/** Starts the listener. Rejects when the address cannot be bound. */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const calls = new Set<Promise<void>>();
  const handle = handler(options, calls);
  const server = createServer(
    { maxHeaderSize: 16 * 1024, requestTimeout: 30_000, headersTimeout: 10_000 },
    (request, response) => {
      const call = handle(request, response).finally(() => calls.delete(call));
      calls.add(call);
    },
  );
  server.listen(options.address.port, options.address.host);
  await once(server, 'listening');
  const { address, port } = server.address() as AddressInfo;
  return { address: { host: address, port }, close: (graceMs = 10_000) => close(server, graceMs) };
}

async function close(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const cancel = at((now() + graceMs) as Instant, () => server.closeAllConnections());
  await closed;
  cancel();
}

type Handle = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

function handler(options: ControlServerOptions, calls: ReadonlySet<unknown>): Handle {
  const count = new Counter({
    name: 'atomesh_branch_finish_total',
    help: 'Second-phase calls of undo branches by result',
    labelNames: ['database', 'operation', 'result'],
    registers: [options.metrics],
  });
  const seconds = new Histogram({
    name: 'atomesh_branch_finish_seconds',
    help: 'How long second-phase calls took',
    labelNames: ['database', 'operation'],
    buckets: [...DURATION_SECONDS],
    registers: [options.metrics],
  });
  const mayCall = options.token === undefined ? () => true : bearerCheck(options.token);
  return async (request, response) => {
    const startedAt = monotonicSeconds();
    try {
      await drain(request);
      if (calls.size > CALLS_MAX) throw new CodedError('SHUTTING_DOWN', 'too many calls at once', { retry: 'safe' });
      const call = readCall(request, options, mayCall);
      if (call.kind !== 'finish') return send(response, ...(await asInitiator(call, options)));
      const result = await finish(call, options);
      const labels = { database: call.name, operation: call.resolution ?? call.operation };
      count.inc({ ...labels, result: result.result });
      seconds.observe(labels, monotonicSeconds() - startedAt);
      answer(response, call, result);
    } catch (error) {
      fail(response, error, options.log);
    }
  };
}

interface FinishCall {
  readonly kind: 'finish';
  readonly name: string;
  readonly database: FinishableDatabase;
  readonly gid: Gid;
  readonly operation: FinishOperation;
  readonly run: number | undefined;
  /** What an operator has decided about the branch, which was dirty. */
  readonly resolution: Resolution | undefined;
}

type Call = FinishCall | { readonly kind: 'check' | 'run'; readonly gid: Gid };

function readCall(
  request: IncomingMessage,
  options: ControlServerOptions,
  mayCall: (authorization: string | undefined) => boolean,
): Call {
  if (!mayCall(request.headers.authorization)) {
    throw new CodedError('UNAUTHORIZED', 'the bearer token is missing or wrong', {
      hint: 'Give the coordinator the token of this control listener.',
    });
  }
  const target = readTarget(request.url ?? '');
  if (target === undefined) {
    throw new CodedError('NOT_FOUND', 'no such path', {
      hint: 'POST /v1/services/{service}/databases/{name}/commit or /rollback, …/messages/check, …/workflows/run',
    });
  }
  if (request.method !== 'POST') throw new CodedError('METHOD_NOT_ALLOWED', 'only POST is allowed here');
  const gid = readHead(request, target);
  if (target.service !== options.service) {
    throw new CodedError('BRANCH_UNKNOWN', `this is the sidecar of ${options.service}, not of ${target.service}`, {
      hint: `Set control.advertise of the sidecar of ${target.service} to the address at which the coordinator reaches it.`,
    });
  }
  if (target.kind !== 'finish') return { kind: target.kind, gid };
  const { name, operation, run } = target;
  const database = options.databases.get(name);
  if (database === undefined) {
    throw new CodedError('BRANCH_UNKNOWN', `this sidecar has no database ${name}`, {
      hint: 'Configure the database again under this name until its branches have ended.',
    });
  }
  return { kind: 'finish', name, database, gid, operation, run, resolution: readResolution(request, operation) };
}

function readResolution(request: IncomingMessage, operation: FinishOperation): Resolution | undefined {
  const text = header(request, 'atomesh-resolution');
  if (text === '') return undefined;
  const resolution = parseResolution(text);
  if (resolution === undefined || operation !== 'rollback') {
    throw new CodedError('BAD_REQUEST', 'the header atomesh-resolution is malformed, or does not go with the path', {
      hint: 'Let coordinator and sidecar be of the same version.',
    });
  }
  return resolution;
}

/** The gid, when the headers agree with the path on what is asked of whom. */
function readHead(request: IncomingMessage, target: ControlTarget): Gid {
  const gid = parseGid(header(request, 'atomesh-gid'));
  if (gid === undefined) throw new CodedError('BAD_GID', 'the header atomesh-gid is missing or malformed');
  const branch = parseBranchId(header(request, 'atomesh-branch'));
  const isOfInitiator = target.kind !== 'finish';
  if (branch === undefined || (isOfInitiator && branch !== INITIATOR)) {
    throw new CodedError('BAD_REQUEST', 'the header atomesh-branch is missing or malformed');
  }
  if (header(request, 'atomesh-op') !== OPERATION_OF[target.kind === 'finish' ? target.operation : target.kind]) {
    throw new CodedError('BAD_REQUEST', 'the header atomesh-op does not agree with the path');
  }
  return gid;
}

const OPERATION_OF = { commit: 'commit', rollback: 'rollback', check: 'msg', run: 'workflow' } as const;

/** What is answered in the name of the application that began the transaction. */
async function asInitiator(
  { kind, gid }: Exclude<Call, FinishCall>,
  { checkMessage, runWorkflow }: ControlServerOptions,
): Promise<readonly [status: number, body: object]> {
  if (kind === 'check') {
    if (checkMessage === undefined)
      throw notConfigured('messages', 'a database and a route with begin: { message: true }');
    const ended = await checkMessage(gid);
    return ended === 'committed' ? [200, { result: 'SUCCESS' }] : [409, { result: 'FAILURE' }];
  }
  if (runWorkflow === undefined) throw notConfigured('workflows', 'a route with begin: { workflow: true }');
  const ran = await runWorkflow(gid);
  return ran === 'decided' ? [200, { result: 'SUCCESS' }] : [425, { result: 'ONGOING', detail: 'a run is under way' }];
}

function notConfigured(what: string, missing: string): CodedError {
  return new CodedError('BRANCH_UNKNOWN', `this sidecar has no ${what}`, {
    hint: `Configure ${missing} again until the transactions that were begun with it have ended.`,
  });
}

function header(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === 'string' ? value : '';
}

async function finish(call: FinishCall, options: ControlServerOptions): Promise<FinishResult> {
  const { name, gid, operation, database, run, resolution } = call;
  if ((await options.beforeFinish?.(name, gid, operation, run)) === 'wait') {
    return { result: 'ongoing', detail: 'a local transaction of the branch is still open' };
  }
  const resource = resourceOf(database.resource, run);
  const { finisher } = database;
  const finished =
    operation === 'commit' ? finisher.commit(gid, resource) : finisher.rollback(gid, resource, resolution);
  const result = settled(call, await finished);
  if (result.result === 'success') options.onFinished(name, gid, operation, run);
  if (result.ended !== undefined) {
    options.log.error({ gid, resource, operation, ended: result.ended }, 'the branch has already ended the other way');
  }
  return result;
}

/** What an interrupted run of a workflow had changed was undone before the next one began: with it, nothing is left to commit. */
function settled({ operation, run }: FinishCall, result: FinishResult): FinishResult {
  const isUndoneRun = run !== undefined && operation === 'commit' && result.ended === 'rolled back';
  return isUndoneRun ? { result: 'success', detail: `run ${run} was interrupted and undone` } : result;
}

/** The body says nothing that the headers do not; it is read so that the connection can be used again. */
async function drain(request: IncomingMessage): Promise<void> {
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_BYTES_MAX)
      throw new CodedError('BODY_TOO_LARGE', `the body is larger than ${BODY_BYTES_MAX} bytes`);
  }
}

function answer(response: ServerResponse, call: FinishCall, result: FinishResult): void {
  const about = `${call.operation} of ${call.gid} in ${call.name}`;
  switch (result.result) {
    case 'success':
      return send(response, 200, {
        result: 'SUCCESS',
        ...(result.detail === undefined ? {} : { detail: result.detail }),
      });
    case 'ongoing':
      return send(response, 425, { result: 'ONGOING', detail: result.detail ?? '' });
    case 'dirty':
      return sendError(response, dirtyError(about, result), diagnosisOf(result));
    case 'failure':
    case 'unknown':
      // Never 409: an undo branch cannot refuse its second phase for good.
      return sendError(
        response,
        new CodedError('INTERNAL', `${about}: ${result.detail ?? 'no result'}`, { retry: 'safe' }),
      );
  }
}

function fail(response: ServerResponse, error: unknown, log: Log): void {
  if (response.destroyed || response.headersSent) return;
  if (error instanceof CodedError) return sendError(response, error);
  const message = error instanceof Error ? error.message : String(error);
  log.error({ err: message }, 'a second-phase call failed');
  sendError(
    response,
    new CodedError('INTERNAL', 'the call failed; see the log of the sidecar', { retry: 'safe', cause: error }),
  );
}

function dirtyError(about: string, { detail }: FinishResult): CodedError {
  return new CodedError('BRANCH_DIRTY', `${about}: ${detail ?? 'the branch is dirty'}`, {
    hint: 'Put the rows back as the change left them or as they were before, then "atomesh tx retry <gid>" rolls the rest back; or decide with "atomesh tx resolve".',
  });
}

/** What the coordinator keeps of it; the whole images are in `detail`, and may be large. */
function diagnosisOf({ dirt }: FinishResult): { readonly diagnosis?: Diagnosis } {
  if (dirt === undefined) return {};
  const { reason, table, rows, rowsMore } = dirt;
  const further = { ...(rows === undefined ? {} : { rows }), ...(rowsMore === undefined ? {} : { rowsMore }) };
  return { diagnosis: { reason, table, ...further } };
}

function sendError(response: ServerResponse, error: CodedError, further: object = {}): void {
  response.setHeader('atomesh-error-source', 'sidecar');
  send(response, httpStatusOf(error.code), { ...errorBody(error), ...further });
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
