import test, { type ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { folder, ROOT } from './support.ts';

const exec = promisify(execFile);

interface Checkout {
  readonly path: string;
  readonly setup: (...words: readonly string[]) => Promise<{ code: number; out: string; err: string }>;
}

/** A checkout of one dependency, and an npm that installs it by writing what npm leaves behind. */
function checkout(t: ExecutionContext, npm: string): Checkout {
  const { path } = folder(t);
  mkdirSync(join(path, 'cli'));
  mkdirSync(join(path, 'path'));
  cpSync(join(ROOT, 'cli', 'setup.mjs'), join(path, 'cli', 'setup.mjs'));
  writeFileSync(join(path, 'package-lock.json'), lock('sha512-new'));
  writeFileSync(join(path, 'path', 'npm'), `#!/bin/sh\n${npm}\n`);
  chmodSync(join(path, 'path', 'npm'), 0o755);
  return {
    path,
    setup: async (...words) => {
      const env = { ...process.env, PATH: `${join(path, 'path')}:${process.env['PATH']}` };
      const script = join(path, 'cli', 'setup.mjs');
      try {
        const { stdout, stderr } = await exec(process.execPath, [script, ...words], { env });
        return { code: 0, out: stdout, err: stderr };
      } catch (error) {
        const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
        return { code, out: stdout, err: stderr };
      }
    },
  };
}

function lock(integrity: string): string {
  return JSON.stringify({
    packages: {
      '': { name: 'x' },
      'node_modules/a': { integrity },
      'node_modules/b': { integrity: 'sha512-b', optional: true },
    },
  });
}

const INSTALL = 'mkdir -p node_modules && cp package-lock.json node_modules/.package-lock.json && echo "npm $*"';

test('an empty checkout is installed, with a line that says what happens', async (t) => {
  const { setup } = checkout(t, INSTALL);
  const first = await setup();
  t.is(first.code, 0, first.err);
  t.regex(first.err, /setup: the dependencies are not installed; running npm install/);
  t.regex(first.err, /npm install --no-save --no-audit --no-fund/);
  t.is(first.out, '');
  t.deepEqual(await setup(), { code: 0, out: '', err: '' });
});

test('dependencies that are not those of package-lock.json are installed again, optional ones may be absent', async (t) => {
  const { path, setup } = checkout(t, INSTALL);
  mkdirSync(join(path, 'node_modules'));
  const present = join(path, 'node_modules', '.package-lock.json');
  writeFileSync(present, lock('sha512-old'));
  t.regex((await setup()).err, /node_modules\/a is not installed as package-lock\.json has it/);
  writeFileSync(present, JSON.stringify({ packages: { 'node_modules/a': { integrity: 'sha512-new' } } }));
  t.is((await setup()).err, '');
});

test('an npm that fails, or that installs nothing, ends the set-up', async (t) => {
  const failing = await checkout(t, 'exit 7').setup();
  t.is(failing.code, 1);
  t.regex(failing.err, /npm install did not succeed/);
  const idle = await checkout(t, 'true').setup();
  t.is(idle.code, 1);
  t.regex(idle.err, /npm install has run, but the dependencies are not installed/);
});

test('further arguments are run under the Node.js of the project, which children find first', async (t) => {
  const { path, setup } = checkout(t, INSTALL);
  mkdirSync(join(path, 'node_modules', '.bin'), { recursive: true });
  symlinkSync(process.execPath, join(path, 'node_modules', '.bin', 'node'));
  const { code, out, err } = await setup('-e', 'console.log(process.env.PATH.split(":")[0]); process.exit(5)');
  t.is(code, 5, err);
  t.is(out, `${join(path, 'node_modules', '.bin')}\n`);
});

test('every script of the package starts with the set-up, or with a script that does', (t) => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Readonly<Record<string, string>>;
  };
  for (const [name, script] of Object.entries(scripts)) {
    t.regex(script, /^(?:node cli\/setup\.mjs|npm run (?:check|build))\b/, name);
    // A shell remembers where it found `node`: naming it again would be the machine's one.
    t.notRegex(script, /&& node /, name);
  }
});
