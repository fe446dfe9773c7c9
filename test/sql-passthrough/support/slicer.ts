/** A TCP relay that passes bytes on in pieces of a given size, each in its own turn of the event loop, both ways. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

export interface Slicer extends AsyncDisposable {
  readonly port: number;
}

export async function startSlicer(to: number, chunkBytes: number): Promise<Slicer> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port: to, noDelay: true, allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    }
    void slice(near, far, chunkBytes);
    void slice(far, near, chunkBytes);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function slice(from: Socket, to: Socket, chunkBytes: number): Promise<void> {
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length && !to.destroyed; at += chunkBytes) {
        to.write(chunk.subarray(at, at + chunkBytes));
        await turn();
      }
    }
    to.end();
  } catch {
    to.destroy();
  }
}
