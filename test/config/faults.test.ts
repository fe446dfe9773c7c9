import test, { type ExecutionContext } from 'ava';
import type { ConfigFault } from '../../config/fault.ts';
import { loadCoordinatorConfig, loadSidecarConfig } from '../../config/load.ts';
import { SIDECAR, stringsOf } from './support.ts';

const NONE = stringsOf();

/** `line:column path: message | expected | suggestion`, so that a table of faults reads as one. */
function brief({ line, column, path, message, expected, suggestion }: ConfigFault): string {
  return [`${line}:${column} ${path}: ${message}`, expected ?? '', suggestion ?? ''].join(' | ').replace(/[ |]+$/, '');
}

function sidecarFaults(t: ExecutionContext, text: string, strings = NONE): readonly string[] {
  const loaded = loadSidecarConfig(text, 'sidecar.yaml', strings);
  if (loaded.kind === 'valid') return t.fail(`expected faults in ${text}`);
  return loaded.faults.map(brief);
}

function coordinatorFaults(t: ExecutionContext, text: string): readonly string[] {
  const loaded = loadCoordinatorConfig(text, 'coordinator.yaml', NONE);
  if (loaded.kind === 'valid') return t.fail(`expected faults in ${text}`);
  return loaded.faults.map(brief);
}

test('an unknown option is found at its name, with the nearest known one', (t) => {
  const text = `${SIDECAR}limits:\n  sesions: 3\n`;
  t.deepEqual(sidecarFaults(t, text), [
    '5:3 limits.sesions: unknown option "sesions" | one of header, body, sessions, statement | sessions',
  ]);
});

test('an unknown option in a list has the index in its path', (t) => {
  const text = `${SIDECAR}inbound:
  target: http://127.0.0.1:3000
  transactions:
    - match: POST /orders
      begin: { timeout: 30s }
    - match: POST /baskets
      begin: { timout: 30s }
`;
  t.deepEqual(sidecarFaults(t, text), [
    '10:16 inbound.transactions[1].begin.timout: unknown option "timout" | one of message, workflow, timeout, rerunAfter, keyHeaders, commitOn, wait | timeout',
  ]);
});

test('the same word in another spelling is recognised, a far one is not', (t) => {
  t.deepEqual(sidecarFaults(t, `${SIDECAR}log: { LEVEL: info }\nshut_down: {}\nzzzzzz: 1\n`), [
    '4:8 log.LEVEL: unknown option "LEVEL" | one of level | level',
    '5:1 shut_down: unknown option "shut_down" | one of service, coordinator, inbound, outbound, control, admin, databases, propagation, limits, shutdown, log | shutdown',
    '6:1 zzzzzz: unknown option "zzzzzz" | one of service, coordinator, inbound, outbound, control, admin, databases, propagation, limits, shutdown, log',
  ]);
});

test('a missing option is found at the section that it is missing from', (t) => {
  t.deepEqual(sidecarFaults(t, 'service: orders\noutbound: {}\ncoordinator:\n  timeout: 5s\n'), [
    '3:1 coordinator.url: the option "url" is missing | a URL such as http://127.0.0.1:3000, without user, query or fragment',
  ]);
  const inList = `${SIDECAR}databases:\n  - name: orders\n    listen: 127.0.0.1:15432\n    credentials: { user: a }\n`;
  t.deepEqual(sidecarFaults(t, inList), [
    '5:5 databases[0].upstream: the option "upstream" is missing | a URL such as postgres://host:5432/database, without user and password (see credentials)',
  ]);
});

test('a file of comments only lacks what is required', (t) => {
  t.deepEqual(
    sidecarFaults(t, '# nothing yet\n').map((fault) => fault.split(' | ')[0]),
    ['1:1 service: the option "service" is missing', '1:1 coordinator: the option "coordinator" is missing'],
  );
  t.is(loadCoordinatorConfig('# all defaults\n', 'c.yaml', NONE).kind, 'valid');
});

const WRONG: readonly (readonly [lines: string, fault: string])[] = [
  ['limits: { sessions: many }', '4:21 limits.sessions: found "many" | a number'],
  ['limits: { sessions: 1.5 }', '4:21 limits.sessions: found the number 1.5 | a whole number'],
  ['limits: { sessions: 0 }', '4:21 limits.sessions: found the number 0 | at least 1'],
  [
    'limits: { header: 1KB }',
    '4:19 limits.header: found "1KB" | a size with its unit, such as 512B, 64KiB, 4MiB or 1GiB',
  ],
  [
    'shutdown: { grace: 30 }',
    '4:20 shutdown.grace: found the number 30 | a duration with its unit, such as 500ms, 30s, 5m, 2h or 7d',
  ],
  [
    'shutdown: { grace: soon }',
    '4:20 shutdown.grace: found "soon" | a duration with its unit, such as 500ms, 30s, 5m, 2h or 7d',
  ],
  [
    'shutdown: { grace: 99999999999999999999d }',
    '4:20 shutdown.grace: found "99999999999999999999d" | a duration with its unit, such as 500ms, 30s, 5m, 2h or 7d',
  ],
  [
    'admin: { listen: 9703 }',
    '4:18 admin.listen: found the number 9703 | an address such as 127.0.0.1:9700 or [::1]:9700',
  ],
  [
    'admin: { listen: "127.0.0.1:99999" }',
    '4:18 admin.listen: found "127.0.0.1:99999" | an address such as 127.0.0.1:9700 or [::1]:9700',
  ],
  ['admin: []', '4:8 admin: found a list | options, one a line'],
  ['control:', '4:9 control: found nothing | options, one a line'],
  ['databases: { name: x }', '4:12 databases: found options | a list, one "- " a line'],
  [
    'propagation: { aliases: [dtm-gid, 7] }',
    '4:35 propagation.aliases[1]: found the number 7 | the name of a header, such as dtm-gid',
  ],
  [
    'log: { level: Info }',
    '4:15 log.level: found "Info" | one of trace, debug, info, warn, error, fatal, silent | info',
  ],
  ['inbound: { target: http://127.0.0.1:3000, trustGid: no }', '4:53 inbound.trustGid: found "no" | true or false'],
];

for (const [lines, fault] of WRONG) {
  test(`a wrong value is found where it stands: ${lines}`, (t) => {
    t.deepEqual(sidecarFaults(t, `${SIDECAR}${lines}\n`), [fault]);
  });
}

test('a name that the table does not allow is found at the name', (t) => {
  const text =
    'service: a\ncoordinator: { url: http://c }\noutbound:\n  upstreams:\n    Big Hotel: { url: http://h }\n';
  t.deepEqual(sidecarFaults(t, text), [
    '5:5 outbound.upstreams["Big Hotel"]: the name "Big Hotel" is not allowed | a name of lower-case letters, digits and "-", such as hotel',
  ]);
});

test('a choice between stores explains the one that was meant', (t) => {
  t.deepEqual(coordinatorFaults(t, 'store: { sqlite: { pth: x } }'), [
    '1:10 store.sqlite.path: the option "path" is missing | the path of a file, such as /var/lib/atomesh/atomesh.db',
    '1:20 store.sqlite.pth: unknown option "pth" | one of path | path',
  ]);
  t.deepEqual(coordinatorFaults(t, 'store: { sqlit: { path: x } }'), [
    '1:10 store.sqlit: unknown option "sqlit" | one of sqlite, postgres, memory | sqlite',
  ]);
  t.deepEqual(coordinatorFaults(t, 'store: sqlite'), [
    '1:8 store: found "sqlite" | options: exactly one of sqlite, postgres, memory',
  ]);
  t.deepEqual(coordinatorFaults(t, 'store: { sqlite: { path: x }, memory: {} }'), [
    '1:1 store: the choice is not clear | exactly one of sqlite, postgres, memory',
  ]);
});

test('all faults are reported at once, in the order of the file', (t) => {
  const text = `service: Orders
coordinator: { url: nowhere }
databases:
  - name: orders
    listen: here
    upstream: postgres://db/orders
    credentials: { user: a, password: "\${env:MISSING}" }
    mode: uno
extra: 1
`;
  t.deepEqual(
    sidecarFaults(t, text).map((fault) => fault.split(':').slice(0, 2).join(':')),
    [
      '1:10 service',
      '2:21 coordinator.url',
      '5:13 databases[0].listen',
      '7:39 databases[0].credentials.password',
      '8:11 databases[0].mode',
      '9:1 extra',
    ],
  );
});

test('two databases must not share a name', (t) => {
  const database = (port: number) =>
    `  - { name: orders, listen: "127.0.0.1:${port}", upstream: postgres://db/x, credentials: { user: a } }\n`;
  t.deepEqual(sidecarFaults(t, `${SIDECAR}databases:\n${database(15432)}${database(15433)}`), [
    '6:13 databases[1].name: databases[0] has the name orders already',
  ]);
});

test('two listeners must not share an address, and an address for all hosts collides with each of them', (t) => {
  t.deepEqual(sidecarFaults(t, `${SIDECAR}control: { listen: 127.0.0.1:9701 }\n`), [
    '4:20 control.listen: outbound.listen listens there already',
  ]);
  t.deepEqual(sidecarFaults(t, `${SIDECAR}admin:\n  listen: 0.0.0.0:9702\n`), [
    '5:11 admin.listen: control.listen listens there already',
  ]);
  const free = `${SIDECAR}admin: { listen: 127.0.0.1:0 }\ncontrol: { listen: 127.0.0.1:0 }\n`;
  t.is(loadSidecarConfig(free, 's.yaml', NONE).kind, 'valid');
});

test('a sidecar without inbound, outbound and databases has nothing to do', (t) => {
  t.deepEqual(sidecarFaults(t, 'service: a\ncoordinator: { url: http://c }\n'), [
    '1:1 : there is nothing to do | at least one of inbound, outbound, databases',
  ]);
});

test('after a hundred faults only their number is reported', (t) => {
  const text = `${SIDECAR}${Array.from({ length: 250 }, (_, index) => `unknown${index}: 1\n`).join('')}`;
  const faults = sidecarFaults(t, text);
  t.is(faults.length, 101);
  t.is(faults.at(-1), '103:1 : and 150 more faults after this one');
});
