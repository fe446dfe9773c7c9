/**
 * The other processes of the HTTP benchmark: `backend`, and `http-proxy <backend port>` (the npm package `http-proxy-3`, which
 * package.json installs as `http-proxy`, as its README shows it, with a keep-alive agent). Asked anything, each says how many
 * microseconds of processor time it has used.
 */
import { Agent, createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { createProxyServer } from 'http-proxy';

const [role, backendPort = '0'] = process.argv.slice(2);
const server = role === 'backend' ? openBackend() : openHttpProxy(`http://127.0.0.1:${backendPort}`);
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send?.(user + system);
});
process.on('disconnect', () => process.exit());

/** Answers every head with the same bytes, so that the backend costs next to nothing. */
function openBackend(): Server {
  const body = JSON.stringify({ order: 4711, items: Array.from({ length: 10 }, (_, item) => ({ item, count: 2 })) });
  const answer = Buffer.from(
    'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: 9d2f1c\r\n' +
      `date: Sat, 21 Nov 2026 10:00:00 GMT\r\ncontent-length: ${body.length}\r\nconnection: keep-alive\r\n\r\n${body}`,
  );
  return createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', () => socket.write(answer)); // one request at a time, each in one packet
  });
}

function openHttpProxy(target: string): Server {
  const proxy = createProxyServer({ target, agent: new Agent({ keepAlive: true }) });
  return createHttpServer((request, response) => proxy.web(request, response));
}
