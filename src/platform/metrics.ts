/** Prometheus metrics. One registry a process part; label values come from closed sets, never from gids, paths or SQL. */
import { Registry, collectDefaultMetrics } from 'prom-client';

/** A registry with the process's own metrics in it when `withProcess`. */
export function openMetrics(withProcess: boolean): Registry {
  const registry = new Registry();
  if (withProcess) collectDefaultMetrics({ register: registry });
  return registry;
}

export { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Buckets for durations in seconds, from 0.1 ms to 60 s. */
export const DURATION_SECONDS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
