/** A bare TCP relay: what any proxy in Node costs at the least. Arguments: the port to relay to. */
import { connect, createServer, type AddressInfo } from 'node:net';

const server = createServer({ noDelay: true }, (client) => {
  const upstream = connect({ port: Number(process.argv[2]), host: '127.0.0.1', noDelay: true });
  client.pipe(upstream);
  upstream.pipe(client);
  client.on('close', () => upstream.destroy());
  upstream.on('close', () => client.destroy());
  client.on('error', () => undefined);
  upstream.on('error', () => undefined);
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('disconnect', () => process.exit(0));
