/**
 * A process with a coordinator over the SQLite file that is its first argument; says its port and its id, and ends with 3 when its store has
 * failed. With `mutant` as the second argument it goes on then, which whoever watches it has to notice.
 */
import { flushCompileCache } from 'node:module';
import { startCoordinator } from '../../src/coordinator.ts';
import { openLog } from '../../src/platform/log.ts';
import { crashOptions, FAIL_STOP } from './options.ts';

const [path = '', program = 'coordinator'] = process.argv.slice(2);
const coordinator = await startCoordinator(crashOptions(path), openLog('coordinator', 'silent'));
// Kept for the next process: this one may not live to do it at its end.
flushCompileCache();
process.stdout.write(`${coordinator.port} ${process.pid}\n`);
await coordinator.failed;
if (program !== 'mutant') process.exit(FAIL_STOP);
