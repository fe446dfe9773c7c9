/**
 * The processes of the gRPC benchmark: `backend`, `relay <backend port>` (what node:http2 alone gives), `inbound <backend port>` and
 * `outbound <backend port>` (the sidecar's listeners).
 */
import { connect, createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { openActiveRequests } from '../proxy/binding/active-requests.ts';
import { startInbound } from '../proxy/inbound/inbound.ts';
import { openHttpMetrics } from '../proxy/http/metrics.ts';
import { sidecarOptions } from '../proxy/options.ts';
import { startOutbound } from '../proxy/outbound/outbound.ts';
import { connectCoordinator } from '../src/client/connect.ts';
import { openLog } from '../src/platform/log.ts';
import { openMetrics } from '../src/platform/metrics.ts';
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

const [role, backendPort = '0'] = process.argv.slice(2);
const target = `http://127.0.0.1:${backendPort}`;
const start: Readonly<Record<string, () => Promise<number>>> = {
  backend: startBackend,
  relay: startRelay,
  inbound: startInboundListener,
  outbound: startOutboundListener,
};
const port = await start[role ?? '']?.();
process.send?.({ port });
process.on('message', () => process.send?.(process.cpuUsage()));
process.on('disconnect', () => process.exit());

function portOf(server: Pick<Server, 'listen' | 'address'>): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** Answers every call with the same bytes, and never looks at its head, so that the backend costs next to nothing. */
function startBackend(): Promise<number> {
  const head = literals([':status', '200', 'content-type', 'application/grpc', 'x-server', 'bench']);
  const message = Buffer.concat([Buffer.from([0, 0, 0, 0, 100]), Buffer.alloc(100, 'm')]);
  const trailers = literals(['grpc-status', '0', 'grpc-message', '']);
  const answer = (stream: number): Buffer =>
    Buffer.concat([
      frame(FRAME.HEADERS, END_HEADERS, stream, head),
      frame(FRAME.DATA, 0, stream, message),
      frame(FRAME.HEADERS, END_HEADERS | END_STREAM, stream, trailers),
    ]);
  const server = createServer({ noDelay: true }, (socket) => {
    let unread = PREFACE.byteLength;
    let received = 0;
    let out: Buffer[] = [];
    const read = frameReader((type, flags, stream, payload) => {
      if (type === FRAME.SETTINGS && flags !== ACK) out.push(frame(FRAME.SETTINGS, ACK, 0));
      if (type === FRAME.PING && flags !== ACK) out.push(frame(FRAME.PING, ACK, 0, payload));
      if (type === FRAME.DATA) received += payload.byteLength;
      if ((type === FRAME.DATA || type === FRAME.HEADERS) && (flags & END_STREAM) !== 0) out.push(answer(stream));
    });
    socket.on('error', () => socket.destroy());
    socket.write(frame(FRAME.SETTINGS, 0, 0));
    socket.on('data', (chunk) => {
      const rest = chunk.subarray(unread);
      unread -= chunk.byteLength - rest.byteLength;
      read(rest);
      if (received > 0) out.push(windowUpdate(0, received));
      received = 0;
      if (out.length > 0) socket.write(Buffer.concat(out));
      out = [];
    });
  });
  return portOf(server);
}

/** The least that passes calls on: heads, data and trailers; no cancellation, no limits, errors only so that it lives. */
function startRelay(): Promise<number> {
  const upstream = connect(target);
  const server = createHttp2Server();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const call = upstream.request(headers);
    for (const one of [stream, call]) one.on('error', () => undefined);
    call.on('response', (answer) => stream.destroyed || stream.respond(answer, { waitForTrailers: true }));
    call.on('trailers', (trailers) => stream.on('wantTrailers', () => stream.sendTrailers(trailers)));
    stream.pipe(call).pipe(stream);
  });
  return portOf(server);
}

function optionsOf(listener: Readonly<Record<string, unknown>>): ReturnType<typeof sidecarOptions.parse> {
  return sidecarOptions.parse({ service: 'points', coordinator: { url: 'http://127.0.0.1:9' }, ...listener });
}

/** What both listeners are made of. */
function partsOf(options: ReturnType<typeof optionsOf>) {
  return {
    propagation: options.propagation,
    limits: options.limits,
    service: options.service,
    coordinator: connectCoordinator({ url: options.coordinator.url, timeoutMs: 1000 }),
    activeRequests: openActiveRequests(),
    metrics: openHttpMetrics(openMetrics(true)),
    log: openLog('bench', 'warn'),
  };
}

async function startInboundListener(): Promise<number> {
  const options = optionsOf({
    inbound: { listen: '127.0.0.1:0', target, transactions: [{ match: 'POST /orders', begin: {} }] },
  });
  if (options.inbound === undefined) throw new Error('inbound is configured');
  const listening = await startInbound({
    ...partsOf(options),
    options: options.inbound,
  });
  return listening.port;
}

async function startOutboundListener(): Promise<number> {
  const options = optionsOf({ outbound: { listen: '127.0.0.1:0', upstreams: { points: { url: target } } } });
  if (options.outbound === undefined) throw new Error('outbound is configured');
  const listening = await startOutbound({
    ...partsOf(options),
    options: options.outbound,
  });
  return listening.port;
}
