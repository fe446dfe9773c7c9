/** Runs the real command line in processes of its own. */
import type { ExecutionContext } from 'ava';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'cli', 'main.ts');
/**
 * Node.js may hang when it exits, all done: the main thread waits for a thread of V8's that waits for the main thread (seen once in 900
 * runs of `atomesh tx list` on a busy machine, with all of its output written). Without such threads nobody waits.
 */
const NO_WORKERS = '--v8-pool-size=0';
/** Far longer than anything here takes; a command that hangs is killed and fails its test. */
const LIFE_MS_MAX = 60_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly process: ChildProcess;
  /** Resolves with the first line on standard output; rejects when the process ends without one. */
  readonly line: Promise<string>;
  readonly ended: Promise<Ended>;
  /** What has arrived on standard output so far. */
  output(): string;
  /** What has arrived on standard error so far. */
  errors(): string;
}

/** Starts `atomesh` with `words`. The process is killed when the test ends. */
export function start(
  t: ExecutionContext,
  words: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Running {
  const { ATOMESH_COORDINATOR_URL: _url, ATOMESH_TOKEN: _token, ...inherited } = process.env;
  const child = spawn(process.execPath, [NO_WORKERS, MAIN, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...inherited, ...options.env },
    timeout: LIFE_MS_MAX,
    killSignal: 'SIGKILL',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const output = { out: '', err: '' };
  const first = Promise.withResolvers<string>();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.out += text;
    const [line, rest] = output.out.split('\n', 2);
    if (line !== undefined && rest !== undefined) first.resolve(line);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.err += text;
  });
  const ended = once(child, 'close').then(([code, signal]): Ended => {
    const end = { code: code as number | null, signal: signal as NodeJS.Signals | null, ...output };
    first.reject(new Error(`ended without a line: ${JSON.stringify(end)}`));
    return end;
  });
  first.promise.catch(() => undefined);
  t.teardown(() => child.kill('SIGKILL'));
  return { process: child, line: first.promise, ended, output: () => output.out, errors: () => output.err };
}

/** Runs `atomesh` with `words` to its end. */
export function run(
  t: ExecutionContext,
  words: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Promise<Ended> {
  return start(t, words, options).ended;
}

/** A folder that is gone after the test, and a function that writes a file into it and answers its path. */
export function folder(t: ExecutionContext): {
  readonly path: string;
  readonly file: (name: string, text: string) => string;
} {
  const path = mkdtempSync(join(tmpdir(), 'atomesh-cli-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    file(name, text) {
      writeFileSync(join(path, name), text);
      return join(path, name);
    },
  };
}

/** Starts a coordinator in memory on a free port, with further lines of configuration. */
export async function coordinator(
  t: ExecutionContext,
  lines = '',
): Promise<{ readonly url: string; readonly running: Running }> {
  const config = folder(t).file(
    'c.yaml',
    `listen: 127.0.0.1:0\ngrpc: { listen: off }\nstore: { memory: {} }\n${lines}`,
  );
  const running = start(t, ['coordinator', '--config', config]);
  const url = /^atomesh coordinator listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(await running.line)?.[1];
  if (url === undefined) throw new Error(`not a ready line: ${await running.line}`);
  return { url, running };
}
