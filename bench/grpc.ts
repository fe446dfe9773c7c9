/**
 * Unary gRPC calls per second through the sidecar without a transaction, against a bare relay of `node:http2` in front of the same
 * backend, turn about in one run: through inbound alone, and through outbound and inbound against two relays in a row. Load, backend
 * and every hop are a process each.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  frameReader,
  literals,
  PREFACE,
  windowUpdate,
} from './http2/frames.ts';
import { alternate, startChild, type Part, type Result } from './measure.ts';

const CONNECTIONS = 4;
const STREAMS = 16;
const ROUNDS = 5;
const ROUND_SECONDS = 3;
const WARM_UP_SECONDS = 3;
const RATIO_LEAST = 0.6;

const HEAD = literals(
  Object.entries({
    ':method': 'POST',
    ':scheme': 'http',
    ':path': '/shop.Points/Grant',
    ':authority': 'points',
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': '30S',
    'grpc-accept-encoding': 'identity,gzip',
    'user-agent': 'bench/1.0',
    'x-request-id': '4f1c2b',
  }).flat(),
);
const MESSAGE = Buffer.concat([Buffer.from([0, 0, 0, 0, 100]), Buffer.alloc(100, 'm')]);
const WINDOW_BYTES = 1 << 30;

/** Calls per second, through one hop and through two. */
export const grpcPart: Part = { name: 'grpc', run };

async function run(): Promise<readonly Result[]> {
  await using backend = await startChild('./grpc-process.ts', 'backend');
  await using relay = await startChild('./grpc-process.ts', 'relay', String(backend.port));
  await using secondRelay = await startChild('./grpc-process.ts', 'relay', String(relay.port));
  await using inbound = await startChild('./grpc-process.ts', 'inbound', String(backend.port));
  await using outbound = await startChild('./grpc-process.ts', 'outbound', String(inbound.port));
  for (const { port } of [outbound, secondRelay]) await load(port, WARM_UP_SECONDS);
  const one = await alternate(ROUNDS, { ours: () => rate(inbound.port), bare: () => rate(relay.port) });
  const two = await alternate(ROUNDS, { ours: () => rate(outbound.port), bare: () => rate(secondRelay.port) });
  return [
    resultOf('unary calls through inbound; baseline: a bare relay of node:http2', one),
    resultOf('unary calls through outbound and inbound; baseline: two bare relays', two),
  ];
}

function resultOf(name: string, { ours, bare }: { readonly ours: number; readonly bare: number }): Result {
  const ratio = ours / bare;
  return { name, value: ours, unit: '1/s', baseline: bare, ratio, target: RATIO_LEAST, pass: ratio >= RATIO_LEAST };
}

async function rate(port: number): Promise<number> {
  return (await load(port, ROUND_SECONDS)) / ROUND_SECONDS;
}

/** Keeps so many calls open on each connection, for so many seconds; answers how many ended with trailers. */
async function load(port: number, seconds: number): Promise<number> {
  const connections: LoadConnection[] = [];
  for (let index = 0; index < CONNECTIONS; index += 1) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    connections.push(new LoadConnection(socket));
  }
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  for (const { socket } of connections) socket.destroy();
  for (const { failure } of connections) if (failure !== undefined) throw failure;
  return connections.reduce((sum, { ended }) => sum + ended, 0);
}

/** One connection of the load: every call that ends is followed by the next one. */
class LoadConnection {
  readonly socket: Socket;
  ended = 0;
  failure: Error | undefined = undefined;
  private stream = 1;
  private out: Buffer[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    const read = frameReader((type, flags, stream, payload) => this.take(type, flags, stream, payload));
    socket.on('error', (error) => (this.failure = error));
    socket.on('data', (chunk) => {
      read(chunk);
      this.flush();
    });
    this.out.push(PREFACE, frame(FRAME.SETTINGS, 0, 0), windowUpdate(0, WINDOW_BYTES));
    for (let index = 0; index < STREAMS; index += 1) this.call();
    this.flush();
  }

  private take(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === FRAME.SETTINGS && flags !== ACK) this.out.push(frame(FRAME.SETTINGS, ACK, 0));
    else if (type === FRAME.PING && flags !== ACK) this.out.push(frame(FRAME.PING, ACK, 0, payload));
    else if (type === FRAME.GOAWAY || type === FRAME.RST_STREAM) this.failure = new Error(`frame ${type} on ${stream}`);
    else if (type === FRAME.HEADERS && (flags & END_STREAM) !== 0) {
      this.ended += 1;
      this.call();
    }
  }

  private call(): void {
    this.out.push(
      frame(FRAME.HEADERS, END_HEADERS, this.stream, HEAD),
      frame(FRAME.DATA, END_STREAM, this.stream, MESSAGE),
    );
    this.stream += 2;
  }

  private flush(): void {
    if (this.out.length > 0) this.socket.write(Buffer.concat(this.out));
    this.out = [];
  }
}
