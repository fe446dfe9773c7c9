/** A process with the least HTTP server that `node:http` can be: the baseline, and the branch that always says yes. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

let requests = 0;
const server = createServer((request, response) => {
  requests += 1;
  request.resume();
  response.writeHead(200, ['content-type', 'application/json', 'content-length', '2']);
  response.end('{}');
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('message', () => process.send?.(requests));
process.on('disconnect', () => process.exit());
