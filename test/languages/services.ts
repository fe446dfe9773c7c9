/** The services of examples/languages: what each is made ready with, how it is started, and whom it calls. */
import { readdir, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execute, type Finished } from '../dtm-clients/suites.ts';

export type Language = 'python' | 'go' | 'java' | 'php';
/** Of the service, and of its database. */
export type ServiceName = 'orders' | 'stock' | 'payments' | 'points';

export interface Service {
  readonly name: ServiceName;
  readonly language: Language;
  /** The folder with its sources, its tables and the options of its sidecar. */
  readonly folder: string;
  /** Which of the two servers has its database. */
  readonly server: 0 | 1;
  /** Fetches what it is built on and compiles it, into the folder `scratch` where that leaves anything. */
  prepare(scratch: string): Promise<Finished>;
  start(scratch: string, surroundings: Surroundings): Promise<Start>;
}

/** Where a service finds everything: the application knows nothing more of the sidecar than these addresses. */
export interface Surroundings {
  /** That the service listens on. */
  readonly port: string;
  readonly database: Readonly<Record<'host' | 'port' | 'user' | 'password', string>>;
  /** The outbound listener of its own sidecar. */
  readonly outboundUrl: string;
  /** Where a service takes calls of others: the inbound listener of its sidecar. */
  readonly doorUrl: (service: ServiceName) => string;
}

/** A process to be started. */
export interface Start {
  readonly program: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const EXAMPLES = fileURLToPath(new URL('../../examples/languages', import.meta.url));
const PREPARE_MS = 600_000;
const NOTHING_TO_DO: Finished = { isOk: true, output: '' };

const orders: Service = {
  name: 'orders',
  language: 'python',
  folder: join(EXAMPLES, 'python'),
  server: 0,
  async prepare(scratch) {
    const made = await run(this.folder, 'python3', ['-m', 'venv', join(scratch, 'venv')]);
    if (!made.isOk) return made;
    const install = ['install', '--quiet', '--disable-pip-version-check', '-r', 'requirements.txt'];
    return run(this.folder, join(scratch, 'venv', 'bin', 'pip'), install);
  },
  start: async (scratch, { port, database, outboundUrl, doorUrl }) => ({
    program: join(scratch, 'venv', 'bin', 'uvicorn'),
    command: [
      '--app-dir',
      join(EXAMPLES, 'python'),
      '--host',
      '127.0.0.1',
      '--port',
      port,
      '--log-level',
      'warning',
      'app:app',
    ],
    environment: {
      PYTHONDONTWRITEBYTECODE: '1',
      ...libpq(database, 'orders'),
      HTTP_PROXY: outboundUrl,
      STOCK_URL: doorUrl('stock'),
      PAYMENTS_URL: doorUrl('payments'),
      POINTS_URL: doorUrl('points'),
    },
  }),
};

const stock: Service = {
  name: 'stock',
  language: 'go',
  folder: join(EXAMPLES, 'go'),
  server: 1,
  // Whatever GOFLAGS says, go.mod stays as it is.
  prepare(scratch) {
    return run(this.folder, 'go', ['build', '-mod=readonly', '-o', join(scratch, 'stock'), '.']);
  },
  start: async (scratch, { port, database, outboundUrl }) => ({
    program: join(scratch, 'stock'),
    command: [],
    environment: { PORT: port, ...libpq(database, 'stock'), MAIL_URL: `${outboundUrl}/mail` },
  }),
};

const payments: Service = {
  name: 'payments',
  language: 'java',
  folder: join(EXAMPLES, 'java'),
  server: 0,
  async prepare(scratch) {
    const list = ['dependency:build-classpath', `-Dmdep.outputFile=${join(scratch, 'classpath')}`];
    const fetched = await run(this.folder, 'mvn', ['--batch-mode', '--quiet', ...list]);
    if (!fetched.isOk) return fetched;
    const sources = await readdir(join(this.folder, 'src'), { recursive: true });
    const files = sources.filter((name) => name.endsWith('.java')).map((name) => join('src', name));
    const libraries = await readFile(join(scratch, 'classpath'), 'utf8');
    // Spring finds parameters by their names.
    return run(this.folder, 'javac', ['-parameters', '-d', join(scratch, 'java'), '-cp', libraries.trim(), ...files]);
  },
  async start(scratch, { port, database, outboundUrl }) {
    const libraries = await readFile(join(scratch, 'classpath'), 'utf8');
    const folders = [join(scratch, 'java'), join(this.folder, 'src', 'main', 'resources'), libraries.trim()];
    return {
      program: 'java',
      // A short life: what is compiled once is good enough.
      command: ['-XX:TieredStopAtLevel=1', '-cp', folders.join(delimiter), 'shop.payments.PaymentsApplication'],
      environment: {
        PORT: port,
        SPRING_DATASOURCE_URL: `jdbc:postgresql://${database.host}:${database.port}/payments`,
        SPRING_DATASOURCE_USERNAME: database.user,
        SPRING_DATASOURCE_PASSWORD: database.password,
        POINTS_URL: `${outboundUrl}/points`,
      },
    };
  },
};

const points: Service = {
  name: 'points',
  language: 'php',
  folder: join(EXAMPLES, 'php'),
  server: 1,
  prepare: async () => NOTHING_TO_DO,
  start: async (_scratch, { port, database, outboundUrl, doorUrl }) => ({
    program: 'php',
    command: ['-q', '-S', `127.0.0.1:${port}`, join(EXAMPLES, 'php', 'index.php')],
    environment: {
      ...libpq(database, 'points'),
      http_proxy: outboundUrl,
      STOCK_URL: doorUrl('stock'),
    },
  }),
};

/** In the order in which an order passes through them. */
export const SERVICES: readonly Service[] = [orders, stock, payments, points];

/** The environment that libpq and what follows it connect by. */
function libpq(database: Surroundings['database'], name: ServiceName): Readonly<Record<string, string>> {
  const { host, port, user, password } = database;
  return { PGHOST: host, PGPORT: port, PGUSER: user, PGPASSWORD: password, PGDATABASE: name };
}

function run(folder: string, program: string, args: readonly string[]): Promise<Finished> {
  return execute(program, args, { folder, withinMs: PREPARE_MS });
}
