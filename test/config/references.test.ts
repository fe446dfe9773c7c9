import test from 'ava';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { formatFaults } from '../../config/fault.ts';
import { loadCoordinatorConfig, loadSidecarConfig } from '../../config/load.ts';
import { readText } from '../../config/strings.ts';
import { SIDECAR, stringsOf } from './support.ts';

const CANARY = 'canary-7f3a';

function faultsOf(text: string, strings = stringsOf()): readonly string[] {
  const loaded = loadSidecarConfig(`${SIDECAR}${text}`, 's.yaml', strings);
  return loaded.kind === 'valid' ? [] : loaded.faults.map((f) => `${f.line}:${f.column} ${f.path}: ${f.message}`);
}

test('variables and files are put into texts, more than once and beside other text', (t) => {
  const strings = stringsOf({ HOST: '10.0.0.7', PORT: '9999', SCHEME: 'https' }, { '/run/token': `${CANARY}\n` });
  const text = 'listen: ${env:HOST}:${env:PORT}\ntoken: ${file:/run/token}\n';
  const loaded = loadCoordinatorConfig(text, 'c.yaml', strings);
  if (loaded.kind === 'invalid') return t.fail(formatFaults(loaded.faults));
  t.deepEqual(loaded.options.listen, { host: '10.0.0.7', port: 9999 });
  t.is(loaded.options.token?.reveal(), CANARY);
});

test('what is put in stays text: it is neither read as YAML nor expanded again', (t) => {
  const strings = stringsOf({ TRICK: '${env:OTHER} # ]}: &x *x' });
  const loaded = loadCoordinatorConfig('store:\n  sqlite:\n    path: ${env:TRICK}\n', 'c.yaml', strings);
  if (loaded.kind === 'invalid') return t.fail(formatFaults(loaded.faults));
  t.deepEqual(loaded.options.store, { sqlite: { path: '${env:OTHER} # ]}: &x *x' } });
});

test('a doubled dollar stands for a plain one before a brace', (t) => {
  const loaded = loadCoordinatorConfig('token: a$${env:X}$b\n', 'c.yaml', stringsOf());
  if (loaded.kind === 'invalid') return t.fail(formatFaults(loaded.faults));
  t.is(loaded.options.token?.reveal(), 'a${env:X}$b');
});

test('a variable that is not set is found where it is referred to, and nothing else is said about that value', (t) => {
  t.deepEqual(faultsOf('log: { level: "${env:LEVEL}" }\n'), [
    '4:15 log.level: the environment variable LEVEL is not set',
  ]);
});

test('a variable that is set to nothing is a value like any other', (t) => {
  t.deepEqual(faultsOf('log: { level: "${env:LEVEL}" }\n', stringsOf({ LEVEL: '' })), [
    '4:15 log.level: found "${env:LEVEL}"',
  ]);
});

test('a file that cannot be used is found where it is referred to', (t) => {
  t.deepEqual(faultsOf('control:\n  token: ${file:/run/nothing}\n'), [
    '5:10 control.token: the file "/run/nothing" cannot be used: there is no such file',
  ]);
});

test('every reference in a text is checked', (t) => {
  t.deepEqual(faultsOf('control:\n  token: ${env:A} ${env:2} ${file:relative} ${x} ${env:B\n'), [
    '5:10 control.token: the environment variable A is not set',
    '5:10 control.token: "${env:2}" is no reference that can be followed',
    '5:10 control.token: the path of "${file:relative}" is not absolute',
    '5:10 control.token: "${x}" is no reference that can be followed',
    '5:10 control.token: a reference is not closed with "}"',
  ]);
});

test('a secret in the file is a warning at its place, and so is every one of them', (t) => {
  const text = `${SIDECAR}control:\n  token: ${CANARY}\ndatabases:
  - name: orders
    listen: 127.0.0.1:15432
    upstream: postgres://db/orders
    credentials: { user: a, password: ${CANARY} }
`;
  const loaded = loadSidecarConfig(text, 's.yaml', stringsOf());
  if (loaded.kind === 'invalid') return t.fail(formatFaults(loaded.faults));
  t.deepEqual(
    loaded.warnings.map((f) => `${f.line}:${f.column} ${f.path}: ${f.message}`),
    [
      '5:10 control.token: a secret is written in this file',
      '10:39 databases[0].credentials.password: a secret is written in this file',
    ],
  );
});

test('no secret and no variable ever shows in options, faults or warnings', (t) => {
  const strings = stringsOf({ S: CANARY, BAD: `not a level ${CANARY}` }, { '/s': CANARY });
  const good = `token: ${CANARY}\nbranchToken: \${file:/s}\n`;
  const bad = `token: [${CANARY}]\nbranchToken: { a: ${CANARY} }\nlog: { level: "\${env:BAD}" }\nlisten: "\${env:S}"\n`;
  for (const text of [good, bad]) {
    const loaded = loadCoordinatorConfig(text, 'c.yaml', strings);
    const shown = [inspect(loaded, { depth: 20 }), JSON.stringify(loaded)];
    shown.push(formatFaults(loaded.kind === 'valid' ? loaded.warnings : loaded.faults));
    for (const output of shown) t.false(output.includes(CANARY), output);
  }
});

test('a number where a secret belongs is not shown either', (t) => {
  const loaded = loadCoordinatorConfig('token: 77665544\n', 'c.yaml', stringsOf());
  if (loaded.kind === 'valid') return t.fail();
  t.is(loaded.faults[0]?.message, 'found a number (write it in quotes)');
});

test('only regular files of UTF-8 text within the limit are read', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'atomesh-config-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  t.deepEqual(readText(file('good', 'grün'), 100), { kind: 'text', text: 'grün' });
  t.deepEqual(readText(file('exact', 'x'.repeat(2048)), 2048), { kind: 'text', text: 'x'.repeat(2048) });
  t.deepEqual(readText(file('long', 'x'.repeat(2049)), 2048), { kind: 'failed', reason: 'it is larger than 2 KiB' });
  t.deepEqual(readText(file('bytes', new Uint8Array([0xff])), 9), { kind: 'failed', reason: 'it is not UTF-8 text' });
  t.deepEqual(readText(folder, 9), { kind: 'failed', reason: 'it is not a regular file' });
  t.deepEqual(readText('/dev/zero', 9), { kind: 'failed', reason: 'it is not a regular file' });
  t.deepEqual(readText(join(folder, 'none'), 9), { kind: 'failed', reason: 'there is no such file' });
});
