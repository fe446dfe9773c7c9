/** A gRPC service without generated code: messages are bytes, and what a method does is said by its name. */
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ChannelOptions,
  type MethodDefinition,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';

/** Messages are bytes already. */
export const bytes = (value: Buffer): Buffer => value;

function method(name: string, requestStream = false, responseStream = false): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/shop.Points/${name}`,
    requestStream,
    responseStream,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
}

const SERVICE = {
  Echo: method('Echo'),
  Fail: method('Fail'),
  Hang: method('Hang'),
  Sum: method('Sum', true),
  Count: method('Count', false, true),
  Talk: method('Talk', true, true),
};

/** The service as it runs, with what it has seen. */
export interface GrpcApp {
  readonly port: number;
  readonly server: Server;
  readonly metadata: Metadata[];
  /** Calls that run, and those that were cancelled. */
  readonly running: Set<unknown>;
  cancelled: number;
}

/** `Echo` answers with its message, `Fail` with the status in it, `Hang` never; `Sum` joins, `Count` repeats, `Talk` echoes each. */
export async function startGrpcApp(t: ExecutionContext): Promise<GrpcApp> {
  const server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
  const app: { -readonly [Key in keyof GrpcApp]: GrpcApp[Key] } = {
    port: 0,
    server,
    metadata: [],
    running: new Set(),
    cancelled: 0,
  };
  const see = (call: { metadata: Metadata; on(event: 'cancelled', run: () => void): unknown }): void => {
    app.metadata.push(call.metadata);
    app.running.add(call);
    call.on('cancelled', () => {
      app.cancelled += 1;
      app.running.delete(call);
    });
  };
  const trailersOf = (call: { metadata: Metadata }): Metadata => {
    const trailers = new Metadata();
    for (const value of call.metadata.get('x-echo-bin')) trailers.add('x-trailer-bin', value);
    return trailers;
  };
  server.addService(SERVICE, {
    Echo(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      see(call);
      done(null, call.request, trailersOf(call));
    },
    Fail(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      see(call);
      const error = { code: Number(call.request.toString()), details: 'no, 100 % ünlucky', metadata: trailersOf(call) };
      done(error);
    },
    Hang: (call: ServerUnaryCall<Buffer, Buffer>) => see(call),
    Sum(call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      see(call);
      const parts: Buffer[] = [];
      call.on('data', (part: Buffer) => parts.push(part));
      call.on('end', () => done(null, Buffer.concat(parts), trailersOf(call)));
    },
    Count(call: ServerWritableStream<Buffer, Buffer>) {
      see(call);
      for (let index = 0; index < Number(call.request.toString()); index += 1) call.write(Buffer.from(String(index)));
      call.end(trailersOf(call));
    },
    Talk(call: ServerDuplexStream<Buffer, Buffer>) {
      see(call);
      call.on('data', (part: Buffer) => call.write(part));
      call.on('end', () => call.end(trailersOf(call)));
      call.on('error', () => undefined);
    },
  });
  app.port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
  t.teardown(() => server.forceShutdown());
  return app;
}

/** A client of the service at `port`. */
export function grpcClient(t: ExecutionContext, port: number, options: ChannelOptions = {}): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.enable_http_proxy': 0,
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  });
  t.teardown(() => client.close());
  return client;
}

/** How a unary call ended. */
export interface Reply {
  readonly code: number;
  readonly details: string;
  readonly message: Buffer | undefined;
  readonly headers: Metadata | undefined;
  readonly trailers: Metadata | undefined;
}

/** Makes a unary call and waits for its status, whatever that is. */
export function call(
  client: Client,
  name: keyof typeof SERVICE | 'Hold' | 'Nothing',
  message: Buffer,
  metadata: Metadata = new Metadata(),
  deadlineMs: number = 30_000,
): Promise<Reply> {
  return new Promise((resolve) => {
    let headers: Metadata | undefined;
    let reply: Buffer | undefined;
    const options = { deadline: Date.now() + deadlineMs };
    const path = `/shop.Points/${name}`;
    const running = client.makeUnaryRequest(path, bytes, bytes, message, metadata, options, (_error, answer) => {
      reply = answer;
    });
    running.on('metadata', (value) => (headers = value));
    // The status comes before the callback.
    running.on('status', (ended) =>
      setImmediate(() =>
        resolve({ code: ended.code, details: ended.details, message: reply, headers, trailers: ended.metadata }),
      ),
    );
  });
}
