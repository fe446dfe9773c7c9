/**
 * A process with the least HTTP server that `node:http` can be: the baseline, and the branch that always says yes. Asked anything, it
 * says how many microseconds of processor time it has used.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const server = createServer((request, response) => {
  request.resume();
  response.writeHead(200, ['content-type', 'application/json', 'content-length', '2']);
  response.end('{}');
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send?.(user + system);
});
process.on('disconnect', () => process.exit());
