/** Clients over HTTP/1.1 that leave before they are answered. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** The instants at which they leave, in turn: the origin is silent; inside its body; inside their own; as soon as they have asked. */
const KINDS = ['silent', 'body', 'upload', 'hasty'] as const;

/** A crowd of clients that wait to be gone. */
export interface Crowd {
  /** How many requests the origin sees for certain. */
  readonly certain: number;
  /** Resolves when those that are to read the beginning of a body have. */
  readonly ready: Promise<unknown>;
  /** All leave: half of them as programs do, the others with a reset. */
  leave(): void;
}

/** Sends `count` requests, each over a connection of its own. `base` is put before the paths. */
export async function crowdOf(count: number, port: number, base: string): Promise<Crowd> {
  const sockets: Socket[] = [];
  const reading: Promise<unknown>[] = [];
  let certain = 0;
  for (let index = 0; index < count; index += 1) {
    const kind = KINDS[index % KINDS.length] ?? 'silent';
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(requestOf(kind, base));
    if (kind === 'hasty') {
      leave(socket, index);
      continue;
    }
    certain += 1;
    sockets.push(socket);
    if (kind === 'body') reading.push(once(socket, 'data', { signal: AbortSignal.timeout(10_000) }));
    else socket.resume();
  }
  return {
    certain,
    ready: Promise.all(reading),
    leave: () => {
      for (const [index, socket] of sockets.entries()) leave(socket, index);
    },
  };
}

function leave(socket: Socket, index: number): void {
  if (index % 2 === 0) socket.destroy();
  else socket.resetAndDestroy();
}

function requestOf(kind: (typeof KINDS)[number], base: string): string {
  const host = 'host: bench\r\n';
  if (kind !== 'upload') return `GET ${base}/${kind} HTTP/1.1\r\n${host}\r\n`;
  return `POST ${base}/upload HTTP/1.1\r\n${host}content-length: 100000\r\n\r\n${'part of a body'.repeat(100)}`;
}
