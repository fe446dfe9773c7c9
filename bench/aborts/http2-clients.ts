/** Streams of HTTP/2 that are given up before they are answered. */
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
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
} from '../http2/frames.ts';
import type { Crowd } from './http1-clients.ts';

const KINDS = ['silent', 'body', 'upload', 'hasty'] as const;
const CANCEL = Buffer.from([0, 0, 0, 8]);

/**
 * Opens `count` streams on one connection. They leave by RST_STREAM, of every fourth connection (by `turn`) by its end.
 * A stream `hasty` is reset as soon as its head is sent.
 */
export async function crowdOfStreams(count: number, port: number, authority: string, turn: number): Promise<Crowd> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const unread = new Set<number>();
  const read = Promise.withResolvers<void>();
  const reader = frameReader((type, flags, stream, payload) => {
    if (type === FRAME.SETTINGS && flags !== ACK) socket.write(frame(FRAME.SETTINGS, ACK, 0));
    if (type === FRAME.PING && flags !== ACK) socket.write(frame(FRAME.PING, ACK, 0, payload));
    if (type === FRAME.DATA && unread.delete(stream) && unread.size === 0) read.resolve();
  });
  socket.on('data', reader);
  socket.on('close', () => read.reject(new Error('the sidecar closed a connection of HTTP/2')));
  read.promise.catch(() => undefined); // heard where it is awaited, which may be later
  const open: number[] = [];
  const out = [PREFACE, frame(FRAME.SETTINGS, 0, 0), windowUpdate(0, 1 << 30)];
  for (let index = 0; index < count; index += 1) {
    const kind = KINDS[index % KINDS.length] ?? 'silent';
    const stream = 2 * index + 1;
    const isUpload = kind === 'upload';
    const flags = isUpload ? END_HEADERS : END_HEADERS | END_STREAM;
    out.push(frame(FRAME.HEADERS, flags, stream, headOf(kind, authority)));
    if (isUpload) out.push(frame(FRAME.DATA, 0, stream, Buffer.alloc(1_000, 'b')));
    if (kind === 'body') unread.add(stream);
    if (kind === 'hasty') out.push(frame(FRAME.RST_STREAM, 0, stream, CANCEL));
    else open.push(stream);
  }
  socket.write(Buffer.concat(out));
  return {
    certain: open.length,
    ready: read.promise,
    leave: () => {
      if (turn % 4 === 3) socket.destroy();
      else socket.end(Buffer.concat(open.map((stream) => frame(FRAME.RST_STREAM, 0, stream, CANCEL))));
    },
  };
}

function headOf(kind: string, authority: string): Buffer {
  const method = kind === 'upload' ? 'POST' : 'GET';
  return literals([':method', method, ':scheme', 'http', ':path', `/${kind}`, ':authority', authority]);
}

/** So many calls that are answered, one after another over a connection of their own. Rejects when one is not. */
export async function callWholeStreams(count: number, port: number, authority: string): Promise<void> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined); // its streams hear of it too
  try {
    for (let call = 0; call < count; call += 1) {
      const stream = session.request({ ':path': '/whole', ':authority': authority });
      const body: unknown[] = await stream.setEncoding('latin1').toArray({ signal: AbortSignal.timeout(10_000) });
      if (body.join('') !== 'whole') throw new Error(`a call beside the streams was answered with "${body.join('')}"`);
    }
  } finally {
    session.destroy();
  }
}
