/** The two processes of `atomesh run`: how each is started, asked to end, and how it ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type ApplicationMessage, type EndingMessage, factsIn } from './channel.ts';
import type { Variables } from './database-engines.ts';
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
  /** True when it leads a group of processes of its own: then what it has started, and did not move elsewhere, is ended with it. */
  readonly isLeader: boolean;
  /**
   * Sends a signal; nothing when it has ended. Those that ask for the end go to the whole group that it leads, as from a terminal: a shell
   * between us and the real program passes none on.
   */
  send(signal: NodeJS.Signals): void;
  /** True once it was sent a signal that asks for the end. */
  wasAsked(): boolean;
  /** True while it, or anything in the group that it leads, is there. */
  isThere(): boolean;
  /** Ends it at once, and all of the group that it leads. */
  kill(): void;
}

/** A sidecar; `ready` never rejects, it is overtaken by `ended`. */
export interface StartedSidecar extends Started {
  readonly ready: Promise<SidecarFacts>;
  /** Says which process is its application; undefined: none is any more. */
  standBeside(application: Pick<Started, 'pid' | 'isLeader'> | undefined): void;
  /** Says that its application has been asked to end, or has ended: it serves on, and is not ready any more. */
  applicationEnds(): void;
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
  // A sidecar that has ended hears nothing; `ended` says so.
  const tell = (message: ApplicationMessage | EndingMessage): void => {
    if (child.connected) child.send(message, () => undefined);
  };
  const ready = Promise.withResolvers<SidecarFacts>();
  child.on('message', (message) => {
    const facts = factsIn(message);
    if (facts !== undefined) ready.resolve(facts);
  });
  return {
    ...started(child, false),
    ready: ready.promise,
    standBeside(application) {
      const { pid, isLeader = false } = application ?? {};
      const target = pid === undefined ? {} : { target: isLeader ? -pid : pid };
      tell({ kind: 'atomesh-application', ...target });
    },
    applicationEnds: () => tell({ kind: 'atomesh-application-ends' }),
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
  const group = isLeader && child.pid !== undefined ? -child.pid : undefined;
  const hasEnded = (): boolean => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  let isAsked = false;
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
    isLeader,
    wasAsked: () => isAsked,
    send(signal) {
      isAsked ||= ENDING.has(signal);
      if (group !== undefined && ENDING.has(signal)) sendTo(group, signal);
      else child.kill(signal);
    },
    isThere: () => (group === undefined ? !hasEnded() : sendTo(group, 0)),
    kill() {
      if (group !== undefined) sendTo(group, 'SIGKILL');
      else if (!hasEnded()) child.kill('SIGKILL');
    },
  };
}

/** Signals by which somebody asks for the end. SIGUSR1 and SIGUSR2 mean what the program says, and kill those that do not know them. */
const ENDING: ReadonlySet<NodeJS.Signals> = new Set(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']);

/** False when nobody is there to get it. The id of a group is not given to another as long as a process is in it. */
function sendTo(target: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(target, signal);
  } catch {
    return false;
  }
}
