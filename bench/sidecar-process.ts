/**
 * A process with a whole sidecar, as `atomesh sidecar` starts it. Its argument: the options, as in the YAML, as JSON. Asked for `cpu`, it
 * says how many microseconds of processor time it has used; for `memory`, how many bytes it and its live objects take after a
 * collection, as two numbers; for `size`, how many bytes it takes as it is; for `ports`, where it listens.
 */
import { sidecarOptions } from '../proxy/options.ts';
import { startSidecar } from '../proxy/proxy.ts';
import { openLog } from '../src/platform/log.ts';

const anywhere = { listen: '127.0.0.1:0' };
const options = sidecarOptions.parse({
  control: anywhere,
  admin: anywhere,
  log: { level: 'warn' },
  ...(JSON.parse(process.argv[2] ?? '{}') as object),
});
const { ports } = await startSidecar(options, openLog('sidecar', options.log.level));
const [database] = Object.values(ports.databases);
process.send?.({ port: ports.inbound ?? ports.outbound ?? database });
process.on('message', (question) => {
  if (question === 'ports') return process.send?.(ports);
  if (question === 'size') return process.send?.(process.memoryUsage.rss());
  return process.send?.(question === 'cpu' ? cpuMicroseconds() : heldBytes());
});
process.on('disconnect', () => process.exit(0));

function cpuMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function heldBytes(): readonly [number, number] {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  const { rss, heapUsed } = process.memoryUsage();
  return [rss, heapUsed];
}
