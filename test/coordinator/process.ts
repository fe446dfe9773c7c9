/** A process with a coordinator over the SQLite file that is its argument; says its port, and runs until it is killed. */
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';

const options = coordinatorOptions.parse({
  listen: '127.0.0.1:0',
  grpc: { listen: '127.0.0.1:0' },
  store: { sqlite: { path: process.argv[2] } },
  log: { level: 'error' },
});
const coordinator = await startCoordinator(options, openLog('coordinator', options.log.level));
process.send?.(coordinator.port);
