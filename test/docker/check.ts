/**
 * Carries the Dockerfile out without Docker: each stage is a folder, COPY copies, RUN runs with the working directory in
 * that folder, and in the end the image's entry point has to start a coordinator that its health check finds well. What
 * is checked is the file itself; an instruction that this does not know is a fault.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Stage {
  readonly name: string;
  /** The folder that stands for `/`. */
  readonly root: string;
  workdir: string;
  entrypoint: readonly string[];
  command: readonly string[];
  healthcheck: readonly string[];
  user: string;
}

const CONTEXT = fileURLToPath(new URL('../..', import.meta.url));
/** What the base image brings: a Node.js of the major version that FROM names, and npm. */
const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter);
const READY_MS_MAX = 20_000;

const work = mkdtempSync(join(tmpdir(), 'atomesh-image-'));
try {
  const image = build(readFileSync(join(CONTEXT, 'Dockerfile'), 'utf8'));
  expect(image.user !== '' && image.user !== 'root', 'the image runs as root');
  expect(!existsSync(join(image.root, 'app/node_modules/typescript')), 'the image has development dependencies');
  expect((statSync(join(image.root, 'app/dist/cli/main.js')).mode & 0o111) !== 0, 'dist/cli/main.js is not executable');
  const { version } = JSON.parse(readFileSync(join(CONTEXT, 'package.json'), 'utf8')) as { version: string };
  const [program = '', ...words] = inStage(image, image.entrypoint);
  const asked = spawnSync(program, [...words, '--version'], { cwd: image.root, encoding: 'utf8', env: { PATH } });
  expect(asked.stdout === `${version}\n`, `the entry point answers ${asked.stdout}${asked.stderr}`);
  await serves(image);
  console.log('docker: 1 passed, 0 failed');
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** The last stage of the Dockerfile, built. */
function build(dockerfile: string): Stage {
  const stages: Stage[] = [];
  for (const line of dockerfile.replace(/\\\n/g, ' ').split('\n')) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const [, instruction = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
    if (instruction === 'FROM') stages.push(openStage(rest, stages.length));
    else carryOut(stages, instruction, rest);
  }
  return last(stages);
}

function openStage(rest: string, index: number): Stage {
  const [, major, name = String(index)] = /^node:(\d+)-slim(?: AS (\S+))?$/.exec(rest) ?? [];
  expect(`v${major}` === process.version.split('.')[0], `FROM ${rest} is not the Node.js that this runs on`);
  const root = join(work, name);
  mkdirSync(root);
  return { name, root, workdir: '/', entrypoint: [], command: [], healthcheck: [], user: '' };
}

function carryOut(stages: readonly Stage[], instruction: string, rest: string): void {
  const stage = last(stages);
  switch (instruction) {
    case 'WORKDIR':
      stage.workdir = rest;
      mkdirSync(inside(stage, rest), { recursive: true });
      return;
    case 'COPY':
      copy(stages, stage, rest);
      return;
    case 'RUN': {
      console.log(`docker: ${stage.name}: ${rest}`);
      const options = { cwd: inside(stage, '.'), stdio: 'inherit', env: { ...process.env, PATH } } as const;
      expect(spawnSync('/bin/sh', ['-c', rest], options).status === 0, `RUN ${rest} failed`);
      return;
    }
    case 'ENTRYPOINT':
      stage.entrypoint = JSON.parse(rest) as string[];
      return;
    case 'CMD':
      stage.command = JSON.parse(rest) as string[];
      return;
    case 'HEALTHCHECK':
      stage.healthcheck = JSON.parse(rest.slice(rest.indexOf('CMD ') + 4)) as string[];
      return;
    case 'USER':
      stage.user = rest;
      return;
    case 'ENV':
    case 'EXPOSE':
    case 'VOLUME':
      return;
    default:
      throw new Error(`docker: ${instruction} is not known here`);
  }
}

function copy(stages: readonly Stage[], stage: Stage, rest: string): void {
  const words = rest.split(/\s+/);
  const from = words.find((word) => word.startsWith('--from='))?.slice('--from='.length);
  const source = stages.find(({ name }) => name === from);
  expect(from === undefined || source !== undefined, `there is no stage ${from}`);
  const paths = words.filter((word) => !word.startsWith('--'));
  const target = paths.pop() ?? '';
  for (const path of paths) {
    const origin = source === undefined ? join(CONTEXT, path) : inside(source, path);
    // Docker copies a file into a folder, and what is in a folder.
    const place = statSync(origin).isFile() && /(?:^|\/)\.?\/?$/.test(target) ? join(target, basename(path)) : target;
    cpSync(origin, inside(stage, place), { recursive: true, verbatimSymlinks: true });
  }
}

/** Starts the image's command on the default address, and asks what the health check asks. */
async function serves(image: Stage): Promise<void> {
  const [program = '', ...words] = inStage(image, [...image.entrypoint, ...image.command]);
  const child = spawn(program, words, {
    cwd: inside(image, '.'),
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { PATH, NODE_ENV: 'production' },
  });
  try {
    const [probe = '', ...probeWords] = inStage(image, image.healthcheck);
    const deadline = performance.now() + READY_MS_MAX;
    for (let well = false; !well;) {
      expect(child.exitCode === null, `the image ended with ${child.exitCode}`);
      expect(performance.now() < deadline, 'the image did not become healthy');
      well = spawnSync(probe, probeWords, { env: { PATH } }).status === 0;
    }
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect(code === 0, `the image ended with ${code} on SIGTERM`);
  } finally {
    child.kill('SIGKILL');
  }
}

/** The words of a command with the paths of the image as paths of this machine. */
function inStage(stage: Stage, words: readonly string[]): readonly string[] {
  return words.map((word) => (isAbsolute(word) ? join(stage.root, word) : word));
}

function inside(stage: Stage, path: string): string {
  return isAbsolute(path) ? join(stage.root, path) : join(stage.root, stage.workdir, path);
}

function last(stages: readonly Stage[]): Stage {
  const stage = stages.at(-1);
  if (stage === undefined) throw new Error('docker: the file does not begin with FROM');
  return stage;
}

function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`docker: ${message}`);
}
