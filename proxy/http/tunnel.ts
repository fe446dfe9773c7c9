/**
 * CONNECT: many clients tunnel even plain HTTP through a proxy, so the first bytes inside decide. HTTP/1 and
 * HTTP/2 are served by the same listener, as if it had been asked to forward; TLS and everything else goes through blind.
 */
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pipeline, type Duplex } from 'node:stream';
import { CodedError } from '../../src/contract/errors.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import { sendRawError } from './errors.ts';
import type { Listener } from './listener.ts';
import { protocolOf } from './sniff.ts';
import { bareHost, parseAuthority, portOf, type TargetGuard } from './targets.ts';

export interface Tunnels {
  /** Handles a CONNECT request. */
  open(listener: Listener, request: IncomingMessage, socket: Socket, head: Buffer): void;
  /** Where the tunnel leads that this connection came through; undefined when it came through none. */
  targetOf(socket: Socket): string | undefined;
}

/** A client that says nothing may be waiting for a server that speaks first (SMTP, MySQL): so long we wait to find out. */
const SILENCE_MS = 1_000;
/** A tunnel in which nobody has said anything is given up after this long. */
const IDLE_MS = 75_000;
const CONNECT_TIMEOUT_MS = 10_000;

export function openTunnels(guard: TargetGuard, log: Log): Tunnels {
  const targets = new WeakMap<Socket, string>();
  return {
    targetOf: (socket) => targets.get(socket),
    open(listener, request, socket, head) {
      // Node's server has forgotten the socket with the CONNECT, but does not end before it.
      const release = listener.keep(socket);
      const url = parseAuthority('http', request.url ?? '');
      if (url === undefined || !/:[0-9]+$/.test(request.url ?? '')) return sendRawError(socket, badAuthority());
      const fault = guard.fault(bareHost(url), portOf(url));
      if (fault !== undefined) return sendRawError(socket, fault);
      socket.on('error', () => socket.destroy());
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      const dial = (): Socket => {
        const upstream = connect({
          host: bareHost(url),
          port: portOf(url),
          lookup: guard.lookupFor(portOf(url)),
          allowHalfOpen: true,
          noDelay: true,
          keepAlive: true,
        });
        upstream.setTimeout(CONNECT_TIMEOUT_MS, () => upstream.destroy(new Error('no connection in time')));
        upstream.once('connect', () => upstream.setTimeout(0));
        upstream.once('error', (error) => log.debug({ err: error, target: url.host }, 'a tunnel broke'));
        return upstream;
      };
      sniff(socket, head, dial, (decision) => {
        release();
        if (decision.kind === 'served') {
          // With its port, also the usual one: a tunnel to a host is not a call of the upstream that has its name.
          targets.set(socket, `${url.hostname}:${portOf(url)}`);
          return listener.serve(socket, decision.protocol, decision.first);
        }
        listener.detach(request, socket);
        join(socket, decision.upstream, decision.first);
      });
    },
  };
}

type Decision =
  | { readonly kind: 'served'; readonly protocol: 'http1' | 'http2'; readonly first: Buffer }
  /** `first`: what the client has said already. */
  | { readonly kind: 'blind'; readonly first: Buffer; readonly upstream: Socket };

/** Calls `decided` once, with the socket paused and without listeners of ours; or destroys the socket. */
function sniff(socket: Socket, head: Buffer, dial: () => Socket, decided: (decision: Decision) => void): void {
  let first: Buffer = head;
  let early: Socket | undefined;

  const stop = (): void => {
    cancelSilence();
    cancelIdle();
    socket.off('data', onData).off('end', onEnd).off('close', onClose);
    early?.off('readable', onUpstreamSpeaks).off('close', onClose);
    socket.pause();
  };
  const onClose = (): void => {
    stop();
    socket.destroy();
    early?.destroy();
  };
  const decide = (): void => {
    const protocol = protocolOf(first);
    if (protocol === 'more') return;
    stop();
    if (protocol === 'tls' || protocol === 'other') return decided({ kind: 'blind', first, upstream: early ?? dial() });
    early?.destroy();
    decided({ kind: 'served', protocol, first });
  };
  const onData = (chunk: Buffer): void => {
    first = Buffer.concat([first, chunk]);
    decide();
  };
  const onEnd = (): void => onClose();
  const onUpstreamSpeaks = (): void => {
    if (early === undefined) return;
    stop();
    decided({ kind: 'blind', first, upstream: early });
  };

  const cancelIdle = at((now() + IDLE_MS) as Instant, onClose);
  const cancelSilence = at((now() + SILENCE_MS) as Instant, () => {
    early = dial();
    early.once('readable', onUpstreamSpeaks).once('close', onClose);
  });
  socket.once('close', onClose);
  socket.on('end', onEnd);
  socket.on('data', onData);
  decide();
}

/** Connects two sockets until both directions have ended; an error on either ends both. */
function join(socket: Socket, upstream: Socket, first: Buffer): void {
  if (first.byteLength > 0) upstream.write(first);
  const destroyBoth = (error: Error | null | undefined): void => {
    if (error === null || error === undefined) return;
    socket.destroy();
    upstream.destroy();
  };
  pipeline(socket as Duplex, upstream as Duplex, destroyBoth);
  pipeline(upstream as Duplex, socket as Duplex, destroyBoth);
}

function badAuthority(): CodedError {
  return new CodedError('BAD_REQUEST', 'CONNECT needs a target of the form host:port');
}
