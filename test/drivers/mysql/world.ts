/** What the suites talk to: a MariaDB, a MySQL where one can run, and a process of the sidecar in front of both. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../../examples/support/free-port.ts';
import { startMariadb, type MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { openProcesses, type ManagedProcess } from '../../../examples/support/processes.ts';
import { makeCertificates, type Certificates } from '../../login/stage.ts';
import { hasMysql, startMysql } from '../../mysql-servers/mysql-server.ts';

export type ServerName = 'mariadb' | 'mysql';

/** Where a server is. */
export interface Address {
  readonly direct: number;
  /** Through the sidecar, which has no TLS on either side. */
  readonly plain: number;
  /** Through the sidecar, which has TLS on both sides. */
  readonly secure: number;
}

export interface World extends AsyncDisposable {
  /** There is no MySQL where none can run. */
  readonly addresses: ReadonlyMap<ServerName, Address>;
  /** A folder that goes with the world. */
  readonly folder: string;
  /** The last lines of the sidecar's log. */
  readonly sidecarLog: () => Promise<string>;
}

/** Who the suites log in as: may do everything. */
export const USER = 'driver';
export const PASSWORD = 'secret';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Databases and settings that the suites expect; `test_schema` is SQLAlchemy's second. */
const SETUP = `create user '${USER}'@'127.0.0.1' identified by '${PASSWORD}'; grant all on *.* to '${USER}'@'127.0.0.1' with grant option;
create database gotest; create database talks; create database test; create database test_schema;
set global local_infile = 1, global max_allowed_packet = 50331648, global log_bin_trust_function_creators = 1`;

/** Starts everything. What has been started is stopped again when something fails. */
export async function startWorld(): Promise<World> {
  await using started = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-mysql-drivers-'));
  started.defer(() => rm(folder, { recursive: true, force: true }));
  const certificates = started.use(await makeCertificates());
  const servers = new Map<ServerName, MariadbServer>([
    ['mariadb', started.use(await startMariadb(mariadbOptions(certificates)))],
  ]);
  if (hasMysql) servers.set('mysql', started.use(await startMysql()));
  const addresses = new Map<ServerName, Address>();
  for (const [name, server] of servers) {
    await server.run(SETUP);
    addresses.set(name, { direct: server.port, plain: await freePort(), secure: await freePort() });
  }
  const config = join(folder, 'sidecar.yaml');
  await writeFile(config, configuration(addresses, certificates));
  const sidecar: ManagedProcess = started.use(openProcesses(folder)).add({
    name: 'sidecar',
    command: [join(ROOT, 'cli', 'main.ts'), 'sidecar', '--config', config],
    environment: {},
    isReady: async () => (await sidecar.lastLines(50)).includes('atomesh sidecar ready'),
  });
  await sidecar.start();
  const all = started.move();
  return {
    addresses,
    folder,
    sidecarLog: () => sidecar.lastLines(20),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function mariadbOptions({ server, serverKey, ca }: Certificates): readonly string[] {
  return [
    `--ssl-cert=${server}`,
    `--ssl-key=${serverKey}`,
    `--ssl-ca=${ca}`,
    '--performance-schema=ON',
    '--character-set-server=utf8mb4',
    '--log-bin',
    '--server-id=1',
  ];
}

/** MySQL makes itself a certificate, so the sidecar does not verify the server's. */
function configuration(addresses: ReadonlyMap<ServerName, Address>, { server, serverKey }: Certificates): string {
  const databases = [...addresses].flatMap(([name, { direct, plain, secure }]) => [
    `  - { name: ${name}, engine: mysql, mode: none, listen: "127.0.0.1:${plain}", upstream: "mysql://127.0.0.1:${direct}/test" }`,
    `  - name: ${name}-tls`,
    '    engine: mysql',
    '    mode: none',
    `    listen: 127.0.0.1:${secure}`,
    `    upstream: mysql://127.0.0.1:${direct}/test`,
    '    tls: { mode: require }',
    `    listenTls: { certificate: ${server}, key: ${serverKey}, mode: allow }`,
  ]);
  return [
    'service: drivers',
    'coordinator: { url: "http://127.0.0.1:1" }',
    'control: { listen: "127.0.0.1:0" }',
    'admin: { listen: "127.0.0.1:0" }',
    'log: { level: warn }',
    'databases:',
    ...databases,
    '',
  ].join('\n');
}
