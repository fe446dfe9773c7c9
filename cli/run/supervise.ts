/**
 * The life of `atomesh run`: the sidecar starts first and ends last. Signals go to the application, which ends as it would by
 * itself; only then the sidecar drains. A sidecar that cannot go on ends the application, too.
 */
import { monotonicSeconds } from '../../src/platform/clock.ts';
import type { Ending, Started, StartedSidecar } from './processes.ts';
import type { SidecarFacts } from './facts.ts';

/** What `supervise` starts, and whom it tells. */
export interface Parts {
  readonly startSidecar: () => StartedSidecar;
  /** Called once, when the sidecar is ready. Throws when the application must not be started. */
  readonly startApplication: (facts: SidecarFacts) => Started;
  /** The terminal sends Ctrl-C to the application, too: it must not get it twice. */
  readonly isInteractive: boolean;
  /** A line for people. */
  readonly say: (text: string) => void;
}

/** How it all ended. */
export type Outcome =
  /** The application ended; so does this command, in the same way. */
  | { readonly kind: 'application'; readonly ending: Ending }
  /** The sidecar did not start or could not go on. */
  | { readonly kind: 'sidecar'; readonly code: number }
  /** Somebody asked for the end before the application was started. */
  | { readonly kind: 'stopped'; readonly signal: NodeJS.Signals };

/** What is passed on. SIGKILL and SIGSTOP cannot be, and job control is the terminal's. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
const TERMINAL_SIGNALS: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT', 'SIGHUP']);
/** By these a service is ended. SIGHUP has many read their configuration again, and a terminal that goes away ends those that do not. */
const ENDING_SIGNALS: ReadonlySet<NodeJS.Signals> = new Set(['SIGTERM', 'SIGINT', 'SIGQUIT']);
const USER_SIGNALS: ReadonlySet<NodeJS.Signals> = new Set(['SIGUSR1', 'SIGUSR2']);
/** npm and terminals both pass Ctrl-C on: what arrives within this time of the first signal is the same one. */
const SAME_SIGNAL_SECONDS = 0.3;
/** A sidecar asks each database once before it listens, with deadlines of its own. */
const READY_MS_MAX = 60_000;
/** How much longer than its grace a sidecar may take to end. */
const END_SLACK_MS = 6000;
/** How often it is looked whether the processes of a group have ended: nothing tells. */
const LOOK_MS = 50;
const FAILURE = 1;

/** Runs both to their end. Rejects with what `startApplication` throws, after the sidecar has ended. */
export async function supervise(parts: Parts): Promise<Outcome> {
  const signals = receiveSignals();
  const sidecar = parts.startSidecar();
  const killSidecar = killAtExit(sidecar);
  try {
    const asked = Promise.withResolvers<NodeJS.Signals>();
    signals.to((signal) => {
      if (!USER_SIGNALS.has(signal)) asked.resolve(signal);
    });
    const first = await Promise.race([
      sidecar.ready.then((facts) => ({ kind: 'ready', facts }) as const),
      sidecar.ended.then((ending) => ({ kind: 'ended', ending }) as const),
      asked.promise.then((signal) => ({ kind: 'asked', signal }) as const),
      after(READY_MS_MAX, { kind: 'late' } as const),
    ]);
    if (first.kind === 'ended') return { kind: 'sidecar', code: codeOf(first.ending) };
    if (first.kind === 'late') {
      parts.say(`the sidecar was not ready within ${READY_MS_MAX / 1000} s`);
      sidecar.kill();
      await sidecar.ended;
      return { kind: 'sidecar', code: FAILURE };
    }
    if (first.kind === 'asked') {
      // It has served nobody yet: there is nothing to drain.
      sidecar.kill();
      await sidecar.ended;
      return { kind: 'stopped', signal: first.signal };
    }
    return await runBoth(parts, sidecar, first.facts, signals);
  } finally {
    signals.close();
    killSidecar.off();
  }
}

async function runBoth(
  { startApplication, isInteractive, say }: Parts,
  sidecar: StartedSidecar,
  facts: SidecarFacts,
  signals: SignalSource,
): Promise<Outcome> {
  let application;
  try {
    application = startApplication(facts);
  } catch (error) {
    await drain(sidecar, facts.graceMs);
    throw error;
  }
  const killApplication = killAtExit(application);
  sidecar.standBeside(application);
  try {
    signals.to((signal) => {
      if (ENDING_SIGNALS.has(signal)) sidecar.applicationEnds();
      if (!isInteractive || !TERMINAL_SIGNALS.has(signal)) application.send(signal);
    });
    const first = await Promise.race([
      application.ended.then((ending) => ({ kind: 'application', ending }) as const),
      sidecar.ended.then((ending) => ({ kind: 'sidecar', ending }) as const),
    ]);
    if (first.kind === 'application') {
      sidecar.applicationEnds();
      // The sidecar is there for what the application has left behind, too, as long as that may take to end.
      await endRest(application, facts.graceMs, say);
      sidecar.standBeside(undefined);
      // From here on a signal is for the sidecar: its second one ends it at once.
      signals.to((signal) => sidecar.send(signal));
      await drain(sidecar, facts.graceMs);
      return first;
    }
    say(`the sidecar ${describe(first.ending)}; the application is stopped`);
    await endRest(application, facts.graceMs, say);
    await application.ended;
    return { kind: 'sidecar', code: codeOf(first.ending) };
  } finally {
    killApplication.off();
  }
}

/** Asks what is there of the application to end, and ends it when it takes longer than it may. */
async function endRest(application: Started, graceMs: number, say: Parts['say']): Promise<void> {
  if (!application.isThere()) return;
  // To many programs a second signal says: at once.
  if (!application.wasAsked()) application.send('SIGTERM');
  const end = monotonicSeconds() + graceMs / 1000;
  while (application.isThere() && monotonicSeconds() < end) {
    // Keeps this process alive, which nothing else may do any more.
    await new Promise((resolve) => void setTimeout(resolve, LOOK_MS));
  }
  if (!application.isThere()) return;
  say(`the application did not end within ${graceMs / 1000} s and is killed`);
  application.kill();
}

/** Asks the sidecar to end, and ends it when it takes longer than it may. */
async function drain(sidecar: Started, graceMs: number): Promise<void> {
  sidecar.send('SIGTERM');
  if ((await Promise.race([sidecar.ended, after(graceMs + END_SLACK_MS, 'late' as const)])) === 'late') sidecar.kill();
  await sidecar.ended;
}

interface SignalSource {
  /** Who gets signals from now on. */
  to(receiver: (signal: NodeJS.Signals) => void): void;
  /** Signals have their usual effect again. */
  close(): void;
}

function receiveSignals(): SignalSource {
  let receiver: (signal: NodeJS.Signals) => void = () => undefined;
  const lastAt = new Map<NodeJS.Signals, number>();
  const onSignal = (signal: NodeJS.Signals): void => {
    const at = monotonicSeconds();
    const isSame = at - (lastAt.get(signal) ?? -Infinity) < SAME_SIGNAL_SECONDS;
    if (isSame && !USER_SIGNALS.has(signal)) return;
    lastAt.set(signal, at);
    receiver(signal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    to: (next) => {
      receiver = next;
    },
    close() {
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}

/** A process must not outlive a command that ends by a defect. */
function killAtExit(child: Started): { off(): void } {
  const onExit = (): void => child.send('SIGTERM');
  process.once('exit', onExit);
  return { off: () => process.off('exit', onExit) };
}

function after<T>(ms: number, value: T): Promise<T> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(value), ms).unref();
  });
}

/** Never 0: a sidecar that ends by itself has failed its application, whatever it thinks of it. */
function codeOf(ending: Ending): number {
  return ending.kind === 'exited' && ending.code !== 0 ? ending.code : FAILURE;
}

function describe(ending: Ending): string {
  if (ending.kind === 'killed') return `was killed by ${ending.signal}`;
  return ending.kind === 'exited' ? `ended with ${ending.code}` : `could not be started (${ending.code})`;
}
