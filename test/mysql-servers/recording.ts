/** A bare relay in front of a server, which keeps what goes through it. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Bytes as they came. Those of both sides are in one order, in which nothing comes before what it answers. */
export interface Heard {
  readonly side: 'client' | 'server';
  readonly chunk: Buffer;
}

export interface Recording {
  readonly port: number;
  /** One list for each connection. */
  readonly connections: readonly (readonly Heard[])[];
  close(): void;
}

/** Starts a relay to a port of 127.0.0.1. */
export async function startRecording(serverPort: number): Promise<Recording> {
  const connections: Heard[][] = [];
  const sockets: Socket[] = [];
  const relay = createServer((client) => {
    const heard: Heard[] = [];
    connections.push(heard);
    const server = connect(serverPort, '127.0.0.1');
    sockets.push(client, server);
    client.on('data', (chunk) => heard.push({ side: 'client', chunk: Buffer.from(chunk) })).pipe(server);
    server.on('data', (chunk) => heard.push({ side: 'server', chunk: Buffer.from(chunk) })).pipe(client);
    for (const socket of [client, server]) socket.on('error', () => socket.destroy());
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return {
    port: (relay.address() as AddressInfo).port,
    connections,
    close() {
      relay.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
