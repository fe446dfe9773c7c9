/**
 * Counts of the HTTP listeners. A request costs a few array additions; label sets and objects are made when somebody scrapes.
 */
import { Counter, DURATION_SECONDS, Gauge, Histogram, type Registry } from '../../src/platform/metrics.ts';

/** Which listener a request came through. */
export type Direction = 'inbound' | 'outbound';

const DIRECTIONS = ['inbound', 'outbound'] as const;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'other'] as const;
/** By first digit of the status; `none` is a request whose client left before it was answered. */
const STATUSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;
const LABELS = ['direction', 'method', 'status'] as const;
type Label = (typeof LABELS)[number];

const DURATION_NAME = 'atomesh_http_request_duration_seconds';
const DURATION_HELP =
  'From the head of a request to the end of its answer, by listener, method and first digit of the status';
const METHOD_INDEX: ReadonlyMap<string, number> = new Map(METHODS.map((method, index) => [method, index]));
const SERIES = DIRECTIONS.length * METHODS.length * STATUSES.length;

/** The metrics of all HTTP listeners of one sidecar. */
export interface HttpMetrics {
  /** A request has arrived. Every call is followed by one of `ended`. */
  started(direction: Direction): void;
  /** A request was answered with `status`, or with 0 when nobody was left to answer. `seconds`: how long it took. */
  ended(direction: Direction, method: string, status: number, seconds: number): void;
  /** A transaction that this sidecar began has come to its outcome, or could not be begun. */
  transaction(event: 'begun' | 'committed' | 'rolled-back' | 'unknown' | 'refused'): void;
}

/** Registers the metrics; once per registry. */
export function openHttpMetrics(registry: Registry): HttpMetrics {
  const durations = new Durations(registry);
  const running = [0, 0];
  const inFlight = new Gauge({
    name: 'atomesh_http_requests_in_flight',
    help: 'HTTP requests that are being served',
    labelNames: ['direction'],
    registers: [registry],
    collect() {
      DIRECTIONS.forEach((direction, index) => inFlight.set({ direction }, running[index] ?? 0));
    },
  });
  const requests: Counter<Label> = new Counter({
    name: 'atomesh_http_requests_total',
    help: 'HTTP requests that ended, by listener, method and first digit of the status (none: the client left)',
    labelNames: LABELS,
    registers: [registry],
    collect() {
      requests.reset();
      for (const { labels, count } of durations.series()) requests.inc(labels, count);
    },
  });
  const transactions = new Counter({
    name: 'atomesh_inbound_transactions_total',
    help: 'Global transactions begun by this sidecar, and what became of them',
    labelNames: ['event'],
    registers: [registry],
  });
  for (const event of ['begun', 'committed', 'rolled-back', 'unknown', 'refused']) transactions.inc({ event }, 0);

  return {
    started(direction) {
      const index = direction === 'inbound' ? 0 : 1;
      running[index] = (running[index] ?? 0) + 1;
    },
    ended(direction, method, status, seconds) {
      const index = direction === 'inbound' ? 0 : 1;
      running[index] = (running[index] ?? 0) - 1;
      durations.add(index, method, status, seconds);
    },
    transaction(event) {
      transactions.inc({ event });
    },
  };
}

/** A histogram that is kept in flat arrays: prom-client's own `observe` builds an object and a text key at each call. */
class Durations extends Histogram<Label> {
  readonly counts: Float64Array = new Float64Array(SERIES);
  readonly sums: Float64Array = new Float64Array(SERIES);
  readonly buckets: Float64Array = new Float64Array(SERIES * DURATION_SECONDS.length);

  constructor(registry: Registry) {
    super({
      name: DURATION_NAME,
      help: DURATION_HELP,
      labelNames: LABELS,
      buckets: [...DURATION_SECONDS],
      registers: [registry],
    });
  }

  add(direction: number, method: string, status: number, seconds: number): void {
    const methodIndex = METHOD_INDEX.get(method) ?? METHODS.length - 1;
    const statusIndex = status >= 100 && status < 600 ? Math.floor(status / 100) : 0;
    const series = (direction * METHODS.length + methodIndex) * STATUSES.length + statusIndex;
    this.counts[series] = (this.counts[series] ?? 0) + 1;
    this.sums[series] = (this.sums[series] ?? 0) + seconds;
    let bucket = 0;
    while (bucket < DURATION_SECONDS.length && seconds > (DURATION_SECONDS[bucket] ?? 0)) bucket += 1;
    if (bucket === DURATION_SECONDS.length) return;
    const at = series * DURATION_SECONDS.length + bucket;
    this.buckets[at] = (this.buckets[at] ?? 0) + 1;
  }

  /** The label sets that have occurred. */
  *series(): Generator<{ readonly index: number; readonly labels: Record<Label, string>; readonly count: number }> {
    for (let index = 0; index < SERIES; index += 1) {
      const count = this.counts[index] ?? 0;
      if (count === 0) continue;
      const status = STATUSES[index % STATUSES.length] ?? 'none';
      const method = METHODS[Math.floor(index / STATUSES.length) % METHODS.length] ?? 'other';
      const direction = DIRECTIONS[Math.floor(index / (STATUSES.length * METHODS.length))] ?? 'inbound';
      yield { index, labels: { direction, method, status }, count };
    }
  }

  /** What prom-client's registry, and `get`, ask for; its types leave it out. */
  getForPromString(): Promise<object> {
    const values: object[] = [];
    for (const { index, labels: sharedLabels, count } of this.series()) {
      let below = 0;
      DURATION_SECONDS.forEach((le, bucket) => {
        below += this.buckets[index * DURATION_SECONDS.length + bucket] ?? 0;
        values.push({ labels: { le }, sharedLabels, value: below, metricName: `${DURATION_NAME}_bucket` });
      });
      values.push({ labels: { le: '+Inf' }, sharedLabels, value: count, metricName: `${DURATION_NAME}_bucket` });
      values.push({ labels: {}, sharedLabels, value: this.sums[index], metricName: `${DURATION_NAME}_sum` });
      values.push({ labels: {}, sharedLabels, value: count, metricName: `${DURATION_NAME}_count` });
    }
    return Promise.resolve({ name: DURATION_NAME, help: DURATION_HELP, type: 'histogram', aggregator: 'sum', values });
  }
}
