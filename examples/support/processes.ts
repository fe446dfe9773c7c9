/** Child processes that the examples start, pause, kill and restart, and that never outlive the parent. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { endWithUs } from './end-with-us.ts';
import { until } from './until.ts';

export interface ProcessDefinition {
  /** For people, and the name of the log file. */
  readonly name: string;
  /** What is run; `node` unless it says otherwise. */
  readonly program?: string;
  /** The arguments of the program. */
  readonly command: readonly string[];
  /** The whole environment of the process, beside PATH and where Node.js keeps what it has compiled. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whether it does its work by now; may throw while it does not. */
  readonly isReady: () => Promise<boolean>;
}

export interface ManagedProcess {
  readonly name: string;
  /** Starts it and waits until it is ready, at most 30 s; rejects with the end of its log when it ends before. */
  start(signal?: AbortSignal): Promise<void>;
  /** Stops it in its tracks (SIGSTOP) and waits until it answers nobody any more. */
  pause(): Promise<void>;
  /** Lets it go on (SIGCONT). */
  resume(): void;
  /** Ends it as a crash would (SIGKILL), and waits until it is gone. */
  kill(): Promise<void>;
  /** Asks it to end (SIGTERM), and kills it after 3 s. */
  stop(): Promise<void>;
  /** The last lines that it wrote, over all its lives. */
  lastLines(count: number): Promise<string>;
}

/** Processes that end together: in reverse order of `add` when disposed of, at once when the parent exits first. */
export interface ProcessGroup extends AsyncDisposable {
  add(definition: ProcessDefinition): ManagedProcess;
}

const READY_MS = 30_000;
const STOP_MS = 3_000;
const SILENCE_MS = 150;
/** What every process gets of the environment of this one: PATH, and where Node.js keeps what it has compiled. */
export const INHERITED: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name === 'PATH' || name === 'NODE_COMPILE_CACHE'),
);

/** An empty group whose processes log to files in `folder`. */
export function openProcesses(folder: string): ProcessGroup {
  const members: Member[] = [];
  const killAll = (): void => {
    for (const member of members) member.child?.kill('SIGKILL');
  };
  process.once('exit', killAll);
  return {
    add(definition) {
      const member = new Member(definition, join(folder, `${definition.name}.log`), folder);
      members.push(member);
      return member;
    },
    async [Symbol.asyncDispose]() {
      for (const member of members.toReversed()) await member.stop();
      process.off('exit', killAll);
    },
  };
}

class Member implements ManagedProcess {
  readonly name: string;
  readonly #definition: ProcessDefinition;
  readonly #logFile: string;
  readonly #folder: string;
  /** The running process; undefined before the start and after the end. */
  child: ChildProcess | undefined;

  constructor(definition: ProcessDefinition, logFile: string, folder: string) {
    this.name = definition.name;
    this.#definition = definition;
    this.#logFile = logFile;
    this.#folder = folder;
  }

  async start(signal?: AbortSignal): Promise<void> {
    const log = openSync(this.#logFile, 'a', 0o600);
    // A session of its own: Ctrl-C goes to the parent alone, which ends its children in order.
    const child = spawn(this.#definition.program ?? process.execPath, this.#definition.command, {
      cwd: this.#folder,
      env: { ...INHERITED, ...this.#definition.environment },
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    endWithUs(child, 'SIGKILL');
    this.child = child;
    child.once('exit', () => {
      if (this.child === child) this.child = undefined;
    });
    const failed = new AbortController();
    child.once('error', (error) => {
      if (this.child === child) this.child = undefined;
      failed.abort(error);
    });
    child.once('exit', () => failed.abort(new Error('it ended before it was ready')));
    try {
      await until(`${this.name} is ready`, async () => ((await this.#definition.isReady()) ? true : undefined), {
        withinMs: READY_MS,
        signal: signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw new Error(`${this.name} did not start. The end of its log:\n${await this.lastLines(15)}`, { cause: error });
    }
  }

  async pause(): Promise<void> {
    this.child?.kill('SIGSTOP');
    // The signal takes effect a little later than kill() returns: what counts is that nothing is answered.
    await until(`${this.name} has come to a halt`, async () => {
      const silent = Symbol('silent');
      const answer = this.#definition.isReady().catch(() => undefined);
      return (await Promise.race([answer, pause(SILENCE_MS, silent)])) === silent ? true : undefined;
    });
  }

  resume(): void {
    this.child?.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    const child = this.child;
    if (child === undefined) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  async stop(): Promise<void> {
    const child = this.child;
    if (child === undefined) return;
    const gone = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(late);
  }

  async lastLines(count: number): Promise<string> {
    const text = await readFile(this.#logFile, 'utf8').catch(() => '');
    return text.trimEnd().split('\n').slice(-count).join('\n');
  }
}
