/** gRPC servers for tests: over a service that remembers what it is asked, or over a whole runner. */
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { Gid } from '../../src/contract/transaction.ts';
import { createDtmService } from '../../src/dtm/serve.ts';
import type { DtmReply, DtmService } from '../../src/dtm/service.ts';
import type { Reader } from '../../src/grpc/coordinator.ts';
import { loadProto, methodOf, serviceOf } from '../../src/grpc/proto.ts';
import { type GrpcServer, type GrpcServices, listenGrpc } from '../../src/grpc/server.ts';
import { now, systemClock } from '../../src/platform/clock.ts';
import { openLog } from '../../src/platform/log.ts';
import { Secret } from '../../src/platform/option-types.ts';
import { newGid } from '../../src/platform/random.ts';
import { gidUnknown } from '../../src/runner/refusals.ts';
import { createRunner } from '../../src/runner/run.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { createTransports } from '../../src/transport/transports.ts';

const log = openLog('test', 'silent');

export interface Served extends GrpcServer, AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** Calls a method of `dtmgimp.Dtm` or `atomesh.v1.Coordinator`; a status other than OK is an answer too. */
  ask(method: string, message: object, metadata?: Readonly<Record<string, string>>): Promise<Answer>;
}

export interface Answer {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
  readonly message: any; // oxlint-disable-line typescript/no-explicit-any -- tests look into answers of every shape
}

/** Listens on a port of its own. */
export async function serve(
  services: GrpcServices,
  token?: string,
  limits: { readonly requestMs?: number; readonly connectionsMax?: number } = {},
): Promise<Served> {
  const listen = { host: '127.0.0.1', port: 0 };
  const server = await listenGrpc(
    { listen, token: token === undefined ? undefined : new Secret(token), ...limits },
    services,
    log,
  );
  const address = `127.0.0.1:${server.port}`;
  const asker = askAt(address);
  return {
    ...server,
    address,
    ask: asker.ask,
    [Symbol.asyncDispose]: async () => {
      asker[Symbol.dispose]();
      await server.close(0);
    },
  };
}

/** A client of the coordinator at `address`. */
export function askAt(address: string): Pick<Served, 'ask'> & Disposable {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.max_send_message_length': -1 });
  return {
    ask: (method, message, metadata = {}) => ask(client, method, message, metadata),
    [Symbol.dispose]: () => client.close(),
  };
}

const DEFINITION = loadProto('dtmgimp.proto', 'coordinator.proto');

function ask(client: Client, name: string, message: object, extra: Readonly<Record<string, string>>): Promise<Answer> {
  const service = name === 'Query' ? 'atomesh.v1.Coordinator' : 'dtmgimp.Dtm';
  const { path, requestSerialize, responseDeserialize } = methodOf(serviceOf(DEFINITION, service), name);
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(extra)) metadata.set(key, value);
  return new Promise((resolve) => {
    const deadline = Date.now() + 10_000;
    const onAnswer = (error: ServiceError | null, answer?: object): void =>
      resolve({
        code: error?.code ?? status.OK,
        details: error?.details ?? '',
        metadata: error?.metadata ?? new Metadata(),
        message: answer,
      });
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, message, metadata, { deadline }, onAnswer);
  });
}

/** A DTM service that remembers what it is asked and answers what it is told. */
export class RecordingService implements DtmService {
  readonly asked: { readonly verb: string; readonly request: unknown; readonly signal?: AbortSignal }[] = [];
  reply: () => Promise<DtmReply> = () => Promise.resolve({ kind: 'success', value: undefined });

  newGid(): string {
    return 'gid-1';
  }
  prepare = (request: unknown): Promise<DtmReply> => this.#record('prepare', request);
  submit = (request: unknown, signal: AbortSignal): Promise<DtmReply> => this.#record('submit', request, signal);
  abort = (request: unknown): Promise<DtmReply> => this.#record('abort', request);
  registerBranch = (request: unknown): Promise<DtmReply> => this.#record('registerBranch', request);
  subscribe = (...request: unknown[]): Promise<DtmReply> => this.#record('subscribe', request);
  unsubscribe = (...request: unknown[]): Promise<DtmReply> => this.#record('unsubscribe', request);
  deleteTopic = (...request: unknown[]): Promise<DtmReply> => this.#record('deleteTopic', request);
  prepareWorkflow: DtmService['prepareWorkflow'] = async (request) => {
    const reply = await this.#record('prepareWorkflow', request);
    if (reply.kind !== 'success') return reply;
    const progresses = [{ branchId: '01', op: 'action', status: 'succeed', data: 'AP8=' }];
    const value = { status: 'succeed', rollbackReason: 'why', result: 'cmVzdWx0', transaction: {}, progresses };
    return { kind: 'success', value };
  };

  #record(verb: string, request: unknown, signal?: AbortSignal): Promise<DtmReply> {
    this.asked.push({ verb, request, ...(signal === undefined ? {} : { signal }) });
    return this.reply();
  }
}

/** A runner that knows no transaction. */
export const NOTHING_KNOWN: Reader = {
  read: (gid) => Promise.resolve({ ok: false, error: gidUnknown(gid) }),
  waitForEnd: (gid) => Promise.resolve({ ok: false, error: gidUnknown(gid) }),
};

/** A server over a runner that keeps its transactions in memory and calls real branches. */
export async function serveRunner(): Promise<Served> {
  const store = openMemoryStore();
  const transport = createTransports();
  const runner = createRunner({
    store,
    transport,
    clock: systemClock,
    newGid,
    owner: 'test',
    leaseMs: 10_000,
    retentionMs: 60_000,
    limits: { branches: 100, unfinished: 1000, calls: 64 },
    log,
  });
  const defaults = { timeoutToFailMs: 35_000, retryIntervalMs: 100, requestTimeoutMs: 3000 };
  const dtm = createDtmService(runner, store, { defaults, newGid: (): Gid => newGid(), now, log });
  const served = await serve({ dtm, runner });
  runner.start();
  return {
    ...served,
    [Symbol.asyncDispose]: async () => {
      await served[Symbol.asyncDispose]();
      await runner.stop(0);
      await transport.close();
      await store.close();
    },
  };
}
