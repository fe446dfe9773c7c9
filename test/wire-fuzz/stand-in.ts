/** A server that answers each message as a test wants it to: what no real server would do. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createFrameReader } from '../../proxy/postgres/wire/frames.ts';
import { createStartupReader } from '../../proxy/postgres/wire/startup.ts';
import { GREETING } from '../sql-passthrough/support/scripted-server.ts';

export interface StandIn extends AsyncDisposable {
  readonly port: number;
  /** Every message that it got behind start-up packets, its type as a letter, on all connections. */
  readonly heard: readonly { readonly type: string; readonly bytes: Buffer }[];
  /** How many connections have sent a start-up packet. */
  readonly started: number;
}

export interface Manners {
  /** The answer to a message; nothing by default. */
  readonly answer?: (type: string, bytes: Buffer) => Buffer | undefined;
  /** The answer to the start-up packet. By default everybody is let in. */
  readonly greeting?: Buffer;
  /** The answer to a request for encryption. */
  readonly encryption?: Buffer;
}

/** Listens on 127.0.0.1. */
export async function startStandIn(manners: Manners): Promise<StandIn> {
  const sockets = new Set<Socket>();
  const heard: { type: string; bytes: Buffer }[] = [];
  let started = 0;
  const serve = (socket: Socket): void => {
    const startup = createStartupReader();
    const reader = createFrameReader({ direction: 'frontend', holds: () => true, maxBytes: 64 * 1024 * 1024 });
    let isStarted = false;
    const read = (chunk: Buffer): void => {
      reader.push(chunk);
      while (reader.next()) {
        const type = String.fromCharCode(reader.type);
        const bytes = Buffer.from(reader.bytes.subarray(reader.start, reader.end));
        heard.push({ type, bytes });
        const answer = manners.answer?.(type, bytes);
        if (answer !== undefined) socket.write(answer);
      }
    };
    socket.on('data', (chunk: Buffer) => {
      if (isStarted) return read(chunk);
      const packet = startup.push(chunk);
      if (packet?.kind !== 'packet') return undefined;
      if (packet.packet.kind === 'ssl-request') return void socket.write(manners.encryption ?? Buffer.from('N'));
      isStarted = true;
      started += 1;
      socket.write(manners.greeting ?? GREETING);
      return read(packet.rest);
    });
    socket.on('error', () => undefined).once('end', () => socket.end());
  };
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    heard,
    get started() {
      return started;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
