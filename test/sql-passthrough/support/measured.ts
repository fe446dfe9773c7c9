/** A sidecar in a process of its own, whose memory is watched. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export interface Measured extends AsyncDisposable {
  readonly port: number;
  /** Bytes of memory that the process has at this moment. */
  rss(): Promise<number>;
  /** The most that it had at any look, which is some tens of times a second, while `work` ran. */
  peakOf(work: () => Promise<void>): Promise<number>;
}

const LOOK_MS = 25;

/** Starts one in front of a server on 127.0.0.1. */
export async function startMeasured(to: number): Promise<Measured> {
  const child = fork(fileURLToPath(new URL('process.ts', import.meta.url)), [String(to)]);
  const [started] = (await once(child, 'message', { signal: AbortSignal.timeout(20_000) })) as [{ port: number }];
  const rss = async (): Promise<number> => {
    const answer = once(child, 'message', { signal: AbortSignal.timeout(20_000) });
    child.send('rss');
    const [{ rss }] = (await answer) as [{ rss: number }];
    return rss;
  };
  return {
    port: started.port,
    rss,
    async peakOf(work) {
      const working = new AbortController();
      const looking = peakUntil(working.signal, rss);
      try {
        await work();
      } finally {
        working.abort();
      }
      return looking;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

async function peakUntil(over: AbortSignal, rss: () => Promise<number>): Promise<number> {
  for (let peak = 0; ;) {
    peak = Math.max(peak, await rss());
    if (over.aborted) return peak;
    await pause(LOOK_MS);
  }
}
