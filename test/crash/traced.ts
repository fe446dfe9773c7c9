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
/** How long one may take that has met its fault; longer than a busy machine needs to end it. */
const HIT_ENDING_MS = 5000;

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

/** How a process ended: by itself with a code, by the signal of its fault, or because it did not end and had to be killed here. */
export type End = { readonly kind: 'exited'; readonly code: number } | { readonly kind: 'struck' | 'put down' };

export interface Traced {
  /** Where the coordinator listens; undefined when it ended before it did. */
  readonly url: string | undefined;
  /** Gives its end. One that goes on is killed: soon, or, when it has met its fault and should end by itself, after a long time. */
  end(): Promise<End>;
}

/** Which process is started: the coordinator, or one that goes on when its store has failed. */
export type Program = 'coordinator' | 'mutant';

/** Starts a coordinator on the file `coordinator.db` in `folder`, and waits until it listens or has ended. `cache`: where compiled code is kept. */
export async function startTraced(
  folder: string,
  cache: string,
  fault: Fault | undefined,
  program: Program,
): Promise<Traced> {
  const trace = ['-f', '-y', '-qq', '-o', join(folder, 'trace'), '-e', 'trace=pwrite64,fsync,unlink'];
  const inject = fault === undefined ? [] : ['-e', `inject=${injection(fault)}`];
  const words = [...trace, ...inject, process.execPath, PROCESS, join(folder, 'coordinator.db'), program];
  const child = spawn('strace', words, {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
    timeout: LIFE_MS_MAX,
    killSignal: 'SIGKILL',
  });
  let isPutDown = false;
  const ended = once(child, 'exit').then(([code]): End => {
    if (isPutDown) return { kind: 'put down' };
    return code === null ? { kind: 'struck' } : { kind: 'exited', code: code as number };
  });
  const line = await Promise.race([firstLine(child), ended.then(() => undefined)]);
  const [port, pid] = line?.split(' ') ?? [];
  // Killing strace would leave the coordinator behind.
  const putDown = (): void => {
    isPutDown = kill(Number(pid));
  };
  return {
    url: port === undefined ? undefined : `http://127.0.0.1:${port}`,
    end: () => {
      if (pid === undefined) return ended;
      let timer = setTimeout(() => {
        if (hitBy(fault, folder) === undefined) putDown();
        else timer = setTimeout(putDown, HIT_ENDING_MS);
      }, ENDING_MS);
      return ended.finally(() => clearTimeout(timer));
    },
  };
}

/** The file or folder whose call in `folder` met the fault; undefined when the process never came so far. */
export function hitBy(fault: Fault | undefined, folder: string): string | undefined {
  return fault === undefined ? undefined : callsIn(folder, fault.syscall)[fault.nth - 1];
}

/** The calls that a process started by `startTraced` has made in `folder`, in order: the file or folder of each. */
export function callsIn(folder: string, syscall: Fault['syscall']): readonly string[] {
  const text = readFileSync(join(folder, 'trace'), 'utf8');
  return [...text.matchAll(/^\d+ +(\w+)\((?:\d+<([^>]*)>|"([^"]*)")/gm)]
    .filter(([, name]) => name === syscall)
    .map(([, , open, named]) => open ?? named ?? '');
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

/** Whether it was still there. */
function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}
