/** The channel between `atomesh run` and the sidecar that it starts: one message, and the end of either side. */
import type { SidecarFacts } from './facts.ts';

/** What the sidecar says once it listens. */
interface ReadyMessage {
  readonly kind: 'atomesh-sidecar-ready';
  readonly facts: SidecarFacts;
}

/** What the launcher says when the application has started, and without a process when it has ended. */
export interface ApplicationMessage {
  readonly kind: 'atomesh-application';
  /** What to signal, as kill(2) has it: a process, or with a minus sign the group that it leads. */
  readonly target?: number;
}

/** What the launcher says when the application has been asked to end, or ends by itself. */
export interface EndingMessage {
  readonly kind: 'atomesh-application-ends';
}

/** The other end of the channel, as the sidecar sees it. Does nothing in a sidecar that was started by itself. */
export interface Launcher {
  ready(facts: SidecarFacts): void;
  /** Resolves once the application is about to end, or has ended. */
  readonly applicationEnds: Promise<void>;
}

/**
 * Call it before the start. A launcher that was killed can end nobody: then the sidecar asks the application to end, and stops
 * in order itself, so that neither holds its ports for nobody.
 */
export function openLauncher(): Launcher {
  const ending = Promise.withResolvers<void>();
  if (process.send === undefined) return { ready: () => undefined, applicationEnds: ending.promise };
  let application: number | undefined;
  process.on('message', (message: unknown) => {
    if (isApplicationMessage(message)) application = message.target;
    if (isOfKind(message, 'atomesh-application-ends')) ending.resolve();
  });
  process.once('disconnect', () => {
    if (application !== undefined) askToEnd(application);
    askToEnd(process.pid);
  });
  return {
    applicationEnds: ending.promise,
    ready(facts) {
      const message: ReadyMessage = { kind: 'atomesh-sidecar-ready', facts };
      // A launcher that is gone is told nothing; `disconnect` says so.
      process.send?.(message, undefined, undefined, () => undefined);
    },
  };
}

/** The facts of a message from a sidecar; undefined for anything else that a process may send. */
export function factsIn(message: unknown): SidecarFacts | undefined {
  return isOfKind(message, 'atomesh-sidecar-ready') ? (message as ReadyMessage).facts : undefined;
}

function isApplicationMessage(message: unknown): message is ApplicationMessage {
  return isOfKind(message, 'atomesh-application');
}

function isOfKind(message: unknown, kind: string): boolean {
  return typeof message === 'object' && message !== null && 'kind' in message && message.kind === kind;
}

function askToEnd(target: number): void {
  try {
    process.kill(target, 'SIGTERM');
  } catch {
    // It has ended already.
  }
}
