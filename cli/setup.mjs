#!/usr/bin/env node
// Makes a fresh checkout ready, on any machine with Node.js 20 and npm: `node cli/setup.mjs` installs what is missing,
// `node cli/setup.mjs <script> [arguments]` then runs the script under the Node.js that the project brings.
// Plain JavaScript: it has to run before anything is installed, on a Node.js that reads no TypeScript.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const OLDEST = [24, 12];

const reason = reasonToInstall();
if (reason !== undefined) {
  process.stderr.write(`setup: ${reason}; running npm install (a minute or two, no network needed afterwards)\n`);
  // Not `npm ci`: it refuses a lock file that lacks the binaries for other platforms, and npm leaves those out of the
  // file where a registry does not offer them. `--no-save` takes versions and hashes from the file and never changes it.
  const { status } = spawnSync('npm', ['install', '--no-save', '--no-audit', '--no-fund'], {
    cwd: root,
    // What npm has to say is no part of the output of the command that is run afterwards.
    stdio: ['ignore', process.stderr.fd, process.stderr.fd],
    shell: process.platform === 'win32',
  });
  if (status !== 0) fail('npm install did not succeed; see its messages above');
  const left = reasonToInstall();
  if (left !== undefined) fail(`npm install has run, but ${left}`);
}
const node = findNode();
if (process.argv.length > 2) run(node, process.argv.slice(2));

/** Why node_modules is not what package-lock.json says, or undefined when it is. */
function reasonToInstall() {
  const wanted = readPackages('package-lock.json');
  const present = readPackages('node_modules/.package-lock.json');
  if (wanted === undefined) fail('package-lock.json is missing: this is not a complete checkout');
  if (present === undefined) return 'the dependencies are not installed';
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const found = present[path];
    if (found === undefined ? !entry.optional && !entry.peer : found.integrity !== entry.integrity) {
      return `${path} is not installed as package-lock.json has it`;
    }
  }
  return undefined;
}

function readPackages(name) {
  try {
    return JSON.parse(readFileSync(join(root, name), 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** A Node.js that runs the sources: the one from node_modules, else the one that runs this. */
function findNode() {
  const own = join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');
  const { stdout } = spawnSync(own, ['--version'], { encoding: 'utf8', shell: process.platform === 'win32' });
  if (isNewEnough(stdout ?? '')) return own;
  if (isNewEnough(process.version)) return process.execPath;
  return fail(
    `Node.js ${OLDEST.join('.')} or newer is needed; this is ${process.version}, and the one in node_modules does not run.\n` +
      'Perhaps npm was told to run no install scripts: try "npm rebuild", or install a newer Node.js.',
  );
}

function isNewEnough(version) {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

/** Runs a script as if it had been started directly: same input and output, same signals, same exit code. */
function run(node, words) {
  const child = spawn(node, words, {
    stdio: 'inherit',
    env: { ...process.env, PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH}` },
    shell: process.platform === 'win32',
  });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  process.on('SIGHUP', () => child.kill('SIGHUP'));
  // A terminal sends Ctrl-C to the child as well.
  process.on('SIGINT', () => undefined);
  child.on('error', (error) => fail(error.message));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}

function fail(message) {
  process.stderr.write(`setup: ${message}\n`);
  process.exit(1);
}
