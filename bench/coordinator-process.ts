/** A process with a coordinator over the SQLite file that is its argument. Asked anything, it says how many bytes of memory it holds after a collection. */
import { coordinatorOptions } from '../src/options.ts';
import { openLog } from '../src/platform/log.ts';
import { startCoordinator } from '../src/coordinator.ts';

const options = coordinatorOptions.parse({
  listen: '127.0.0.1:0',
  store: { sqlite: { path: process.argv[2] } },
  log: { level: 'warn' },
});
const coordinator = await startCoordinator(options, openLog('coordinator', options.log.level));
process.send?.({ port: coordinator.port });
process.on('message', () => {
  globalThis.gc?.();
  process.send?.(process.memoryUsage().rss);
});
process.on('disconnect', () => void coordinator.close(1000).then(() => process.exit()));
