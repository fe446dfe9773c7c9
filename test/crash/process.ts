/** A process with a coordinator over the SQLite file that is its argument; says its port and its id, and ends with 3 when its store has failed. */
import { flushCompileCache } from 'node:module';
import { startCoordinator } from '../../src/coordinator.ts';
import { openLog } from '../../src/platform/log.ts';
import { crashOptions, FAIL_STOP } from './options.ts';

const coordinator = await startCoordinator(crashOptions(process.argv[2] ?? ''), openLog('coordinator', 'silent'));
// Kept for the next process: this one may not live to do it at its end.
flushCompileCache();
process.stdout.write(`${coordinator.port} ${process.pid}\n`);
await coordinator.failed;
process.exit(FAIL_STOP);
