/** What the coordinator counts. Every label has a closed set of values. */
import { Counter, DURATION_SECONDS, Gauge, Histogram, openMetrics } from '../platform/metrics.ts';
import { resolutionOf } from '../engine/branches/calls.ts';
import type { RunnerEvent } from '../runner/driven.ts';
import type { Runner } from '../runner/runner.ts';
import type { Route } from './routes.ts';

export interface CoordinatorMetrics {
  /** Counts what the runner tells of. */
  readonly onEvent: (event: RunnerEvent) => void;
  /** Counts a request of DTM's protocol; both words come from closed sets. */
  readonly onDtmRequest: (api: string, result: string) => void;
  /** Reads the gauges of `runner` whenever somebody asks for the metrics. */
  watch(runner: Runner): void;
  /** `GET /metrics`, in the Prometheus text format. */
  readonly route: Route;
}

/** Opens the coordinator's registry; `withProcess` adds memory, CPU, event loop delay and garbage collection of the process. */
export function openCoordinatorMetrics(withProcess: boolean): CoordinatorMetrics {
  const registry = openMetrics(withProcess);
  const registers = [registry];
  const finished = new Histogram({
    name: 'atomesh_transaction_duration_seconds',
    help: 'Global transactions that became final, by outcome: time from begin to the end of the second phase',
    labelNames: ['outcome'] as const,
    buckets: [...DURATION_SECONDS, 300, 1800, 3600],
    registers,
  });
  const calls = new Histogram({
    name: 'atomesh_branch_call_duration_seconds',
    help: 'Calls of branches in the second phase, by operation and result',
    labelNames: ['operation', 'result'] as const,
    buckets: [...DURATION_SECONDS],
    registers,
  });
  const callsByName = new Map<string, ReturnType<typeof calls.labels>>();
  const dirty = new Counter({
    name: 'atomesh_dirty_rollbacks_total',
    help: 'Rollbacks that a branch refused because somebody else changed its rows; each waits for an operator',
    registers,
  });
  const resolved = new Counter({
    name: 'atomesh_branches_resolved_total',
    help: 'Dirty branches that carried out what an operator decided: apply-before or keep-current',
    labelNames: ['how'] as const,
    registers,
  });
  const abandoned = new Counter({
    name: 'atomesh_messages_abandoned_total',
    help: 'Messages that were given up after as many tries as their sender wished',
    registers,
  });
  const dtmRequests = new Counter({
    name: 'atomesh_dtm_requests_total',
    help: "Requests of DTM's protocol, by endpoint and kind of answer",
    labelNames: ['api', 'result'] as const,
    registers,
  });
  return {
    onDtmRequest: (api, result) => dtmRequests.inc({ api, result }),
    onEvent: (event) => {
      if (event.kind === 'finished') {
        finished.observe({ outcome: event.transaction.status }, Math.max(0, event.durationMs) / 1000);
        return;
      }
      if (event.kind === 'abandoned') return abandoned.inc();
      const { operation, result, durationMs } = event;
      callsOf(operation, result).observe(Math.max(0, durationMs) / 1000);
      if (result === 'dirty') dirty.inc();
      const how = resolutionOf(event.branch);
      if (how !== undefined && result === 'success') resolved.inc({ how });
    },
    watch: (runner) => {
      gauge('atomesh_transactions_driven', 'Transactions in memory', () => runner.load.driven);
      gauge('atomesh_branch_calls_in_flight', 'Branch calls in flight', () => runner.load.calls);
    },
    route: {
      method: 'GET',
      path: '/metrics',
      handle: async () => ({ status: 200, text: await registry.metrics(), contentType: registry.contentType }),
    },
  };

  /** The labels are checked and hashed once, not with each call. */
  function callsOf(operation: string, result: string): ReturnType<typeof calls.labels> {
    const name = `${operation} ${result}`;
    const known = callsByName.get(name) ?? calls.labels(operation, result);
    callsByName.set(name, known);
    return known;
  }

  function gauge(name: string, help: string, read: () => number): void {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        collect() {
          this.set(read());
        },
      }),
    );
  }
}
