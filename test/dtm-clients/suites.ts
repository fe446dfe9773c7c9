/** The suite of each language: how its client and its tests are made ready and run, and how its tests are counted. */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Suite {
  readonly name: string;
  /** At least so many tests pass: a suite that does not run proves nothing. */
  readonly least: number;
  /** Fetches the client and compiles the tests, into the folder `scratch` where they leave anything. */
  prepare(scratch: string): Promise<Finished>;
  run(scratch: string, environment: Readonly<Record<string, string>>): Promise<Finished>;
  counts(output: string): Counts;
}

export interface Finished {
  readonly isOk: boolean;
  /** What it wrote, both streams. */
  readonly output: string;
}

export interface Counts {
  readonly passed: number;
  /** Failed or skipped: none may be. */
  readonly failed: number;
}

const HERE = fileURLToPath(new URL('.', import.meta.url));
const PREPARE_MS = 600_000;
const RUN_MS = 180_000;
const OUTPUT_CHARACTERS_MAX = 4_000_000;

const go: Suite = {
  name: 'go',
  least: 100,
  // Whatever GOFLAGS says, go.mod stays as it is.
  prepare: (scratch) =>
    execute('go', ['test', '-c', '-mod=readonly', '-o', join(scratch, 'go-suite'), '.'], {
      folder: join(HERE, 'go'),
      withinMs: PREPARE_MS,
    }),
  run: (scratch, environment) =>
    execute(join(scratch, 'go-suite'), ['-test.v', '-test.parallel=8', `-test.timeout=${RUN_MS / 1000}s`], {
      folder: join(HERE, 'go'),
      withinMs: RUN_MS,
      environment,
    }),
  counts: (output) => ({
    passed: leavesOf(output, /^ *--- PASS: (\S+)/gm),
    failed: leavesOf(output, /^ *--- (?:FAIL|SKIP): (\S+)/gm),
  }),
};

const python: Suite = {
  name: 'python',
  least: 21,
  prepare: async (scratch) => {
    const folder = join(HERE, 'python');
    const made = await execute('python3', ['-m', 'venv', join(scratch, 'venv')], { folder, withinMs: PREPARE_MS });
    if (!made.isOk) return made;
    const install = ['install', '--quiet', '--disable-pip-version-check', '-r', 'requirements.txt'];
    return execute(join(scratch, 'venv', 'bin', 'pip'), install, { folder, withinMs: PREPARE_MS });
  },
  run: (scratch, environment) =>
    execute(join(scratch, 'venv', 'bin', 'python'), ['-B', '-m', 'unittest', '--buffer', '--verbose'], {
      folder: join(HERE, 'python'),
      withinMs: RUN_MS,
      environment,
    }),
  // "Ran 21 tests in 3.1s", and "OK" or "FAILED (failures=1)" or "OK (skipped=1)".
  counts: (output) => {
    const ran = Number(/^Ran (\d+) tests? in /m.exec(output)?.[1] ?? 0);
    if (/^OK$/m.test(output)) return { passed: ran, failed: 0 };
    const failed = [...output.matchAll(/(?:failures|errors|skipped|successes)=(\d+)/g)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
    return { passed: Math.max(0, ran - failed), failed: Math.max(1, failed) };
  },
};

const java: Suite = {
  name: 'java',
  least: 11,
  prepare: async (scratch) => {
    const folder = join(HERE, 'java');
    const list = [
      '--batch-mode',
      '--quiet',
      'dependency:build-classpath',
      `-Dmdep.outputFile=${join(scratch, 'classpath')}`,
    ];
    const fetched = await execute('mvn', list, { folder, withinMs: PREPARE_MS });
    if (!fetched.isOk) return fetched;
    const sources = ['atomesh/Service.java', 'atomesh/DtmClientTest.java'];
    const compile = ['-d', join(scratch, 'java'), '-cp', await classPath(scratch), ...sources];
    return execute('javac', compile, { folder, withinMs: PREPARE_MS });
  },
  run: async (scratch, environment) =>
    execute('java', ['-cp', await classPath(scratch), 'org.junit.runner.JUnitCore', 'atomesh.DtmClientTest'], {
      folder: join(HERE, 'java'),
      withinMs: RUN_MS,
      environment,
    }),
  // JUnit: "OK (8 tests)", or "Tests run: 8,  Failures: 1".
  counts: (output) => {
    const ok = /^OK \((\d+) tests?\)$/m.exec(output);
    const bad = /^Tests run: (\d+), {2}Failures: (\d+)$/m.exec(output);
    if (ok !== null) return { passed: Number(ok[1]), failed: 0 };
    if (bad !== null) return { passed: Number(bad[1]) - Number(bad[2]), failed: Number(bad[2]) };
    return { passed: 0, failed: 1 };
  },
};

/** Every language whose published client is run. */
export const SUITES: readonly Suite[] = [go, python, java];

/** Of the tests and everything that they use. */
async function classPath(scratch: string): Promise<string> {
  const libraries = await readFile(join(scratch, 'classpath'), 'utf8');
  return [join(scratch, 'java'), libraries.trim()].join(delimiter);
}

export interface Execution {
  readonly folder: string;
  readonly withinMs: number;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Runs a program to its end; one that takes longer than `withinMs` is killed. Resolves also when there is no such program. */
export function execute(program: string, args: readonly string[], options: Execution): Promise<Finished> {
  const { folder, withinMs, environment = {} } = options;
  const { promise, resolve } = Promise.withResolvers<Finished>();
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: withinMs,
    killSignal: 'SIGKILL',
  });
  let output = '';
  const add = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-OUTPUT_CHARACTERS_MAX);
  };
  child.stdout.on('data', add);
  child.stderr.on('data', add);
  child.once('error', (error) => resolve({ isOk: false, output: `${output}\n${error.message}` }));
  child.once('close', (code, signal) => {
    resolve({ isOk: code === 0, output: signal === null ? output : `${output}\nended by ${signal}` });
  });
  return promise;
}

/** How many tests are named, without those that only have others within: `TestA` of `TestA/HTTP`. */
function leavesOf(output: string, line: RegExp): number {
  const names = [...output.matchAll(line)].map(([, name]) => String(name));
  return names.filter((name) => !names.some((other) => other.startsWith(`${name}/`))).length;
}
