/** The sidecar, composed in the order in which a request meets its parts: inbound, the application, outbound, the database, the second phase. */
import { connectCoordinator } from '../src/client/connect.ts';
import { CodedError } from '../src/contract/errors.ts';
import type { Instant } from '../src/contract/transaction.ts';
import { at, now } from '../src/platform/clock.ts';
import type { Log } from '../src/platform/log.ts';
import { openMetrics } from '../src/platform/metrics.ts';
import { openActiveRequests } from './binding/active-requests.ts';
import type { ServedTraces } from './binding/from-sql-comment.ts';
import { lockPage } from './branch/lock-view.ts';
import { startControlServer } from './branch/control-server.ts';
import type { Database } from './database.ts';
import { checkMysqlDatabase, startMysqlDatabase } from './mysql-database.ts';
import { startAdmin, type Readiness } from './http/admin.ts';
import { startInbound } from './inbound/inbound.ts';
import { checkMessage } from './inbound/begin-message.ts';
import { openDesks, type Desks } from './desks.ts';
import { openHttpMetrics } from './http/metrics.ts';
import { startOutbound } from './outbound/outbound.ts';
import { openSqlMetrics } from './metrics.ts';
import { carriesBarriers, type AnyDatabaseOptions, type SidecarOptions } from './options.ts';
import { loadParser } from './postgres/parse.ts';
import { checkPostgresDatabase, startPostgresDatabase } from './postgres-database.ts';

/** A running sidecar. */
export interface Sidecar {
  /** The ports that are listened on; they differ from the options where those say 0. */
  readonly ports: {
    readonly inbound?: number;
    readonly outbound?: number;
    readonly control: number;
    readonly admin: number;
    readonly databases: Readonly<Record<string, number>>;
  };
  /** The application has been told to end, or has ended: readiness fails from now on, and everything else goes on until `close`. */
  applicationEnds(): void;
  /** Readiness fails first, then no new work is taken; running requests and local transactions get `graceMs`. */
  close(graceMs?: number): Promise<void>;
  /** Resolves when the sidecar cannot go on. */
  readonly failed: Promise<Error>;
}

/** How much longer than its grace a close may take for transactions that are being submitted or aborted. */
const SETTLE_MS = 2_000;
const CLEAN_UP_MS = 600_000;
/** How long a finished branch keeps late local transactions out; far longer than any of them can last. */
const TOMBSTONE_MS = 24 * 3_600_000;

/** Starts a sidecar. Rejects when a database has no usable schema (`CodedError`) or an address cannot be bound. */
export async function startSidecar(options: SidecarOptions, log: Log): Promise<Sidecar> {
  await loadParser();
  await Promise.all(options.databases.map(checkDatabase));

  const registry = openMetrics(true);
  const httpMetrics = openHttpMetrics(registry);
  const sqlMetrics = openSqlMetrics(registry);
  const coordinator = connectCoordinator({
    url: options.coordinator.url,
    timeoutMs: options.coordinator.timeout,
    ...(options.coordinator.token === undefined ? {} : { token: options.coordinator.token }),
  });
  const activeRequests = openActiveRequests();
  const traces: ServedTraces = {
    markOf: (traceId) => activeRequests.markOf(traceId, now()),
    get size() {
      return activeRequests.size;
    },
  };
  const databases = new Map<string, Database>();
  let desks: Desks | undefined;
  let ending: 'sidecar' | 'application' | undefined;

  const { listen, token, advertise } = options.control;
  const control = await startControlServer({
    service: options.service,
    address: listen,
    ...(token === undefined ? {} : { token }),
    databases,
    beforeFinish: async (name, gid, operation, run) =>
      (await databases.get(name)?.beforeFinish(gid, operation, run)) ?? 'go',
    onFinished: (name, gid, _operation, run) => databases.get(name)?.finished(gid, run),
    ...(options.inbound === undefined
      ? {}
      : {
          checkMessage: async (gid) => await checkMessage(opened(desks).message, gid),
          runWorkflow: async (gid) => await opened(desks).workflow.run(gid),
        }),
    log,
    metrics: registry,
  });
  const controlUrl =
    advertise ?? `http://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${control.address.port}`;
  for (const database of options.databases) {
    const shared = {
      service: options.service,
      limits: options.limits,
      controlUrl,
      coordinator,
      traces,
      barrier: barrierIn(database.name, options),
      metrics: sqlMetrics,
      log,
    };
    const started =
      database.engine === 'mysql'
        ? await startMysqlDatabase({ ...shared, options: database })
        : await startPostgresDatabase({ ...shared, options: database });
    databases.set(database.name, started);
  }
  const shared = {
    propagation: options.propagation,
    limits: options.limits,
    activeRequests,
    metrics: httpMetrics,
    log,
  };
  desks =
    options.inbound && openDesks({ ...shared, options, inbound: options.inbound, controlUrl, coordinator, databases });
  const journal = desks?.journal;
  const outbound =
    options.outbound &&
    (await startOutbound({
      ...shared,
      options: options.outbound,
      service: options.service,
      coordinator,
      ...(journal === undefined ? {} : { journal }),
    }));
  const inbound =
    options.inbound &&
    (await startInbound({ ...shared, ...desks, options: options.inbound, service: options.service, coordinator }));
  const checks = async (): Promise<Readiness> => {
    const ok = await coordinator.ready();
    return { ok, detail: { coordinator: ok ? 'ready' : `not reachable at ${options.coordinator.url}` } };
  };
  const admin = await startAdmin({
    address: options.admin.listen,
    checks,
    registry,
    locks: (query) => lockPage([...databases.values()], query),
    ending: () => ending,
  });
  const stopCleaning = everyCleanUp([...databases.values()], log);

  return {
    ports: {
      ...(inbound === undefined ? {} : { inbound: inbound.port }),
      ...(outbound === undefined ? {} : { outbound: outbound.port }),
      control: control.address.port,
      admin: admin.port,
      databases: Object.fromEntries([...databases].map(([name, { port }]) => [name, port])),
    },
    applicationEnds() {
      ending ??= 'application';
    },
    async close(graceMs = options.shutdown.grace) {
      ending = 'sidecar';
      stopCleaning();
      const deadline = now() + graceMs;
      const left = (): number => Math.max(0, deadline - now());
      // The application may need its database and other services until its last request is answered. What clients that were cut off
      // leave to be decided gets a moment more, and no longer: the coordinator ends it without us.
      await atMost(graceMs + SETTLE_MS, Promise.all([inbound?.close(graceMs), desks?.workflow.close(graceMs)]));
      await Promise.all([
        outbound?.close(left()),
        ...[...databases.values()].map((database) => database.closeListener(left())),
      ]);
      await control.close(left());
      await Promise.all([...databases.values()].map((database) => database.close()));
      await Promise.all([admin.close(0), coordinator.close()]);
    },
    failed: new Promise(() => undefined),
  };
}

/** The control listener is there first, because its port is part of what the others say. */
function opened(desks: Desks | undefined): Desks {
  if (desks !== undefined) return desks;
  throw new CodedError('SHUTTING_DOWN', 'this sidecar is starting', { retry: 'safe' });
}

async function checkDatabase(database: AnyDatabaseOptions): Promise<void> {
  await (database.engine === 'mysql' ? checkMysqlDatabase(database) : checkPostgresDatabase(database));
}

/** By default the rows of operations are in the first database that can have them. */
function barrierIn(database: string, { inbound, databases }: SidecarOptions): 'here' | 'elsewhere' | 'off' {
  const name = inbound?.barrier ?? databases.find(carriesBarriers)?.name;
  if (name === database) return 'here';
  return name === 'off' ? 'off' : 'elsewhere';
}

/** Waits for `work`, but no longer than `ms` milliseconds. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let cancel = (): void => undefined;
  const timeIsUp = new Promise<void>((resolve) => (cancel = at((now() + ms) as Instant, resolve)));
  await Promise.race([work, timeIsUp]);
  cancel();
}

/** Removes old tombstones now and then, until stopped. */
function everyCleanUp(databases: readonly Database[], log: Log): () => void {
  let cancel = (): void => undefined;
  const arm = (): void => {
    cancel = at((now() + CLEAN_UP_MS) as Instant, () => {
      void Promise.all(databases.map((database) => database.cleanUp(TOMBSTONE_MS)))
        .catch((error: unknown) =>
          log.warn({ err: error }, 'old branch states could not be deleted; trying again later'),
        )
        .finally(arm);
    });
  };
  arm();
  return () => cancel();
}
