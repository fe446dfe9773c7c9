/** The life of a process that serves: start, say so, wait for a signal or a failure, stop in order. */
import { monotonicSeconds } from '../src/platform/clock.ts';
import type { Log } from '../src/platform/log.ts';
import type { Address } from '../src/platform/option-types.ts';
import { CommandFailed, describeError, EXIT } from './exit.ts';

/** What a started coordinator and a started sidecar have in common. */
export interface Served {
  close(graceMs: number): Promise<void>;
  /** Resolves when the process cannot go on and has to be started again. */
  readonly failed: Promise<Error>;
}

/** An address that a process is going to listen on, and the option that says so: `control.listen`. */
export interface Listener {
  readonly option: string;
  readonly address: Address;
}

/** npm and terminals both pass Ctrl-C on: what arrives within this time of the first signal is the same one. */
const SAME_SIGNAL_SECONDS = 0.3;
/** How much longer than its grace a close may take before the process ends without it. */
const CLOSE_SLACK_MS = 5000;
/** How long a process that has failed may take to put its affairs in order. */
const FAILED_GRACE_MS = 1000;
const SIGNALS = { SIGTERM: 15, SIGINT: 2 } as const;
/** What the system says when an address cannot be listened on: why, and what to do about it. */
const LISTEN_FAULTS: Readonly<Record<string, { readonly reason: string; readonly remedy: string }>> = {
  EADDRINUSE: { reason: 'another process listens there already', remedy: 'another port, or end that process' },
  EADDRNOTAVAIL: { reason: 'this host has no such address', remedy: 'an address of this host' },
  EACCES: { reason: 'the system does not allow it', remedy: 'a port above 1023' },
};

/**
 * Serves until SIGTERM or SIGINT, and resolves with the exit code once everything is closed. A second signal ends the
 * process at once. Rejects with what `start` rejects with, or with `CommandFailed` that names one of `listeners` and what
 * to do when it cannot be listened on.
 */
export async function serve<T extends Served>(
  start: () => Promise<T>,
  options: {
    readonly graceMs: number;
    readonly log: Log;
    readonly listeners: readonly Listener[];
    readonly readyLine: (served: T) => string;
  },
): Promise<number> {
  const { log, graceMs } = options;
  const asked = askedToStop(log);
  const served = await start().catch((error: unknown): never => {
    throw listenFault(error, options.listeners) ?? error;
  });
  process.stdout.write(`${options.readyLine(served)}\n`);
  const ended = await Promise.race([asked, served.failed]);
  if (typeof ended === 'string') {
    log.info({ signal: ended, graceMs }, 'stopping');
    return (await closed(served, graceMs, log)) ? EXIT.ok : EXIT.failure;
  }
  log.fatal({ err: ended }, `cannot go on: ${describeError(ended)}`);
  await closed(served, FAILED_GRACE_MS, log);
  return EXIT.failure;
}

/** What a person needs to know about an address that cannot be listened on; undefined for any other error. */
function listenFault(error: unknown, listeners: readonly Listener[]): CommandFailed | undefined {
  if (!(error instanceof Error && 'code' in error && 'port' in error && 'syscall' in error)) return undefined;
  const fault = LISTEN_FAULTS[String(error.code)];
  if (fault === undefined || error.syscall !== 'listen') return undefined;
  const samePort = listeners.filter(({ address }) => address.port === error.port);
  // The system names the address that a host name stands for: then the port has to do.
  const found = samePort.find(({ address }) => 'address' in error && address.host === error.address) ?? samePort[0];
  if (found === undefined) return undefined;
  const { host, port } = found.address;
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return new CommandFailed(
    EXIT.failure,
    `atomesh: ${found.option}: cannot listen on ${where}: ${fault.reason} (${String(error.code)})\n` +
      `Set ${found.option} in the configuration file to ${fault.remedy}.`,
    { cause: error },
  );
}

/** Resolves with the first signal; the second one ends the process. */
function askedToStop(log: Log): Promise<keyof typeof SIGNALS> {
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    for (const [name, number] of Object.entries(SIGNALS)) {
      process.on(name, () => {
        const at = monotonicSeconds();
        if (firstAt === undefined) {
          firstAt = at;
          resolve(name as keyof typeof SIGNALS);
        } else if (at - firstAt > SAME_SIGNAL_SECONDS) {
          log.fatal({ signal: name }, 'asked to stop twice: ending at once');
          process.exit(128 + number);
        }
      });
    }
  });
}

/** True when everything was closed in time. */
async function closed(served: Served, graceMs: number, log: Log): Promise<boolean> {
  const late = Promise.withResolvers<'late'>();
  const timer = setTimeout(() => late.resolve('late'), graceMs + CLOSE_SLACK_MS);
  try {
    if ((await Promise.race([served.close(graceMs), late.promise])) !== 'late') return true;
    log.error({ graceMs }, 'did not close in time');
  } catch (error) {
    log.error({ err: error }, 'could not close in order');
  } finally {
    clearTimeout(timer);
  }
  return false;
}
