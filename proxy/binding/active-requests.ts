/**
 * Which mark a trace stands for, for as long as a request of it is being served here. The SQL listener binds a statement that
 * carries only a `traceparent` by it, the outbound listener a call.
 */
import { markText, type Instant, type Mark } from '../../src/contract/transaction.ts';

/** A map from trace id to mark with counted references. Every use says what time it is. */
export interface ActiveRequests {
  /**
   * Notes that a request of this trace is served under `mark`. The returned function, called any number of times, takes it back.
   * Undefined when the map is full: the request must be refused, because its statements could not be told apart.
   */
  add(traceId: string, mark: Mark, now: Instant): (() => void) | undefined;
  /** The mark of the trace; undefined when it is not known, `'ambiguous'` when the trace has two different ones at once. */
  markOf(traceId: string, now: Instant): Mark | 'ambiguous' | undefined;
  /** True while a request of the trace is served under any mark. */
  holds(traceId: string): boolean;
  /** Traces that are held now, expired ones included until they are swept. */
  readonly size: number;
}

interface Trace {
  /** By the text of their mark. */
  readonly requests: Map<string, { readonly mark: Mark; count: number }>;
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

  function remove(traceId: string, trace: Trace, text: string): void {
    const requests = trace.requests.get(text);
    if (requests !== undefined) requests.count -= 1;
    if (requests?.count === 0) trace.requests.delete(text);
    if (trace.requests.size === 0 && traces.get(traceId) === trace) traces.delete(traceId);
  }

  return {
    add(traceId, mark, now) {
      sweep(now);
      const trace: Trace = traces.get(traceId) ?? { requests: new Map(), usedAt: now };
      if (!traces.has(traceId) && traces.size >= tracesMax) return undefined;
      const text = markText(mark);
      trace.requests.set(text, { mark, count: (trace.requests.get(text)?.count ?? 0) + 1 });
      touch(traceId, trace, now);
      let isHeld = true;
      return () => {
        if (isHeld) remove(traceId, trace, text);
        isHeld = false;
      };
    },
    markOf(traceId, now) {
      sweep(now);
      const trace = traces.get(traceId);
      if (trace === undefined) return undefined;
      touch(traceId, trace, now);
      const [one, another] = trace.requests.values();
      return another === undefined ? one?.mark : 'ambiguous';
    },
    holds: (traceId) => traces.has(traceId),
    get size() {
      return traces.size;
    },
  };
}
