/**
 * A process with a coordinator. Arguments: the SQLite file or the `postgres://` URL of its store, and the most branch calls in flight
 * (the default where it is absent). Asked for `memory`, it says how many bytes it holds after a collection; asked for `cpu`, how many
 * microseconds of processor time it has used.
 */
import { coordinatorOptions } from '../src/options.ts';
import { openLog } from '../src/platform/log.ts';
import { startCoordinator } from '../src/coordinator.ts';

const [store = '', calls] = process.argv.slice(2);
const options = coordinatorOptions.parse({
  listen: '127.0.0.1:0',
  grpc: { listen: '127.0.0.1:0' },
  store: store.startsWith('postgres:') ? { postgres: { url: store } } : { sqlite: { path: store } },
  ...(calls === undefined ? {} : { limits: { calls: Number(calls) } }),
  log: { level: 'warn' },
});
const coordinator = await startCoordinator(options, openLog('coordinator', options.log.level));
process.send?.({ port: coordinator.port });
process.on('message', (question) => process.send?.(question === 'cpu' ? cpuMicroseconds() : heldBytes()));
process.on('disconnect', () => void coordinator.close(1000).then(() => process.exit()));

function cpuMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function heldBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}
