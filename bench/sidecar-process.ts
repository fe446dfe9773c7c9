/** A process with a sidecar in front of a database. Arguments: the port of the database server, the URL of the coordinator. */
import { sidecarOptions } from '../proxy/options.ts';
import { startSidecar } from '../proxy/proxy.ts';
import { openLog } from '../src/platform/log.ts';

const [postgresPort, coordinatorUrl] = process.argv.slice(2);
const options = sidecarOptions.parse({
  service: 'bench',
  coordinator: { url: coordinatorUrl },
  control: { listen: '127.0.0.1:0' },
  admin: { listen: '127.0.0.1:0' },
  databases: [
    {
      name: 'bench',
      listen: '127.0.0.1:0',
      upstream: `postgres://127.0.0.1:${postgresPort}/postgres`,
      credentials: { user: 'postgres' },
    },
  ],
  log: { level: 'warn' },
});
const sidecar = await startSidecar(options, openLog('sidecar', options.log.level));
process.send?.({ port: sidecar.ports.databases['bench'] });
process.on('disconnect', () => process.exit(0));
