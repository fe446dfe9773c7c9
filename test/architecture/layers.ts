/**
 * Which part of the repository may use which. Arrows only go from the outside in: the engine decides and knows nothing,
 * the runner saves and performs, everything with a socket is outside. `src` never knows that `proxy` exists.
 */

/** A folder with everything below it that has no row of its own, or one file. */
export interface Layer {
  readonly name: string;
  /** Layers that it may import. */
  readonly uses: readonly string[];
  /** Layers of which it may import types only: what it implements or is handed, not what it calls. */
  readonly usesTypesOf?: readonly string[];
}

const COORDINATOR = [
  'src/dtm',
  'src/grpc',
  'src/webhook',
  'src/peers',
  'src/http',
  'src/runner',
  'src/store',
  'src/transport',
  'src/engine',
  'src/options.ts',
];
const SIDECAR = [
  'proxy/inbound',
  'proxy/workflow',
  'proxy/transaction',
  'proxy/outbound',
  'proxy/http2',
  'proxy/http1',
  'proxy/http',
  'proxy/routes',
  'proxy/postgres',
  'proxy/mysql',
  'proxy/relay',
  'proxy/wire',
  'proxy/branch',
  'proxy/sql',
  'proxy/binding',
  'proxy/options.ts',
];
const GROUND = ['src/contract', 'src/platform'];
/** What the client library can do, each in a folder of its own. */
const EXAMPLES = [
  'examples/flash-sale',
  'examples/cache-invalidation',
  'examples/saga-transfer',
  'examples/tcc-order',
  'examples/xa-two-databases',
  'examples/message-with-transaction',
  'examples/workflow-trip',
  'examples/opentelemetry',
];
const EVERYTHING = [
  'cli',
  'config',
  'examples/demo',
  'examples/shop',
  'examples/support',
  'examples/stage.ts',
  'examples/run.ts',
  ...EXAMPLES,
  'proxy',
  'proxy/postgres/wire',
  'proxy/mysql/wire',
  'src/client',
  'src/coordinator.ts',
  ...COORDINATOR,
  ...SIDECAR,
  ...GROUND,
];

export const LAYERS: readonly Layer[] = [
  { name: 'src/contract', uses: [] },
  { name: 'src/platform', uses: ['src/contract'] },
  { name: 'src/options.ts', uses: GROUND },

  { name: 'src/engine', uses: ['src/contract'] },
  { name: 'src/runner', uses: ['src/engine', ...GROUND] },
  { name: 'src/store', uses: ['src/engine', ...GROUND], usesTypesOf: ['src/runner'] },
  { name: 'src/transport', uses: GROUND, usesTypesOf: ['src/runner'] },
  { name: 'src/dtm', uses: ['src/runner', 'src/engine', ...GROUND] },
  { name: 'src/webhook', uses: ['src/runner', 'src/engine', ...GROUND] },
  { name: 'src/grpc', uses: ['src/runner', ...GROUND], usesTypesOf: ['src/dtm', 'src/engine'] },
  { name: 'src/peers', uses: ['src/runner', ...GROUND], usesTypesOf: ['src/engine', 'src/http'] },
  { name: 'src/http', uses: ['src/dtm', 'src/runner', 'src/engine', ...GROUND] },
  { name: 'src/client', uses: ['src/grpc', ...GROUND] },
  { name: 'src/coordinator.ts', uses: [...COORDINATOR, ...GROUND] },

  { name: 'proxy/routes', uses: GROUND },
  { name: 'proxy/database-options.ts', uses: GROUND },
  { name: 'proxy/options.ts', uses: ['proxy/database-options.ts', 'proxy/routes', ...GROUND] },
  { name: 'proxy/binding', uses: GROUND, usesTypesOf: ['proxy/options.ts'] },
  { name: 'proxy/sql', uses: GROUND },
  { name: 'proxy/branch', uses: ['proxy/sql', 'src/client', ...GROUND], usesTypesOf: ['proxy/options.ts'] },
  { name: 'proxy/http', uses: GROUND, usesTypesOf: ['proxy/routes', 'proxy/branch', 'proxy/options.ts'] },
  { name: 'proxy/http1', uses: ['proxy/http', ...GROUND] },
  { name: 'proxy/http2', uses: ['proxy/http', ...GROUND], usesTypesOf: ['proxy/http1'] },
  {
    name: 'proxy/outbound',
    uses: ['proxy/transaction', 'proxy/http', 'proxy/http1', 'proxy/http2', 'proxy/routes', 'proxy/binding', ...GROUND],
    usesTypesOf: ['src/client', 'proxy/options.ts'],
  },
  {
    name: 'proxy/transaction',
    uses: GROUND,
    usesTypesOf: ['proxy/http', 'src/client'],
  },
  {
    name: 'proxy/workflow',
    uses: ['proxy/transaction', 'proxy/http', ...GROUND],
    usesTypesOf: ['proxy/branch', 'proxy/outbound', 'src/client'],
  },
  {
    name: 'proxy/inbound',
    uses: [
      'proxy/transaction',
      'proxy/http',
      'proxy/http1',
      'proxy/http2',
      'proxy/routes',
      'proxy/binding',
      'proxy/branch',
      ...GROUND,
    ],
    usesTypesOf: ['proxy/workflow', 'src/client', 'proxy/options.ts'],
  },
  { name: 'proxy/wire', uses: GROUND },
  { name: 'proxy/postgres/wire', uses: ['proxy/wire', ...GROUND] },
  { name: 'proxy/mysql/wire', uses: ['proxy/wire', ...GROUND] },
  { name: 'proxy/relay', uses: GROUND, usesTypesOf: ['proxy/options.ts'] },
  {
    name: 'proxy/mysql',
    uses: ['proxy/mysql/wire', 'proxy/relay', 'proxy/sql', 'proxy/branch', 'proxy/binding', 'src/client', ...GROUND],
    usesTypesOf: ['proxy/options.ts'],
  },
  {
    name: 'proxy/postgres',
    uses: ['proxy/postgres/wire', 'proxy/relay', 'proxy/sql', 'proxy/branch', 'proxy/binding', 'src/client', ...GROUND],
    usesTypesOf: ['proxy/options.ts'],
  },
  { name: 'proxy', uses: ['proxy/postgres/wire', 'src/client', ...SIDECAR, ...GROUND] },

  { name: 'config', uses: ['src/options.ts', 'proxy/options.ts', ...GROUND] },
  {
    name: 'cli',
    uses: [
      'config',
      'src/coordinator.ts',
      'proxy',
      'proxy/postgres',
      'proxy/mysql',
      'src/client',
      'examples/demo',
      ...GROUND,
    ],
    usesTypesOf: ['src/options.ts', 'proxy/options.ts'],
  },

  { name: 'examples/support', uses: ['src/client', ...GROUND] },
  { name: 'examples/stage.ts', uses: ['examples/demo', 'examples/support', 'src/client', ...GROUND] },
  ...EXAMPLES.map((name) => ({
    name,
    uses: ['examples/demo', 'examples/support', 'examples/stage.ts', 'src/client', ...GROUND],
  })),
  { name: 'examples/run.ts', uses: [...EXAMPLES, 'examples/stage.ts'] },
  { name: 'examples/shop', uses: ['examples/support', 'src/client', ...GROUND] },
  { name: 'examples/demo', uses: ['examples/shop', 'examples/support', 'src/client', ...GROUND] },
  { name: 'ava.config.js', uses: [] },
  { name: 'bench', uses: EVERYTHING },
  { name: 'test', uses: ['bench', ...EVERYTHING] },
];
