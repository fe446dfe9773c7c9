/** Branch calls for tests of transports, and a branch that is called over gRPC. */
import { type Metadata, Server, ServerCredentials, type ServerUnaryCall, status } from '@grpc/grpc-js';
import type { BranchId, Gid, Operation } from '../../src/contract/transaction.ts';
import type { BranchCall } from '../../src/runner/ports.ts';
import { createTransports, type TransportOptions, type Transports } from '../../src/transport/transports.ts';
import { AUTHORITY, CERTIFICATE, KEY } from './certificates.ts';

export const patient: AbortSignal = new AbortController().signal;

/** The action of the first branch of a saga, unless `parts` say otherwise. */
export function callOf(url: string, parts: Partial<BranchCall> = {}): BranchCall {
  return {
    gid: 'a:{b}' as Gid,
    mode: 'saga',
    branch: '01' as BranchId,
    operation: 'action' satisfies Operation,
    protocol: 'http',
    url,
    timeoutMs: 5000,
    ...parts,
  };
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

export function open(options: TransportOptions = {}): Transports & AsyncDisposable {
  const transports = createTransports(options);
  return { ...transports, [Symbol.asyncDispose]: () => transports.close() };
}

export interface GrpcRequest {
  readonly path: string;
  readonly metadata: Metadata;
  readonly message: Buffer;
  readonly deadline: number;
}

export interface GrpcAnswer {
  readonly code: status;
  readonly details?: string;
}

export interface GrpcTestBranch extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string;
  readonly port: number;
  readonly requests: readonly GrpcRequest[];
}

/** Starts a participant with the method `/busi.Busi/TransIn` and the callback of workflows. Answers undefined: nothing, ever. */
export async function startGrpcBranch(
  answer: (request: GrpcRequest) => GrpcAnswer | undefined = () => ({ code: status.OK }),
  {
    isSecure = false,
    asksForCertificate = false,
    port = 0,
  }: { readonly isSecure?: boolean; readonly asksForCertificate?: boolean; readonly port?: number } = {},
): Promise<GrpcTestBranch> {
  const requests: GrpcRequest[] = [];
  const server = new Server();
  const same = (message: Buffer): Buffer => message;
  for (const path of ['/busi.Busi/TransIn', '/workflow.Workflow/Execute']) {
    const method = {
      path,
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    } as const;
    server.addService(
      { method },
      {
        method: (call: ServerUnaryCall<Buffer, Buffer>, callback: Callback) => {
          const deadline = Number(call.getDeadline());
          const request = { path, metadata: call.metadata, message: call.request, deadline };
          requests.push(request);
          const reply = answer(request);
          if (reply === undefined) return;
          if (reply.code === status.OK) callback(null, Buffer.alloc(0));
          else callback({ code: reply.code, details: reply.details ?? '' });
        },
      },
    );
  }
  const pair = { cert_chain: Buffer.from(CERTIFICATE), private_key: Buffer.from(KEY) };
  const authority = asksForCertificate ? Buffer.from(AUTHORITY) : null;
  const credentials = isSecure
    ? ServerCredentials.createSsl(authority, [pair], asksForCertificate)
    : ServerCredentials.createInsecure();
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, credentials, (error, found) =>
      error === null ? resolve(found) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${bound}`,
    port: bound,
    requests,
    [Symbol.asyncDispose]: () => {
      server.forceShutdown();
      return Promise.resolve();
    },
  };
}

type Callback = (error: { readonly code: status; readonly details: string } | null, answer?: Buffer) => void;
