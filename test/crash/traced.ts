/** A coordinator's process under strace, which makes one of its system calls the last or a failed one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROCESS = fileURLToPath(new URL('process.ts', import.meta.url));
/** Far longer than anything here takes. */
const LIFE_MS_MAX = 30_000;
/** How long a process may take to be gone that is about to end. */
const ENDING_MS = 500;

/** What happens at the `nth` call of `syscall` that a thread makes. Only the thread of the store makes these calls. */
export interface Fault {
  readonly syscall: 'pwrite64' | 'fsync' | 'unlink';
  readonly nth: number;
  /**
   * `before`: the process dies instead of it. `after`: it dies as soon as it is done, before anybody hears of it. Else the call and, for
   * ENOSPC, the two after it do nothing and fail with this error.
   */
  readonly kind: 'before' | 'after' | 'ENOSPC' | 'EIO';
}

export interface Traced {
  /** Where the coordinator listens; undefined when it ended before it did. */
  readonly url: string | undefined;
  /** Gives its exit code, null after a signal. One that does not end by itself is killed. */
  end(): Promise<number | null>;
}

/** Starts a coordinator on the file `coordinator.db` in `folder`, and waits until it listens or has ended. `cache`: where compiled code is kept. */
export async function startTraced(folder: string, cache: string, fault: Fault | undefined): Promise<Traced> {
  const log = join(folder, 'trace');
  const trace = ['-f', '-qq', '-o', log, '-e', 'trace=pwrite64,fsync,unlink'];
  const inject = fault === undefined ? [] : ['-e', `inject=${injection(fault)}`];
  const words = [...trace, ...inject, process.execPath, PROCESS, join(folder, 'coordinator.db')];
  const child = spawn('strace', words, {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
    timeout: LIFE_MS_MAX,
    killSignal: 'SIGKILL',
  });
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const line = await Promise.race([firstLine(child), ended.then(() => undefined)]);
  const [port, pid] = line?.split(' ') ?? [];
  return {
    url: port === undefined ? undefined : `http://127.0.0.1:${port}`,
    end: () => {
      // Killing strace would leave the coordinator behind.
      const timer = pid === undefined ? undefined : setTimeout(kill, ENDING_MS, Number(pid));
      return ended.finally(() => clearTimeout(timer));
    },
  };
}

/** How often the calls were made that a process started by `startTraced` has made in `folder`. */
export function countCalls(folder: string): Readonly<Record<Fault['syscall'], number>> {
  const counts = { pwrite64: 0, fsync: 0, unlink: 0 };
  for (const [, name] of readFileSync(join(folder, 'trace'), 'utf8').matchAll(/^\d+ +(pwrite64|fsync|unlink)\(/gm)) {
    counts[name as Fault['syscall']] += 1;
  }
  return counts;
}

/** strace(1), "Syscall tampering". A signal comes when the call is entered: KILL stops it, TERM waits until it is done. */
function injection({ syscall, nth, kind }: Fault): string {
  if (kind === 'before') return `${syscall}:signal=KILL:when=${nth}`;
  if (kind === 'after') return `${syscall}:signal=TERM:when=${nth}`;
  return `${syscall}:error=${kind}:when=${nth}${kind === 'ENOSPC' ? `..${nth + 2}` : ''}`;
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  if (child.stdout === null) return undefined;
  for await (const line of createInterface({ input: child.stdout })) return line;
  return undefined;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It was quicker.
  }
}
