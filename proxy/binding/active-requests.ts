/**
 * Which global transaction a trace belongs to, for as long as a request of it is being served here. The SQL listener binds
 * a statement that carries only a `traceparent` by it, the outbound listener a call.
 */
import type { Gid, Instant } from '../../src/contract/transaction.ts';

/** A map from trace id to gid with counted references. Every use says what time it is. */
export interface ActiveRequests {
  /**
   * Notes that a request of this trace belongs to `gid`. The returned function, called any number of times, takes it back.
   * Undefined when the map is full: the request must be refused, because its statements could not be told apart.
   */
  add(traceId: string, gid: Gid, now: Instant): (() => void) | undefined;
  /** The gid of the trace; undefined when it is not known, or when the trace carries two gids at once. */
  gidOf(traceId: string, now: Instant): Gid | undefined;
  /** Traces that are held now, expired ones included until they are swept. */
  readonly size: number;
}

interface Trace {
  readonly requests: Map<Gid, number>;
  usedAt: Instant;
}

/**
 * An empty map. `tracesMax`: how many traces it holds at most. `expiryMs`: a trace that was neither added to nor asked for
 * so long is forgotten, in case a request was never taken back.
 */
export function openActiveRequests(tracesMax: number = 20_000, expiryMs: number = 3_600_000): ActiveRequests {
  /** In the order of use, oldest first: every use moves its trace to the end, so sweeping looks at the front only. */
  const traces = new Map<string, Trace>();

  function touch(traceId: string, trace: Trace, now: Instant): void {
    trace.usedAt = now;
    traces.delete(traceId);
    traces.set(traceId, trace);
  }

  function sweep(now: Instant): void {
    for (const [traceId, trace] of traces) {
      if (now - trace.usedAt < expiryMs) return;
      traces.delete(traceId);
    }
  }

  function remove(traceId: string, trace: Trace, gid: Gid): void {
    const count = trace.requests.get(gid) ?? 0;
    if (count > 1) trace.requests.set(gid, count - 1);
    else trace.requests.delete(gid);
    if (trace.requests.size === 0 && traces.get(traceId) === trace) traces.delete(traceId);
  }

  return {
    add(traceId, gid, now) {
      sweep(now);
      const trace = traces.get(traceId) ?? { requests: new Map<Gid, number>(), usedAt: now };
      if (!traces.has(traceId) && traces.size >= tracesMax) return undefined;
      trace.requests.set(gid, (trace.requests.get(gid) ?? 0) + 1);
      touch(traceId, trace, now);
      let isHeld = true;
      return () => {
        if (isHeld) remove(traceId, trace, gid);
        isHeld = false;
      };
    },
    gidOf(traceId, now) {
      sweep(now);
      const trace = traces.get(traceId);
      if (trace === undefined) return undefined;
      touch(traceId, trace, now);
      const [gid, another] = trace.requests.keys();
      return another === undefined ? gid : undefined;
    },
    get size() {
      return traces.size;
    },
  };
}
