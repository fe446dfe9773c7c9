import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { age, oneLine, textTable } from '../../cli/table.ts';
import { folder, ROOT, run } from './support.ts';

test('the version is that of the package', async (t) => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  t.like(await run(t, ['--version']), { code: 0, out: `${version}\n` });
});

test('help is no error and names every command', async (t) => {
  const { code, out } = await run(t, ['--help']);
  t.is(code, 0);
  for (const name of ['coordinator', 'sidecar', 'run', 'db', 'tx', 'config', 'health', 'demo']) {
    t.regex(out, new RegExp(`^  ${name}\\b`, 'm'));
  }
});

const MISUSED: readonly (readonly string[])[] = [
  ['nothing-like-this'],
  ['sidecar'],
  ['run'],
  ['run', '--config', 'x.yaml'],
  ['run', '--config', 'x.yaml', '--port', '70000', '--', 'true'],
  ['run', '--config', 'x.yaml', '--env', 'NOT_SET_AT_ALL', '--', 'true'],
  ['run', '--config', 'x.yaml', '--trace-agent', 'cobol', '--', 'true'],
  ['coordinator', '--confg', 'x'],
  ['tx', 'show'],
  ['tx', 'show', 'not a gid'],
  ['tx', 'list', '--status', 'lost'],
  ['tx', 'list', '--limit', '0'],
  ['tx', 'list', '--url', 'coordinator:36789'],
  ['config', 'check', 'x.yaml', '--kind', 'mesh'],
  ['health', 'localhost'],
];

for (const words of MISUSED) {
  test(`a wrong command line ends with 64 and says why: ${words.join(' ')}`, async (t) => {
    const { code, out, err } = await run(t, words);
    t.is(code, 64, err);
    t.is(out, '');
    t.not(err, '');
  });
}

test('every fault of a configuration file is printed, and ends with 78', async (t) => {
  const file = folder(t).file('s.yaml', 'service: Orders\ncoordinatr: {}\noutbound: {}\n');
  for (const words of [
    ['config', 'check', file],
    ['sidecar', '--config', file],
    ['db', 'init', '--config', file],
  ]) {
    const { code, out, err } = await run(t, words);
    t.is(code, 78, err);
    t.is(out, '');
    t.regex(err, /s\.yaml:1:1: coordinator: the option "coordinator" is missing/);
    t.regex(err, /s\.yaml:1:10: service: found "Orders"/);
    t.regex(err, /s\.yaml:2:1: coordinatr: unknown option "coordinatr"\n {4}did you mean "coordinator"\?/);
  }
});

test('a configuration file that cannot be read ends with 78', async (t) => {
  const { code, err } = await run(t, ['coordinator', '--config', '/nowhere/c.yaml']);
  t.is(code, 78);
  t.is(err, '/nowhere/c.yaml:1:1: the file cannot be used: there is no such file\n');
});

test('a right file is said to be right, warnings go to standard error without the secret', async (t) => {
  const file = folder(t).file('c.yaml', 'token: canary-7f3a\n');
  const { code, out, err } = await run(t, ['config', 'check', file]);
  t.is(code, 0);
  t.is(out, `${file} is right for a coordinator, with 1 warning\n`);
  t.regex(err, /c\.yaml:1:8: token: a secret is written in this file/);
  t.notRegex(out + err, /canary/);
});

test('the examples are right', async (t) => {
  const env = { ORDERS_DB_PASSWORD: 'x' };
  for (const kind of ['sidecar', 'coordinator']) {
    const { code, out, err } = await run(t, ['config', 'check', `config/${kind}.example.yaml`], { cwd: ROOT, env });
    t.is(code, 0, err);
    t.regex(out, new RegExp(`is right for a ${kind}\n$`));
  }
});

test('tables have columns as wide as their cells and no control characters', (t) => {
  t.is(
    textTable(
      ['A', 'LONG'],
      [
        ['wide cell', 'x'],
        ['\u001b[2J', ''],
      ],
    ),
    'A          LONG\nwide cell  x\n?[2J',
  );
  t.is(oneLine('a\r\nb\u0085c'), 'a?b?c');
  t.is(textTable(['A'], []), 'A');
});

test('ages are as exact as a person wants them', (t) => {
  t.deepEqual([-5, 0, 350, 999, 1000, 59_999, 192_000, 3_600_000, 18_240_000, 183_600_000].map(age), [
    '0ms',
    '0ms',
    '350ms',
    '999ms',
    '1s',
    '59s',
    '3m12s',
    '1h00m',
    '5h04m',
    '2d03h',
  ]);
});
