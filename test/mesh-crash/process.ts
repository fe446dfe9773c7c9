/** A process that a test kills: a coordinator, a sidecar, or the application. Arguments: which one, and its options as JSON. */
import { startSidecar } from '../../proxy/proxy.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';
import { startApp, type AppOptions } from './app.ts';

const [role = '', text = '{}'] = process.argv.slice(2);
const options: unknown = JSON.parse(text);
const log = openLog(role, 'warn');
if (role === 'coordinator') await startCoordinator(coordinatorOptions.parse(options), log);
else if (role === 'sidecar') await startSidecar(sidecarOptions.parse(options), log);
else await startApp(options as AppOptions);
