/** A process with a coordinator whose options, as JSON, are its argument; it runs until it is told to stop. */
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';

const options = coordinatorOptions.parse(JSON.parse(process.argv[2] ?? '{}'));
const coordinator = await startCoordinator(options, openLog('coordinator', options.log.level));
process.once('SIGTERM', () => void coordinator.close(2000).then(() => process.exit(0)));
