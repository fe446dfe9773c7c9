/**
 * A process that a test kills: a coordinator, a sidecar, or the application. Arguments: which one, and its options as JSON. It is started
 * over and over, and mostly ends without a word: what it has compiled is kept for the next one before anything can happen to it.
 */
import { flushCompileCache } from 'node:module';
import { startSidecar } from '../../proxy/proxy.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';
import { startApp, type AppOptions } from './app.ts';

flushCompileCache();
const [role = '', text = '{}'] = process.argv.slice(2);
const options: unknown = JSON.parse(text);
const log = openLog(role, 'warn');
if (role === 'coordinator') await startCoordinator(coordinatorOptions.parse(options), log);
else if (role === 'sidecar') await startSidecar(sidecarOptions.parse(options), log);
else await startApp(options as AppOptions);
