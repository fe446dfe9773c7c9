import test from 'ava';
import { loadSidecarConfig } from '../../config/load.ts';
import { SIDECAR, stringsOf } from './support.ts';

/** The faults of one outbound route, `path: message | expected`; the route is what is valid. */
function faultsOf(route: string): readonly string[] {
  const text = `service: orders\ncoordinator: { url: http://127.0.0.1:36789 }\noutbound:\n  routes:\n${route}`;
  const loaded = loadSidecarConfig(text, 'sidecar.yaml', stringsOf({ HOST: 'hotel:9700', ODD: 'a${gid}' }));
  if (loaded.kind === 'valid') return [];
  return loaded.faults.map(({ path, message, expected }) => `${path}: ${message} | ${expected ?? ''}`);
}

const VALID: Readonly<Record<string, string>> = {
  'a short TCC': `
    - match: POST http://hotel/rooms/{room}/try
      tcc: { confirm: POST http://hotel/confirm, cancel: "POST http://hotel/cancel/\${path.room}" }
`,
  'the long form, with the environment and the call in one text': `
    - match: POST http://\${env:HOST}/{room}/*/**
      saga:
        compensate:
          request: DELETE http://\${env:HOST}/\${path.room}/\${response.json.id}
          headers: { x-key: "\${env:ODD} \${request.header.X-Key}" }
          body: '{"why":"$\${not a placeholder}","n":\${request.json.a.0.b}}'
      timeout: 5s
      retry: {}
      results: { success: [2xx, 404], failure: [409], ongoing: [425, 500-503] }
`,
  'a message': '    - { match: "* http://mail/**", message: { delay: 1s, attempts: 3, retryInterval: 1m } }\n',
  gRPC: '    - { match: "grpc://p/a.B/C", saga: { compensate: "grpc://p:9700/a.B/D" } }\n',
  'a safe method with tries': '    - { match: GET http://h/x, retry: { attempts: 2 }, timeout: 1s }\n',
};

for (const [name, route] of Object.entries(VALID)) {
  test(`a route may be: ${name}`, (t) => t.deepEqual(faultsOf(route), []));
}

const FAULTS: readonly (readonly [route: string, fault: RegExp])[] = [
  ['{ match: http://h/x }', /routes\[0\]\.match: found "http:\/\/h\/x" \| a method and a URL/],
  ['{ match: POST http://h, message: {} }', /match: .* a method and a URL/],
  ['{ match: POST http://u@h/x, message: {} }', /match: /],
  ['{ match: "POST http://h/a{b}", message: {} }', /match: .* whole segments/],
  ['{ match: "POST http://h/{b}/{b}", message: {} }', /match: .* a name of its own/],
  ['{ match: "grpc://h/x", message: {} }', /match: /],
  [
    '{ match: POST http://h/x, saga: { compensate: POST http://h/y }, message: {} }',
    /routes\[0\]: .* one of saga, message/,
  ],
  [
    '{ match: POST http://h/x, saga: { compensate: http://h/y } }',
    /saga\.compensate: found "http:\/\/h\/y" \| a method/,
  ],
  [
    '{ match: POST http://h/x, saga: { compensate: { headers: {} } } }',
    /compensate\.request: the option "request" is missing/,
  ],
  ['{ match: POST http://h/x, saga: { compensate: { reqest: a } } }', /compensate\.reqest: unknown option/],
  ['{ match: POST http://h/x, saga: { compensate: "POST http://h/${path.a}" } }', /compensate: .* it has none/],
  ['{ match: POST http://h/x, saga: { compensate: "POST http://h/${request.bdy.a}" } }', /compensate: .* in place of/],
  ['{ match: POST http://h/x, saga: { compensate: "POST http://${gid}/" } }', /compensate: .* scheme, host and port/],
  ['{ match: POST http://h/x, saga: { compensate: "POST http://h/${env:NONE}" } }', /NONE is not set/],
  ['{ match: POST http://h/x, saga: { compensate: "grpc://h:1/a.B/C" } }', /an HTTP operation for a call over HTTP/],
  ['{ match: grpc://h/a.B/C, saga: { compensate: POST http://h/x } }', /a gRPC operation for a call over gRPC/],
  [
    '{ match: grpc://h/a.B/C, saga: { compensate: { request: "grpc://h:1/a.B/C", body: x } } }',
    /compensate\.body: .* no body/,
  ],
  ['{ match: grpc://h/a.B/C, saga: { compensate: grpc://h/a.B/C } }', /compensate: .* host:port/],
  [
    '{ match: POST http://h/x, saga: { compensate: { request: POST http://h/y, body: "a${gid}" } } }',
    /compensate\.body: .* JSON/,
  ],
  [
    '{ match: POST http://h/x, saga: { compensate: { request: POST http://h/y, headers: { X-A: b } } } }',
    /"X-A" is not allowed/,
  ],
  [
    '{ match: POST http://h/x, saga: { compensate: { request: POST http://h/y, headers: { host: b } } } }',
    /headers\.host: .* no header of the connection/,
  ],
  [
    '{ match: grpc://h/a.B/C, saga: { compensate: { request: "grpc://h:1/a.B/C", headers: { "a!b": c } } } }',
    /headers\["a!b"\]: .* over gRPC/,
  ],
  ['{ match: POST http://h/x, message: { delay: 31d } }', /message\.delay: .* at most 30d/],
  ['{ match: POST http://h/x, message: {}, timeout: 0s }', /timeout: .* from 1ms to 1d/],
  ['{ match: POST http://h/x, message: { body: x } }', /unknown option "body"/],
  ['{ match: POST http://h/x, message: {}, retry: {} }', /retry: .* in place of retry/],
  ['{ match: POST http://h/x, retry: {} }', /retry: .* one of the methods GET, HEAD, OPTIONS/],
  ['{ match: GET http://h/x, results: {} }', /results: .* no results without/],
  ['{ match: POST http://h/x, message: {}, results: { failure: [4xx], ongoing: [425] } }', /means two things/],
  [
    '{ match: POST http://h/x, message: {}, results: { failure: [abc] } }',
    /failure\[0\]: found "abc" \| a status such as 409/,
  ],
  ['{ match: POST http://h/x, message: {}, results: { failure: [600] } }', /failure\[0\]: /],
  ['{ match: POST http://h/x, message: {}, results: { failure: [500-400] } }', /failure\[0\]: /],
];

for (const [route, fault] of FAULTS) {
  test(`a route is refused: ${route}`, (t) => {
    const faults = faultsOf(`    - ${route}\n`);
    t.is(faults.length, 1, faults.join('\n'));
    t.regex(faults[0] ?? '', fault);
  });
}

test('a placeholder outside of a template is a reference that cannot be followed', (t) => {
  const loaded = loadSidecarConfig(`${SIDECAR}admin: { listen: "\${gid}" }\n`, 's', stringsOf());
  t.is(loaded.kind, 'invalid');
});

const INBOUND = 'inbound:\n  target: http://127.0.0.1:1\n';

test('the database of the barrier exists, and messages have one', (t) => {
  const find = (more: string): readonly string[] => {
    const loaded = loadSidecarConfig(`${SIDECAR}${more}`, 's', stringsOf());
    return loaded.kind === 'valid' ? [] : loaded.faults.map(({ path, message }) => `${path}: ${message}`);
  };
  const begin = (how: string): string => `  transactions: [{ match: POST /x, begin: { ${how} } }]\n`;
  t.deepEqual(find(`${INBOUND}  barrier: books\n`), ['inbound.barrier: there is no database books']);
  t.deepEqual(find(`${INBOUND}  barrier: off\n`), []);
  t.regex(find(INBOUND + begin('message: true')).join(''), /begin\.message: a message follows a local transaction/);
  t.regex(find(INBOUND + begin('message: true, workflow: true')).join(''), /begin\.workflow: .* a message already/);
  t.deepEqual(find(INBOUND + begin('workflow: true')), []);
  t.regex(find(`${INBOUND}  protocol: h2c\n${begin('workflow: true')}`).join(''), /begin\.workflow: .* over HTTP\/1/);
});
