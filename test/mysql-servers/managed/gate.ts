/** A bare relay in front of a server that can keep what the server says to itself. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { until } from '../../../examples/support/until.ts';

export interface Gate extends AsyncDisposable {
  readonly port: number;
  /** From now on nothing that the server says comes through. */
  silence(): void;
  /** Resolves when the server has been told something. */
  told(): Promise<unknown>;
  /** Resolves when there is no connection any more. */
  empty(): Promise<unknown>;
}

/** Starts one. */
export async function startGate(serverPort: number): Promise<Gate> {
  const sockets = new Set<Socket>();
  let isSilent = false;
  let toldBytes = 0;
  const relay = createServer((client) => {
    const server = connect(serverPort, '127.0.0.1');
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => one.destroy()).once('close', () => (sockets.delete(one), other.destroy()));
    }
    client.on('data', (chunk) => (toldBytes += chunk.length)).pipe(server);
    server.on('data', (chunk) => void (isSilent || client.write(chunk)));
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return {
    port: (relay.address() as AddressInfo).port,
    silence: () => void (isSilent = true),
    told: () => until('the server is told something', () => Promise.resolve(toldBytes > 0 || undefined)),
    empty: () => until('there is no connection', () => Promise.resolve(sockets.size === 0 || undefined)),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => relay.close(resolve));
    },
  };
}
