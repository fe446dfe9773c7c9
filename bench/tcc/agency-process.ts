/**
 * The process of an agency that books with several services, one call after another: asked with JSON (`{ port, urls }`), it knows from
 * then on the outbound listener beside it and the services. It carries the gid of its request along, where there is one.
 */
import { once } from 'node:events';
import { Agent, createServer, request as call, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the agency has to know. */
export interface Bookings {
  /** Of the outbound listener, which is used as a proxy. */
  readonly port: number;
  readonly urls: readonly string[];
}

let bookings: Bookings = { port: 0, urls: [] };
const agent = new Agent({ keepAlive: true });
const server = createServer((request, response) => {
  request.resume();
  void bookAll(request.headers['atomesh-gid']).then((status) =>
    response.writeHead(status, { 'content-length': '2' }).end('{}'),
  );
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('message', (question) => {
  bookings = JSON.parse(String(question)) as Bookings;
  process.send?.('known');
});
process.on('disconnect', () => process.exit(0));

async function bookAll(gid: string | string[] | undefined): Promise<number> {
  const headers = { 'content-type': 'application/json', ...(gid === undefined ? {} : { 'atomesh-gid': gid }) };
  for (const url of bookings.urls) {
    const booking = call({
      agent,
      port: bookings.port,
      host: '127.0.0.1',
      method: 'POST',
      path: `${url}/try`,
      headers: { host: new URL(url).host, ...headers },
    });
    booking.end('{"seats":2}');
    const [answer] = (await once(booking, 'response')) as [IncomingMessage];
    answer.resume();
    await once(answer, 'end');
    if (answer.statusCode !== 200) return 500;
  }
  return 201;
}
