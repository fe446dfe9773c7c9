/**
 * Branches that take their time: a process that listens on as many ports as its first argument says (a coordinator bounds its calls
 * for each destination too) and says yes to every call after its second, in milliseconds. Asked anything, it says where it listens,
 * how many calls it has answered, how many were under way at once at the most, and how many came while another for their gid was.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const [destinations = 1, answerMs = 0] = process.argv.slice(2).map(Number);
const ports: number[] = [];
let underWay = 0;
let most = 0;
let answered = 0;
let doubled = 0;
const gids = new Set<string>();

for (let index = 0; index < destinations; index += 1) {
  const server = createServer((request, response) => {
    request.resume();
    const gid = /[?&]gid=([^&]*)/.exec(request.url ?? '')?.[1] ?? '';
    if (gids.has(gid)) doubled += 1;
    gids.add(gid);
    underWay += 1;
    most = Math.max(most, underWay);
    response.once('close', () => {
      gids.delete(gid);
      underWay -= 1;
    });
    setTimeout(() => {
      answered += 1;
      response.writeHead(200, ['content-type', 'application/json', 'content-length', '2']);
      response.end('{}');
    }, answerMs);
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 });
  await once(server, 'listening');
  ports.push((server.address() as AddressInfo).port);
}
process.send?.({ port: ports[0] });
process.on('message', () => process.send?.({ ports, answered, most, doubled }));
process.on('disconnect', () => process.exit());
