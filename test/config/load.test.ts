import test from 'ava';
import { readFileSync } from 'node:fs';
import { formatFaults } from '../../config/fault.ts';
import { defaultCoordinatorOptions, kindOf, loadCoordinatorConfig, loadSidecarConfig } from '../../config/load.ts';
import { nearest } from '../../config/nearest.ts';
import { schemaText } from '../../config/schema.ts';
import { SIDECAR, stringsOf } from './support.ts';

function committed(name: string): string {
  return readFileSync(new URL(`../../config/${name}`, import.meta.url), 'utf8');
}

test('the example of a sidecar loads, without a warning', (t) => {
  const strings = stringsOf({ ORDERS_DB_PASSWORD: 'x' });
  const loaded = loadSidecarConfig(committed('sidecar.example.yaml'), 'sidecar.example.yaml', strings);
  if (loaded.kind === 'invalid') return t.fail(formatFaults(loaded.faults));
  t.deepEqual(loaded.warnings, []);
  t.is(loaded.options.inbound?.transactions[1]?.begin.timeout, 60_000);
});

test('the example of a sidecar names every option, and the defaults that it shows are the defaults', (t) => {
  const minimal = `service: orders
coordinator: { url: http://127.0.0.1:36789 }
inbound: { target: http://127.0.0.1:3000 }
outbound: {}
databases:
  - { name: orders, listen: "127.0.0.1:15432", upstream: postgres://127.0.0.1:5432/orders, credentials: { user: atomesh } }
`;
  const strings = stringsOf({ ORDERS_DB_PASSWORD: 'x' });
  const example = loadSidecarConfig(committed('sidecar.example.yaml'), 'e', strings);
  const defaults = loadSidecarConfig(minimal, 'm', strings);
  if (example.kind === 'invalid' || defaults.kind === 'invalid') return t.fail();
  const shown = structuredClone({ ...example.options, databases: [], inbound: undefined, outbound: undefined });
  const real = structuredClone({ ...defaults.options, databases: [], inbound: undefined, outbound: undefined });
  t.deepEqual(shown, real);
  const own = { transactions: [], barrier: undefined, results: undefined };
  t.deepEqual({ ...example.options.inbound, ...own }, { ...defaults.options.inbound, ...own });
  const named = { upstreams: {}, routes: [] };
  t.deepEqual({ ...example.options.outbound, ...named }, { ...defaults.options.outbound, ...named });
  const [database] = defaults.options.databases;
  t.deepEqual({ ...example.options.databases[0], credentials: null }, { ...database, credentials: null });
});

test('the example of a coordinator is what runs without a file', (t) => {
  const loaded = loadCoordinatorConfig(committed('coordinator.example.yaml'), 'c', stringsOf());
  if (loaded.kind === 'invalid') return t.fail(formatFaults(loaded.faults));
  t.deepEqual(loaded.options, defaultCoordinatorOptions());
  t.deepEqual(loaded.warnings, []);
});

test('the files of the deployment load, without a warning', (t) => {
  const strings = stringsOf({ ATOMESH_TOKEN: 'x', ATOMESH_BRANCH_TOKEN: 'y', ORDERS_DB_PASSWORD: 'z' });
  const coordinator = loadCoordinatorConfig(committed('../deploy/coordinator.yaml'), 'coordinator.yaml', strings);
  const sidecar = loadSidecarConfig(committed('../deploy/orders.yaml'), 'orders.yaml', strings);
  for (const loaded of [coordinator, sidecar]) {
    if (loaded.kind === 'invalid') return t.fail(formatFaults(loaded.faults));
    t.deepEqual(loaded.warnings, []);
  }
});

for (const kind of ['sidecar', 'coordinator'] as const) {
  test(`the committed JSON Schema of the ${kind} is what its table says (npm run schemas)`, (t) => {
    t.is(committed(`${kind}.schema.json`), schemaText(kind));
  });

  test(`every option of the ${kind} says what it means`, (t) => {
    const silent: string[] = [];
    const visit = (schema: Readonly<Record<string, unknown>>, path: string): void => {
      const inner = [schema, ...((schema['anyOf'] as (typeof schema)[] | undefined) ?? [])];
      for (const part of inner) {
        for (const [name, child] of Object.entries((part['properties'] ?? {}) as Record<string, typeof schema>)) {
          if (typeof child['description'] !== 'string') silent.push(`${path}.${name}`);
          visit(child, `${path}.${name}`);
        }
        for (const key of ['items', 'additionalProperties']) {
          if (typeof part[key] === 'object') visit(part[key] as typeof schema, `${path}[]`);
        }
      }
    };
    visit(JSON.parse(schemaText(kind)) as Record<string, unknown>, '');
    t.deepEqual(silent, []);
  });
}

test('aliases may repeat what an anchor names', (t) => {
  const text = `${SIDECAR}inbound: { listen: &here "127.0.0.1:0", target: http://a }\nadmin: { listen: *here }\n`;
  const loaded = loadSidecarConfig(text, 's', stringsOf());
  if (loaded.kind === 'invalid') return t.fail(formatFaults(loaded.faults));
  t.deepEqual(loaded.options.admin.listen, { host: '127.0.0.1', port: 0 });
});

test('a listener that the network can reach without a token is worth a warning', (t) => {
  const open = loadSidecarConfig(`${SIDECAR}control: { listen: 0.0.0.0:9702 }\n`, 's', stringsOf());
  if (open.kind === 'invalid') return t.fail();
  t.deepEqual(
    open.warnings.map(({ line, column, expected }) => [line, column, expected?.split(/[:,]/)[0]]),
    [
      [4, 20, 'control.advertise'],
      [4, 20, 'control.token'],
    ],
  );
  const api = loadCoordinatorConfig('listen: "[::]:36789"\n', 'c', stringsOf());
  if (api.kind === 'invalid') return t.fail();
  t.is(api.warnings.length, 1);
});

test('what a file is for is told by its names', (t) => {
  t.is(kindOf(SIDECAR), 'sidecar');
  t.is(kindOf('databases: []'), 'sidecar');
  t.is(kindOf('listen: "a:1"'), 'coordinator');
  t.is(kindOf('['), 'coordinator');
});

test('faults print as lines that editors can follow', (t) => {
  const faults = [
    {
      file: 'a.yaml',
      line: 3,
      column: 7,
      path: 'log.lvel',
      message: 'unknown option "lvel"',
      expected: 'one of level',
      suggestion: 'level',
    },
    { file: 'a.yaml', line: 9, column: 1, path: '', message: 'there is nothing to do' },
  ];
  t.is(
    formatFaults(faults),
    'a.yaml:3:7: log.lvel: unknown option "lvel"\n    did you mean "level"? expected one of level\na.yaml:9:1: there is nothing to do',
  );
});

test('the nearest name is one that a person could have meant', (t) => {
  const known = ['timeout', 'transactions', 'target', 'listen', 'lockTimeout'];
  t.is(nearest('tiemout', known), 'timeout');
  t.is(nearest('lock-timeout', known), 'lockTimeout');
  t.is(nearest('transaction', known), 'transactions');
  t.is(nearest('listne', known), 'listen');
  t.is(nearest('port', known), undefined);
  t.is(nearest('', known), undefined);
});
