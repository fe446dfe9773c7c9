import test from 'ava';
import { formatFaults } from '../../config/fault.ts';
import { loadCoordinatorConfig } from '../../config/load.ts';
import type { CoordinatorOptions } from '../../src/options.ts';
import { AUTHORITY, CERTIFICATE, KEY } from '../transport/certificates.ts';
import { stringsOf } from './support.ts';

const STRINGS = stringsOf({ CA: AUTHORITY, CERTIFICATE, KEY, NONE: '-----BEGIN CERTIFICATE-----\nx' });

function load(text: string): CoordinatorOptions {
  const loaded = loadCoordinatorConfig(text, 'c', STRINGS);
  if (loaded.kind === 'valid') return loaded.options;
  throw new Error(formatFaults(loaded.faults));
}

function faultsOf(text: string): string {
  const loaded = loadCoordinatorConfig(text, 'c', STRINGS);
  return loaded.kind === 'valid' ? 'none' : formatFaults(loaded.faults);
}

test('gRPC has an address of its own, or is off', (t) => {
  t.like(load(''), { grpc: { listen: { host: '127.0.0.1', port: 36790 } } });
  t.like(load('grpc: { listen: off }'), { grpc: { listen: 'off' } });
  t.regex(faultsOf('grpc: { listen: no }'), /expected an address such as 127\.0\.0\.1:9700, or off/);
  t.regex(faultsOf('grpc: { listen: 127.0.0.1:36789 }'), /grpc\.listen: listen listens there already/);
});

test('each listener that the network can reach without a token is worth a warning', (t) => {
  const open = loadCoordinatorConfig('listen: 0.0.0.0:1\ngrpc: { listen: "[::]:2" }\n', 'c', STRINGS);
  t.deepEqual(open.kind === 'valid' && open.warnings.map(({ path }) => path), ['listen', 'grpc.listen']);
});

test('a token for branches that anybody can have sent anywhere is worth a warning', (t) => {
  const warned = (text: string): unknown => {
    const loaded = loadCoordinatorConfig(text, 'c', stringsOf({ TOKEN: 'x', BRANCH: 'y' }));
    return loaded.kind === 'valid' && loaded.warnings.map(({ path }) => path);
  };
  t.deepEqual(warned('branchToken: "${env:BRANCH}"'), ['branchToken']);
  t.deepEqual(warned('branchToken: "${env:BRANCH}"\ntoken: "${env:TOKEN}"'), []);
  t.deepEqual(warned('branchToken: "${env:BRANCH}"\nbranches: { allow: ["http://orders:9702"] }'), []);
});

test('allowed origins are read as calls of branches have them', (t) => {
  t.like(load('branches: { allow: [HTTPS://Orders:443, "grpc://Stock:9000", "http://[::1]:80"] }'), {
    branches: { allow: ['https://orders', 'grpc://stock:9000', 'http://[::1]'] },
  });
  for (const origin of ['orders:9000', 'grpc://orders', 'http://a/b', 'http://u@a', 'ftp://a']) {
    t.regex(faultsOf(`branches: { allow: ["${origin}"] }`), /expected an origin such as/, origin);
  }
});

test('an allowed origin of gRPC is the one that a URL has, however its address is written', (t) => {
  t.like(load('branches: { allow: ["grpcs://[0:0::1]:09000", "grpc://0x7f000001:9000"] }'), {
    branches: { allow: ['grpcs://[::1]:9000', 'grpc://127.0.0.1:9000'] },
  });
  t.regex(faultsOf('branches: { allow: ["grpc://a:0"] }'), /expected an origin such as/);
});

test('a token that no header can carry is refused at the start, without a word of it', (t) => {
  for (const token of ['two words', 'two\nlines', 'schön', 'tab\there', '']) {
    const strings = stringsOf({ TOKEN: token });
    for (const option of [
      'token: "${env:TOKEN}"',
      'branchToken: "${env:TOKEN}"',
      'webhooks: { completion: { url: "http://a", token: "${env:TOKEN}" } }',
      'webhooks: { alert: { url: "http://a", token: "${env:TOKEN}" } }',
    ]) {
      const loaded = loadCoordinatorConfig(option, 'c', strings);
      const faults = loaded.kind === 'valid' ? 'none' : formatFaults(loaded.faults);
      t.regex(faults, /expected a text of visible ASCII characters/, `${option} ${JSON.stringify(token)}`);
      if (token !== '') t.false(faults.includes(token));
    }
  }
  t.is(load('token: "!aZ0-._~+/="').token?.reveal(), '!aZ0-._~+/=');
});

test('a hook whose URL has a user is refused, because nobody would be told who asks', (t) => {
  t.regex(
    faultsOf('webhooks: { completion: { url: "https://user:pass@hooks/x" } }'),
    /webhooks\.completion\.url: [^]*expected an http or https URL without user and password/,
  );
});

test('a body may be as large as a text of the language can be, on its way between coordinators too, and no larger', (t) => {
  t.like(load('limits: { body: 128MiB }'), { limits: { body: 128 * 1024 * 1024 } });
  for (const size of ['0B', '1023B', '129MiB', '900GiB']) {
    t.regex(faultsOf(`limits: { body: ${size} }`), /limits\.body: [^]*expected 1KiB to 128MiB/, size);
  }
});

test('a duration that would mean "at once, always" is refused', (t) => {
  for (const name of ['timeoutToFail', 'retryInterval', 'requestTimeout']) {
    for (const zero of ['0s', '0.4ms']) {
      t.regex(faultsOf(`dtm: { ${name}: ${zero} }`), new RegExp(`dtm\\.${name}: [^]*expected at least 1ms`));
    }
  }
});

test('certificates that no TLS connection could be made with are refused at the start, without a word of them', (t) => {
  const tls = (lines: string): string => `branches: { tls: { ${lines} } }`;
  t.like(load(tls('ca: "${env:CA}", certificate: "${env:CERTIFICATE}", key: "${env:KEY}"')), {
    branches: { tls: { ca: AUTHORITY } },
  });
  for (const lines of [
    'ca: nothing',
    'ca: "${env:NONE}"',
    'certificate: "${env:CERTIFICATE}"',
    'key: "${env:KEY}"',
    'certificate: "${env:CA}", key: "${env:KEY}"',
  ]) {
    const fault = faultsOf(tls(lines));
    t.regex(fault, /expected (?:certificates in PEM|PEM texts)/, lines);
    t.notRegex(fault, /BEGIN/);
  }
});
