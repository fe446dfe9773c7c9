/** Stands between a sidecar and its server and hands commands on one at a time; a test may stop, or lose, those about XA branches, on either way. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

const COMMANDS = ['XA END', 'XA PREPARE', 'XA COMMIT', 'XA ROLLBACK'] as const;

/** A command on its way: `before` it arrives, and `after` it was carried out, before the sidecar knows. */
export interface Moment {
  readonly when: 'before' | 'after';
  readonly command: (typeof COMMANDS)[number];
}

/** What becomes of it: `lost` cuts the connection on both sides. */
export type Watch = (moment: Moment) => 'pass' | 'lost' | Promise<'pass' | 'lost'>;

export interface Gate extends AsyncDisposable {
  readonly port: number;
}

/** Neither TLS nor compression may be asked for. */
export async function startGate(target: number, watch: Watch): Promise<Gate> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port: target, noDelay: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    void handOn(near, far, watch)
      .catch(() => undefined)
      .finally(() => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Hands on until one side has ended. */
async function handOn(near: Socket, far: Socket, watch: Watch): Promise<void> {
  // What the server says goes on by itself, but for the answer to a command that is watched.
  let answer: { readonly heard: (bytes: Buffer) => void } | undefined;
  let isQuiet = Promise.withResolvers<void>();
  isQuiet.resolve();
  const gone = Promise.race([near, far].map((socket) => once(socket, 'close'))).then((): never => {
    throw new Error('one side is gone');
  });
  gone.catch(() => undefined);
  far.on('data', (bytes: Buffer) => {
    isQuiet.resolve();
    if (answer === undefined) near.write(bytes);
    else answer.heard(bytes);
  });
  for await (const packet of packetsOf(near)) {
    const text = packet[3] === 0 && packet[4] === 0x03 ? packet.toString('latin1', 5) : '';
    const command = COMMANDS.find((each) => text.includes(each));
    if (command === undefined) {
      isQuiet = Promise.withResolvers<void>();
      far.write(packet);
      continue;
    }
    await Promise.race([isQuiet.promise, gone]);
    if ((await watch({ when: 'before', command })) === 'lost') return;
    const heard = new Promise<Buffer>((resolve) => (answer = { heard: resolve }));
    far.write(packet);
    const bytes = await Promise.race([heard, gone]);
    if ((await watch({ when: 'after', command })) === 'lost') return;
    answer = undefined;
    near.write(bytes);
  }
}

async function* packetsOf(socket: Socket): AsyncGenerator<Buffer> {
  let kept = Buffer.alloc(0);
  for await (const chunk of socket) {
    kept = Buffer.concat([kept, chunk as Buffer]);
    while (kept.length >= 4) {
      const size = 4 + kept.readUIntLE(0, 3);
      if (kept.length < size) break;
      yield kept.subarray(0, size);
      kept = kept.subarray(size);
    }
  }
}
