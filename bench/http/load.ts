/**
 * Requests over HTTP/1.1 that cost the sender next to nothing: a closed loop, that sends when it is answered, and an open one, that sends
 * when it is time.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Chain } from './hops.ts';

/** Connections of both loads. */
export const CONNECTIONS = 32;

/** The last bytes of the backend's body, and of nothing before them. */
const LAST = '}'.charCodeAt(0);
const LAST_BUT_ONE = ']'.charCodeAt(0);

/** Keeps one request on each connection until `count` are answered. Answers how many seconds that took. */
export async function closedLoad(chain: Chain, count: number): Promise<number> {
  const request = requestTo(chain.path);
  let unsent = count;
  let unanswered = count;
  const done = Promise.withResolvers<void>();
  const sockets = await connections(chain, done.reject, (socket) => {
    unanswered -= 1;
    if (unanswered === 0) done.resolve();
    else if (unsent > 0) send(socket);
  });
  const send = (socket: Socket): void => {
    unsent -= 1;
    socket.write(request);
  };
  const start = performance.now();
  for (const socket of sockets) send(socket);
  try {
    await done.promise;
    return (performance.now() - start) / 1000;
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

/**
 * Sends `perSecond` requests a second, evenly, whatever becomes of those before, for so many seconds. Answers the milliseconds from the
 * instant at which each was to be sent to its answer: what waited because others were slow waits in the numbers too.
 */
export async function openLoad(chain: Chain, perSecond: number, seconds: number): Promise<readonly number[]> {
  const request = requestTo(chain.path);
  const count = Math.round(perSecond * seconds);
  const times: number[] = [];
  const done = Promise.withResolvers<void>();
  /** When the request on each busy connection was to be sent. */
  const intended = new Map<Socket, number>();
  const idle = await connections(chain, done.reject, (socket) => {
    times.push(performance.now() - (intended.get(socket) ?? Number.NaN));
    intended.delete(socket);
    idle.push(socket);
    if (times.length === count) done.resolve();
    else sendDue();
  });
  const sockets = [...idle];
  const start = performance.now();
  let sent = 0;
  const sendDue = (): void => {
    const due = Math.min(count, ((performance.now() - start) * perSecond) / 1000);
    while (sent < due) {
      const socket = idle.pop();
      if (socket === undefined) return;
      intended.set(socket, start + (sent * 1000) / perSecond);
      sent += 1;
      socket.write(request);
    }
  };
  const timer = setInterval(sendDue, 1);
  try {
    await done.promise;
    return times;
  } finally {
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
  }
}

/** Opens the connections; `answered` is called for each whole answer. */
async function connections(
  { hops: [first] }: Chain,
  failed: (error: Error) => void,
  answered: (socket: Socket) => void,
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let index = 0; index < CONNECTIONS; index += 1) {
    const socket = connect({ port: first.port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    socket.on('error', failed);
    socket.on('end', () => failed(new Error('the server closed a connection')));
    socket.on('data', (chunk) => {
      if (chunk[chunk.length - 1] === LAST && chunk[chunk.length - 2] === LAST_BUT_ONE) answered(socket);
    });
    sockets.push(socket);
  }
  return sockets;
}

function requestTo(path: string): Buffer {
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nhost: orders.example\r\nuser-agent: bench/1.0\r\naccept: application/json\r\n` +
      'accept-encoding: gzip\r\ncookie: session=0123456789abcdef\r\nx-request-id: 4f1c2b\r\n\r\n',
  );
}
