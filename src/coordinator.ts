/** The coordinator, composed: requests come in over HTTP and gRPC, the runner decides and saves, the transport calls the branches. */
import { createDtmAdmin } from './dtm/admin.ts';
import { createDtmService } from './dtm/serve.ts';
import { type GrpcServer, type GrpcServices, listenGrpc, messageBytesMax } from './grpc/server.ts';
import { dtmErrorReply } from './http/dtm/replies.ts';
import { DTM_PREFIX, dtmRoutes } from './http/dtm/routes.ts';
import { openCoordinatorMetrics } from './http/metrics.ts';
import { healthRoutes } from './http/health.ts';
import { listenHttp } from './http/server.ts';
import { carryingBytesMax, v1Routes } from './http/v1.ts';
import type { CoordinatorOptions } from './options.ts';
import { openPeers } from './peers/forward.ts';
import { ownerAt, urlOfListener } from './peers/owner.ts';
import { peerRoute } from './peers/route.ts';
import { now, systemClock } from './platform/clock.ts';
import type { Log } from './platform/log.ts';
import { newGid } from './platform/random.ts';
import type { Records, Shared, Store } from './runner/ports.ts';
import type { RunnerEvent } from './runner/driven.ts';
import { createRunner } from './runner/run.ts';
import { openMemoryStore } from './store/memory.ts';
import { openPostgresStore } from './store/postgres.ts';
import { openSqliteStore } from './store/sqlite.ts';
import { createTransports } from './transport/transports.ts';
import { openWebhooks } from './webhook/hooks.ts';

/** A running coordinator. */
export interface Coordinator {
  /** Where it can be reached from this machine. */
  readonly url: string;
  readonly port: number;
  /** Where it can be reached over gRPC, as `grpc://host:port`; undefined when that is switched off. */
  readonly grpcUrl: string | undefined;
  /**
   * Readiness fails first. Calls in flight get `graceMs` (default 10,000) to finish, and what they answered is saved;
   * requests in flight are answered within what is left of it. Then everything is cut.
   */
  close(graceMs?: number): Promise<void>;
  /** Resolves when the store has failed for good: the process should exit with an error and be started again. */
  readonly failed: Promise<Error>;
}

/** The owner of all leases in a store that belongs to one process at a time: what an earlier process left is ours at once. */
const OWNER = 'coordinator';
const GRACE_MS = 10_000;

/** Starts a coordinator. Rejects when the store cannot be opened (`CodedError`) or the address cannot be listened on. */
export async function startCoordinator(options: CoordinatorOptions, log: Log): Promise<Coordinator> {
  const metrics = openCoordinatorMetrics(true);
  const { store, failed, shared } = await openStore(options, log);
  const owner = shared === undefined ? OWNER : ownerAt(options.cluster.url ?? urlOfListener(options.listen));
  const peers = shared && openPeers({ store: shared, owner, token: options.token, log });
  const transport = createTransports({ token: options.branchToken, ...options.branches });
  const { alert, completion } = options.webhooks;
  const webhooks = openWebhooks({ alert, completion }, log);
  const runner = createRunner({
    store,
    transport,
    clock: systemClock,
    newGid,
    owner,
    leaseMs: options.lease,
    retentionMs: options.retention,
    limits: options.limits,
    ...(peers === undefined ? {} : { peers }),
    log,
    onEvent: (event) => {
      metrics.onEvent(event);
      webhooks.onEvent(event);
      if (event.kind === 'abandoned') logAbandoned(log, event);
    },
  });
  metrics.watch(runner);
  let isDraining = false;
  const { timeoutToFail, retryInterval, requestTimeout } = options.dtm;
  const defaults = {
    timeoutToFailMs: timeoutToFail,
    retryIntervalMs: retryInterval,
    requestTimeoutMs: requestTimeout,
  };
  const dtm = createDtmService(runner, store, { defaults, newGid, now, log });
  const { body: bodyBytesMax } = options.limits;
  const eventBytesMax = Math.max(messageBytesMax(bodyBytesMax), carryingBytesMax(bodyBytesMax));
  const routes = [
    ...v1Routes(runner, bodyBytesMax),
    ...(peers === undefined ? [] : [peerRoute(runner, eventBytesMax)]),
    ...healthRoutes(store, () => isDraining),
    metrics.route,
    ...dtmRoutes(dtm, createDtmAdmin(runner, store, { now, log }), {
      resetBeyondMs: 3 * timeoutToFail,
      metrics: metrics.route.handle,
      onRequest: metrics.onDtmRequest,
    }),
  ];
  const faces = [{ prefix: DTM_PREFIX, errorReply: dtmErrorReply }];
  const { listen, token } = options;
  const giveBack = async (error: unknown): Promise<never> => {
    await Promise.all([transport.close(), peers?.close(), store.close(), webhooks.close(0)]);
    throw error;
  };
  const listening = { listen, token, bodyBytesMax };
  const server = await listenHttp(listening, routes, log, faces).catch(giveBack);
  const grpc = await openGrpc(options, { dtm, runner, onDtmRequest: metrics.onDtmRequest }, log).catch(
    async (error: unknown) => {
      await server.close(0);
      return giveBack(error);
    },
  );
  runner.start();
  const grpcUrl = grpc?.url;
  log.info({ host: listen.host, port: server.port, grpcUrl, owner }, 'the coordinator is ready');

  return {
    url: urlOf('http', listen.host, server.port),
    port: server.port,
    grpcUrl,
    failed,
    close: async (graceMs = GRACE_MS) => {
      const deadline = now() + graceMs;
      isDraining = true;
      server.drain();
      grpc?.drain();
      await runner.stop(graceMs);
      // A begin is no work of the driver: it waits for the store, and its client for the gid.
      await Promise.all([server.close(deadline - now()), grpc?.close(deadline - now())]);
      await webhooks.close(Math.max(0, deadline - now()));
      await Promise.all([transport.close(), peers?.close()]);
      await store.close();
      log.info({}, 'the coordinator has stopped');
    },
  };
}

async function openStore(
  { store }: CoordinatorOptions,
  log: Log,
): Promise<{ store: Store & Records; failed: Promise<Error>; shared?: Shared }> {
  if ('memory' in store) return { store: openMemoryStore(), failed: Promise.withResolvers<Error>().promise };
  if ('postgres' in store) {
    const { url, schema } = store.postgres;
    const postgres = await openPostgresStore({ url: url.reveal(), schema }, log);
    return { store: postgres, failed: postgres.failed, shared: postgres };
  }
  const sqlite = await openSqliteStore(store.sqlite.path, log);
  return { store: sqlite, failed: sqlite.failed };
}

async function openGrpc(
  { grpc: { listen }, token, limits }: CoordinatorOptions,
  services: GrpcServices,
  log: Log,
): Promise<(GrpcServer & { readonly url: string }) | undefined> {
  if (listen === 'off') return undefined;
  const server = await listenGrpc({ listen, token, bodyBytesMax: limits.body }, services, log);
  return { ...server, url: urlOf('grpc', listen.host, server.port) };
}

/** An address that listens everywhere is reached on the loopback one. */
function urlOf(scheme: 'http' | 'grpc', host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

/** The alert may not be set up, and the transaction itself ends well: the log is where it is seen in any case. */
function logAbandoned(log: Log, { transaction, branch }: Extract<RunnerEvent, { kind: 'abandoned' }>): void {
  const { id, resource, attempts, lastError } = branch;
  const about = { gid: transaction.gid, branch: id, resource, attempts, lastError };
  log.warn(about, 'a message was given up: it was tried as often as its sender wished');
}
