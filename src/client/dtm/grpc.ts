/** DTM's protocol over gRPC. What speaks it is loaded with the first request, so that nobody else has to have it installed. */
import type { DtmGrpcClient } from '../../grpc/client.ts';
import { CodedError } from '../../contract/errors.ts';
import { loadGrpc } from '../branch/grpc.ts';
import { FailureError, OngoingError } from '../errors.ts';
import {
  type DtmBranch,
  type DtmClient,
  type DtmConnection,
  type DtmRequest,
  type DtmWorkflow,
  timeLimitOf,
  TIMEOUT_MS,
} from './client.ts';

type Wire = Parameters<DtmGrpcClient['submit']>[0];
type Reply<T> = { readonly kind: 'success'; readonly value: T } | { readonly kind: Fault; readonly message: string };
type Fault = 'failure' | 'ongoing' | 'error';

/** Connects when first asked. Rejects as every `DtmClient` does, and with `TypeError` when `url` is none. */
export function connectDtmGrpc({ url, token, timeoutMs = TIMEOUT_MS }: DtmConnection): DtmClient {
  if (!/^grpcs?:\/\/[^/]+:[0-9]+\/?$/i.test(url)) {
    throw new TypeError(`${JSON.stringify(url)} is not grpc://host:port or grpcs://host:port`);
  }
  let opened: Promise<DtmGrpcClient> | undefined;
  const open = (): Promise<DtmGrpcClient> => (opened ??= load(url, token, timeoutMs));
  const once = async (ask: (client: DtmGrpcClient) => Promise<Reply<undefined>>): Promise<void> =>
    valueOf(await ask(await open()));
  return {
    url: url.replace(/^grpcs?:\/\//i, ''),
    prepare: (request) => once((client) => client.prepare(wireOf(request))),
    submit: (request) =>
      once((client) => client.submit(wireOf(request), { timeoutMs: timeLimitOf(request, timeoutMs) })),
    abort: (request) => once((client) => client.abort(wireOf(request))),
    registerBranch: (branch) => once((client) => client.registerBranch(branchOf(branch))),
    prepareWorkflow: async (request) => {
      const { status, rollbackReason, result, progresses } = valueOf(
        await (await open()).prepareWorkflow(wireOf(request)),
      );
      const workflow: DtmWorkflow = {
        status,
        rollbackReason,
        result: Buffer.from(result, 'base64'),
        progresses: progresses.map(({ branchId, op, status, data }) => ({
          branchId,
          op,
          status,
          data: Buffer.from(data, 'base64'),
        })),
      };
      return workflow;
    },
    close: async () => {
      if (opened === undefined) return;
      // A connection that could not be opened has told those who asked for it.
      await opened.then((client) => client.close()).catch(() => undefined);
    },
  };
}

async function load(url: string, token: string | undefined, timeoutMs: number): Promise<DtmGrpcClient> {
  await loadGrpc();
  const { connectDtmGrpc: connect } = await import('../../grpc/client.ts');
  return connect(url, { timeoutMs, ...(token === undefined ? {} : { token }) });
}

function valueOf<T>(reply: Reply<T>): T {
  switch (reply.kind) {
    case 'success':
      return reply.value;
    case 'failure':
      throw new FailureError(reply.message);
    case 'ongoing':
      throw new OngoingError(reply.message);
    case 'error':
      throw new CodedError('OUTCOME_UNKNOWN', `the coordinator answered: ${reply.message}`, {
        retry: 'ask',
        hint: 'Read the message; query the gid before you try again.',
      });
  }
}

function wireOf({ gid, transType, options = {}, steps = [], ...rest }: DtmRequest): Wire {
  return {
    gid,
    transType,
    steps: steps.map(({ action, compensate }) => ({ action, ...(compensate === undefined ? {} : { compensate }) })),
    payloads: steps.map(({ payload }) => base64(payload)),
    queryPrepared: rest.queryPrepared ?? '',
    protocol: 'grpc',
    customData: rest.customData ?? '',
    rollbackReason: rest.rollbackReason ?? '',
    reqExtra: rest.reqExtra ?? {},
    waitResult: options.waitResult ?? false,
    timeoutToFail: seconds(options.timeoutToFailMs),
    requestTimeout: seconds(options.requestTimeoutMs),
    retryInterval: seconds(options.retryIntervalMs),
    retryLimit: options.retryLimit,
    concurrent: rest.concurrent ?? false,
    branchHeaders: options.branchHeaders ?? {},
  };
}

function branchOf({
  gid,
  transType,
  branchId,
  data,
  payload,
}: DtmBranch): Parameters<DtmGrpcClient['registerBranch']>[0] {
  return { gid, transType, branchId, op: data['op'] ?? '', data, payload: base64(payload) };
}

function seconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
