/** Accepts a service's database clients: start-up, cancel requests, and one upstream session for each client session. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { monotonicSeconds, now, at } from '../../src/platform/clock.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import type { Log } from '../../src/platform/log.ts';
import type { ServedTraces } from '../binding/from-sql-comment.ts';
import type { Enlistment } from '../branch/enlist.ts';
import type { LockHolders } from '../branch/lock-holders.ts';
import type { DatabaseOptions } from '../options.ts';
import type { SqlEvent } from '../sql/event.ts';
import type { Planner } from '../sql/planner.ts';
import type { Refusal } from '../sql/statement.ts';
import { workKey, type Work } from '../sql/work.ts';
import { createEntrance } from './login/entrance.ts';
import { isBindingCut } from './login/channel-binding.ts';
import { warnOfOpenKey } from '../relay/listen-tls.ts';
import { createManager, type ManagedLogin } from './login/manager.ts';
import { hangUp } from '../relay/hang-up.ts';
import { UpstreamFault } from '../relay/upstream.ts';
import { foreignDatabase } from './relay/home-database.ts';
import { relay } from './session/connection.ts';
import type { SessionOperations } from '../branch/operation-rows.ts';
import type { OpenSession } from './relay/open-session.ts';
import { gidAtStartup, sidecarFailed } from './session/refusals.ts';
import { namesGidSetting } from './session/statements.ts';
import { errorFrame } from './session/conversation.ts';
import type { Preparation } from './xa/preparation.ts';
import { connectUpstream } from './upstream.ts';
import { encodeStartupPacket, type CancelRequest, type StartupMessage } from './wire/startup.ts';

export interface PostgresListenerOptions {
  readonly database: DatabaseOptions;
  readonly resource: string;
  readonly sessionsMax: number;
  readonly statementBytesMax: number;
  readonly enlistment: Enlistment;
  readonly holders: LockHolders;
  readonly createPlanner: () => Planner;
  readonly traces: ServedTraces;
  readonly operations: SessionOperations;
  /** Undefined where no local transaction is prepared. */
  readonly preparation: Preparation | undefined;
  readonly count: (what: SqlEvent) => void;
  readonly log: Log;
}

export interface PostgresListener {
  readonly port: number;
  readonly sessions: number;
  /** True when a session holds a local transaction open that is carried out for `work`. */
  isOpen(work: Work): boolean;
  /**
   * Rolls back the local transactions of a branch that is rolled back as a whole, or of an operation that is being undone. A statement
   * of theirs that runs is cancelled.
   */
  abandon(work: Work): void;
  /** Stops accepting; sessions may go on for `graceMs`, idle ones are closed at once. */
  close(graceMs: number): Promise<void>;
}

/** How long a server may take to close the connection that a cancel request came on. */
const CANCEL_MS_MAX = 10_000;
/** How often a statement is cancelled whose global transaction was rolled back, and the milliseconds between. */
const CANCELS_MAX = 5;
const CANCEL_AGAIN_MS = 100;
/** Connections beyond the sessions: those that are starting, and cancel requests, which come even when no session is free. */
const STARTING_MAX = 1000;
const CLOSE_CHECK_MS = 50;
const NOTHING = Buffer.alloc(0);

/** Listens at `database.listen`. */
export async function startPostgresListener(options: PostgresListenerOptions): Promise<PostgresListener> {
  const connections = new Set<OpenSession>();
  const sockets = new Set<Socket>();
  let opening = 0;
  let isClosing = false;

  const { tls } = options.database;
  if (tls.key !== undefined) warnOfOpenKey(tls.key, options.log);
  const entrance = createEntrance({
    database: options.database,
    onStartup: (client, message, bytes, rest) =>
      void open(client, message, bytes, rest).catch((error: unknown) => {
        options.log.error({ err: error }, 'a database session did not come about');
        entrance.refuse(client, sidecarFailed);
      }),
    onCancel: (client, request) => void forwardCancel(client, request),
    onProtocolError: () => options.count('protocol-error'),
    log: options.log,
  });
  const manager =
    options.database.auth.mode === 'managed'
      ? createManager({
          database: options.database,
          turnAway: (client, error) => entrance.turnAway(client, error),
          log: options.log,
        })
      : undefined;

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    sockets.add(client);
    client.once('close', () => sockets.delete(client));
    client.on('error', () => client.destroy());
    if (isClosing) return hangUp(client, errorFrame(shuttingDown, 'FATAL'));
    if (sockets.size > options.sessionsMax + STARTING_MAX)
      return hangUp(client, errorFrame(tooManySessions(options.sessionsMax), 'FATAL'));
    return entrance.enter(client);
  });

  async function open(client: Socket, message: StartupMessage, bytes: Buffer, rest: Buffer): Promise<void> {
    if (message.parameters.some(([name, value]) => namesGidSetting(`${String(name)} ${String(value)}`))) {
      return entrance.refuse(client, gidAtStartup);
    }
    const login = manager === undefined ? undefined : await manager.logIn(client, message, rest);
    if (manager !== undefined && login === undefined) return undefined;
    if (connections.size + opening >= options.sessionsMax) {
      return entrance.refuse(client, tooManySessions(options.sessionsMax));
    }
    opening += 1;
    const upstream = await lead(client, login).finally(() => (opening -= 1));
    if (upstream === undefined) return undefined;
    // It was refused meanwhile, or has gone.
    if (!entrance.letIn(client)) return void upstream.destroy();
    if (login === undefined) upstream.write(bytes);
    else client.write(login.welcome);
    const foreign = foreignDatabase(message, options.database);
    const connection = relay(client, upstream, login === undefined ? rest : NOTHING, {
      foreign,
      respectsLocks: options.database.writersOutside === 'wait' && foreign === undefined,
      resource: options.resource,
      planner: options.createPlanner(),
      enlistment: options.enlistment,
      holders: options.holders,
      lockTimeoutMs: options.database.lockTimeout,
      statementBytesMax: options.statementBytesMax,
      stripsChannelBinding: login === undefined && isBindingCut(client, upstream),
      stripsComments: options.database.stripComments,
      traces: options.traces,
      operations: options.operations,
      preparation: options.preparation,
      count: options.count,
      log: options.log,
    });
    connections.add(connection);
    client.resume();
    await connection.closed;
    connections.delete(connection);
    return undefined;
  }

  /** A connection to the server on which the login can go on, or a managed one is done; undefined when the client was told why not. */
  async function lead(client: Socket, login: ManagedLogin | undefined): Promise<Socket | undefined> {
    const upstream = await reach(client);
    if (upstream === undefined || login === undefined || (await login.goOn(upstream))) return upstream;
    upstream.destroy();
    return undefined;
  }

  /** A connection to the server; undefined when there is none, which the client has been told. */
  async function reach(client: Socket): Promise<Socket | undefined> {
    try {
      return await connectUpstream(options.database);
    } catch (error) {
      const reason = error instanceof UpstreamFault ? error.message : 'cannot reach the database';
      options.log.warn({ database: options.database.name, err: error }, reason);
      entrance.refuse(client, {
        code: '08001',
        message: reason,
        hint: 'Check databases[].upstream and databases[].tls of the sidecar, and that the database is up.',
      });
      return undefined;
    }
  }

  /** A cancel request comes on a connection of its own, and is answered by closing it. */
  async function forwardCancel(client: Socket, request: CancelRequest): Promise<void> {
    const target = [...connections].find(
      ({ key }) => key?.processId === request.processId && key.secret.equals(request.secret),
    );
    // Never a statement of ours, a COMMIT above all.
    await cancel(request, target, () => target?.isCancellable !== false);
    hangUp(client);
  }

  /** Sends a cancel request, unless it is no longer wanted. Resolves when the server has passed it on to its process. */
  async function cancel(
    request: CancelRequest,
    target: OpenSession | undefined,
    isWanted: () => boolean,
  ): Promise<void> {
    try {
      if (!isWanted()) return;
      const upstream = await connectUpstream(options.database);
      upstream.on('error', () => undefined);
      const closed = closeOf(upstream);
      if (isWanted()) {
        target?.expectCancel(closed);
        upstream.end(encodeStartupPacket(request)).resume();
      } else upstream.destroy();
      await closed;
    } catch (error) {
      options.log.debug({ err: error }, 'a cancel request did not reach the database');
    }
  }

  /** A statement that waits for somebody else's lock would keep the whole from being rolled back. */
  async function cancelRunning(connection: OpenSession, work: Work): Promise<void> {
    const isWanted = (): boolean => isOf(connection, work) && connection.isRunningStatement;
    // Between two messages the server takes no notice of a cancel request.
    for (let left = CANCELS_MAX; left > 0 && isOf(connection, work) && !connection.isIdle; left -= 1) {
      if (connection.key !== undefined) {
        await cancel({ kind: 'cancel-request', ...connection.key }, connection, isWanted);
      }
      await pause(CANCEL_AGAIN_MS);
    }
  }

  server.listen(options.database.listen.port, options.database.listen.host);
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    get sessions() {
      return connections.size;
    },
    isOpen: (work) => [...connections].some((connection) => isOf(connection, work) && !connection.isIdle),
    abandon(work) {
      for (const connection of connections) {
        if (!isOf(connection, work)) continue;
        connection.abandon();
        void cancelRunning(connection, work);
      }
    },
    async close(graceMs) {
      isClosing = true;
      const closed = new Promise((resolve) => server.close(resolve));
      entrance.close(shuttingDown);
      const end = monotonicSeconds() + graceMs / 1000;
      while (sockets.size > 0 && monotonicSeconds() < end) {
        for (const connection of connections) if (connection.isIdle) connection.terminate(shuttingDown);
        await pause(CLOSE_CHECK_MS);
      }
      for (const connection of connections) connection.terminate(shuttingDown);
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function isOf(connection: OpenSession, work: Work): boolean {
  return connection.work !== undefined && workKey(connection.work) === workKey(work);
}

function pause(ms: number): Promise<void> {
  return new Promise<void>((resolve) => at((now() + ms) as Instant, resolve));
}

/** Waits until the server has closed a connection, which it is made to after a while. */
async function closeOf(upstream: Socket): Promise<void> {
  const cancelTimer = at((now() + CANCEL_MS_MAX) as Instant, () => upstream.destroy());
  await once(upstream, 'close');
  cancelTimer();
}

function tooManySessions(sessionsMax: number): Refusal {
  return {
    code: '53300',
    message: `more than ${sessionsMax} database sessions`,
    hint: 'Close sessions, or raise limits.sessions in the sidecar configuration.',
  };
}

const shuttingDown: Refusal = {
  code: '57P01',
  message: 'the sidecar is shutting down',
  hint: 'Connect again when it is back.',
};
