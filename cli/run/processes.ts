/** The two processes of `atomesh run`: how each is started, asked to end, and how it ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type ApplicationMessage, factsIn } from './channel.ts';
import type { Variables } from './database-variables.ts';
import type { SidecarFacts } from './facts.ts';
import { copyLines } from './prefix.ts';

/** How a process ended. */
export type Ending =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'killed'; readonly signal: NodeJS.Signals }
  /** `code` is that of the system: ENOENT, EACCES. */
  | { readonly kind: 'not-started'; readonly code: string };

/** A process that was started, or that could not be. */
export interface Started {
  /** Undefined when it could not be started. */
  readonly pid: number | undefined;
  /** Resolves once it has ended and its output has been read. */
  readonly ended: Promise<Ending>;
  /** Sends a signal; nothing when it has ended. */
  send(signal: NodeJS.Signals): void;
  /** Ends it at once, and what it has started with it where that is known. */
  kill(): void;
}

/** A sidecar; `ready` never rejects, it is overtaken by `ended`. */
export interface StartedSidecar extends Started {
  readonly ready: Promise<SidecarFacts>;
  /** Says which process is its application; undefined: none is any more. */
  standBeside(pid: number | undefined): void;
}

/** How output is passed on: as the process writes it, or with a name before each line. */
export type Output = 'plain' | 'prefixed';

/** Output that a descendant keeps open is not waited for longer than this. */
const OUTPUT_MS_MAX = 1000;

/**
 * Starts `atomesh sidecar` as a process of its own, in a session of its own: a Ctrl-C on the terminal does not reach it, so that
 * it is there until the application has ended. All its output goes to standard error, which leaves standard output to the application.
 */
export function startSidecar(config: string, variables: Variables, output: Output): StartedSidecar {
  const main = fileURLToPath(new URL(`../main${import.meta.url.slice(-3)}`, import.meta.url));
  const stream = output === 'plain' ? 2 : 'pipe';
  const child = spawn(process.execPath, [...process.execArgv, main, 'sidecar', '--config', config], {
    stdio: ['ignore', stream, stream, 'ipc'],
    env: { ...variables },
    detached: true,
  });
  for (const source of [child.stdout, child.stderr]) {
    if (source !== null) copyLines(source, process.stderr, '[atomesh] ');
  }
  const ready = Promise.withResolvers<SidecarFacts>();
  child.on('message', (message) => {
    const facts = factsIn(message);
    if (facts !== undefined) ready.resolve(facts);
  });
  return {
    ...started(child, false),
    ready: ready.promise,
    standBeside(pid) {
      const message: ApplicationMessage = { kind: 'atomesh-application', ...(pid === undefined ? {} : { pid }) };
      // A sidecar that has ended hears nothing; `ended` says so.
      if (child.connected) child.send(message, () => undefined);
    },
  };
}

/**
 * Starts the application. `isInteractive`: it reads from the terminal, so it stays in the terminal's foreground group and gets
 * Ctrl-C from there; otherwise it leads a group of its own, gets each signal from us, and is killed with all of its group.
 */
export function startApplication(
  [program, ...words]: readonly [program: string, ...words: string[]],
  variables: Variables,
  { output, isInteractive }: { readonly output: Output; readonly isInteractive: boolean },
): Started {
  const stream = output === 'plain' ? 'inherit' : 'pipe';
  const child = spawn(program, words, {
    stdio: ['inherit', stream, stream],
    env: { ...variables },
    detached: !isInteractive,
  });
  if (child.stdout !== null) copyLines(child.stdout, process.stdout, '[app] ');
  if (child.stderr !== null) copyLines(child.stderr, process.stderr, '[app] ');
  return started(child, !isInteractive);
}

function started(child: ChildProcess, isLeader: boolean): Started {
  const ended = Promise.withResolvers<Ending>();
  child.once('error', (error: NodeJS.ErrnoException) => {
    // A signal that could not be sent is an error, too: only without a process was nothing started.
    if (child.pid === undefined) ended.resolve({ kind: 'not-started', code: error.code ?? error.message });
  });
  child.once('exit', (code, signal) => {
    const ending: Ending = signal === null ? { kind: 'exited', code: code ?? 1 } : { kind: 'killed', signal };
    const done = (): void => ended.resolve(ending);
    child.once('close', done);
    setTimeout(done, OUTPUT_MS_MAX).unref();
  });
  return {
    pid: child.pid,
    ended: ended.promise,
    send: (signal) => void child.kill(signal),
    kill() {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      if (isLeader) killGroup(child.pid);
      else child.kill('SIGKILL');
    },
  };
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // The group is gone: nothing is left to end.
  }
}
