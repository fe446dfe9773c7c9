import { connect } from 'node:net';
import test from 'ava';
import { RawClient, until } from '../proxy-http/support.ts';
import { service, world } from './world.ts';

const head = (url: string, gid: string): string =>
  `POST ${url} HTTP/1.1\r\nHost: h\r\nAtomesh-Gid: ${gid}\r\nContent-Length: 2\r\n\r\n`;

test('a client that leaves before its branch is enlisted, or in the middle of its body, calls nobody', async (t) => {
  const hotel = await service(t);
  const slow = Promise.withResolvers<void>();
  let enlisted = 0;
  const { outbound, client, asked, begin, over } = await world(
    t,
    [{ match: `POST ${hotel.url}/try`, tcc: { confirm: `POST ${hotel.url}/c`, cancel: `POST ${hotel.url}/x` } }],
    {
      wrap: (real) => ({
        enlist: async (gid, request) => {
          await slow.promise;
          const answer = await real.enlist(gid, request);
          enlisted += 1;
          return answer;
        },
      }),
    },
  );
  const gid = await begin();
  const half = await RawClient.open(t, outbound.port);
  half.send(`${head(`${hotel.url}/try`, gid)}{`);
  const whole = await RawClient.open(t, outbound.port);
  whole.send(`${head(`${hotel.url}/try`, gid)}{}`);
  await until(() => asked.length === 1, 'the enlistment of the whole call');
  half.socket.destroy();
  whole.socket.destroy();
  await Promise.all([half.closed(), whole.closed()]);
  slow.resolve();
  await until(() => enlisted === 1, 'the branch');
  t.deepEqual(asked, ['enlist']);
  await client.abort(gid, {});
  t.is(await over(gid), 'failed');
  t.deepEqual(hotel.lines(), ['POST /x cancel'], 'the branch is cancelled though its call never left');
});

test('clients that leave leave no connection behind, whatever their call is waiting for', async (t) => {
  const open = new Set<unknown>();
  const hotel = await service(t, ({ url, headers }, response) => {
    if (headers['atomesh-op'] === 'compensate') return void response.end();
    const { socket } = response;
    open.add(socket);
    socket?.once('close', () => open.delete(socket));
    if (url === '/kept') response.write('half an answer');
    if (url === '/again') response.writeHead(503).end();
  });
  const saga = { compensate: `POST ${hotel.url}/undo/\${response.json.id}` };
  const { outbound, begin } = await world(t, [
    { match: `POST ${hotel.url}/*`, saga, retry: { attempts: 5, interval: '1h' }, timeout: '1h' },
  ]);
  const gid = await begin();
  const clients = Array.from({ length: 60 }, (_, index) => {
    const socket = connect({ port: outbound.port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    socket.write(`${head(`${hotel.url}/${['silent', 'kept', 'again'][index % 3]}`, gid)}{}`);
    return socket;
  });
  await until(() => hotel.seen.length === clients.length, 'all calls to have arrived');
  for (const socket of clients) socket.destroy();
  await until(() => open.size === 0, 'every connection to the service to end');
  t.is(hotel.seen.length, clients.length, 'nothing is tried again for a client that has left');
});
