/** The coordinator, composed: requests come in over HTTP, the runner decides and saves, the transport calls the branches. */
import { openCoordinatorMetrics } from './http/metrics.ts';
import { healthRoutes } from './http/health.ts';
import { listenHttp } from './http/server.ts';
import { v1Routes } from './http/v1.ts';
import type { CoordinatorOptions } from './options.ts';
import { now, systemClock } from './platform/clock.ts';
import type { Log } from './platform/log.ts';
import { newGid } from './platform/random.ts';
import type { Store } from './runner/ports.ts';
import { createRunner } from './runner/run.ts';
import { openMemoryStore } from './store/memory.ts';
import { openSqliteStore } from './store/sqlite.ts';
import { createHttpTransport } from './transport/http.ts';

/** A running coordinator. */
export interface Coordinator {
  /** Where it can be reached from this machine. */
  readonly url: string;
  readonly port: number;
  /**
   * Readiness fails first. Calls in flight get `graceMs` (default 10,000) to finish, and what they answered is saved;
   * requests in flight are answered within what is left of it. Then everything is cut.
   */
  close(graceMs?: number): Promise<void>;
  /** Resolves when the store has failed for good: the process should exit with an error and be started again. */
  readonly failed: Promise<Error>;
}

/**
 * The owner of all leases: each store that exists today belongs to one process at a time (the SQLite file is locked), so
 * what an earlier process left is ours at once.
 */
const OWNER = 'coordinator';
const GRACE_MS = 10_000;

/** Starts a coordinator. Rejects when the store cannot be opened (`CodedError`) or the address cannot be listened on. */
export async function startCoordinator(options: CoordinatorOptions, log: Log): Promise<Coordinator> {
  const metrics = openCoordinatorMetrics(true);
  const { store, failed } = await openStore(options, log);
  const transport = createHttpTransport(options.branchToken === undefined ? {} : { token: options.branchToken });
  const runner = createRunner({
    store,
    transport,
    clock: systemClock,
    newGid,
    owner: OWNER,
    leaseMs: options.lease,
    retentionMs: options.retention,
    limits: options.limits,
    log,
    onEvent: metrics.onEvent,
  });
  metrics.watch(runner);
  let isDraining = false;
  const routes = [...v1Routes(runner), ...healthRoutes(store, () => isDraining), metrics.route];
  const listening = { listen: options.listen, token: options.token, bodyBytesMax: options.limits.body };
  const server = await listenHttp(listening, routes, log).catch(async (error: unknown) => {
    await Promise.all([transport.close(), store.close()]);
    throw error;
  });
  runner.start();
  log.info({ host: options.listen.host, port: server.port }, 'the coordinator is ready');

  return {
    url: urlOf(options.listen.host, server.port),
    port: server.port,
    failed,
    close: async (graceMs = GRACE_MS) => {
      const deadline = now() + graceMs;
      isDraining = true;
      server.drain();
      await runner.stop(graceMs);
      // A begin is no work of the driver: it waits for the store, and its client for the gid.
      await server.close(deadline - now());
      await transport.close();
      await store.close();
      log.info({}, 'the coordinator has stopped');
    },
  };
}

async function openStore({ store }: CoordinatorOptions, log: Log): Promise<{ store: Store; failed: Promise<Error> }> {
  if ('memory' in store) return { store: openMemoryStore(), failed: Promise.withResolvers<Error>().promise };
  const sqlite = await openSqliteStore(store.sqlite.path, log);
  return { store: sqlite, failed: sqlite.failed };
}

/** An address that listens everywhere is reached on the loopback one. */
function urlOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
