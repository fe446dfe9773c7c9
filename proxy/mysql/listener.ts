/** Accepts a service's clients of MySQL or MariaDB: logins, and one upstream session for each client session. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, monotonicSeconds, now } from '../../src/platform/clock.ts';
import type { Log } from '../../src/platform/log.ts';
import type { ServedTraces } from '../binding/from-sql-comment.ts';
import type { MysqlDatabaseOptions } from '../options.ts';
import { hangUp } from '../relay/hang-up.ts';
import { warnOfOpenKey } from '../relay/listen-tls.ts';
import { UpstreamFault } from '../relay/upstream.ts';
import type { SqlEvent } from '../sql/event.ts';
import { workKey, type Work } from '../sql/work.ts';
import type { InsideParts } from './inside/parts.ts';
import { loadGrammar } from './text/tree.ts';
import { createClientTls } from './login/client-tls.ts';
import { createKeys } from './login/keys.ts';
import { logIn, type LoggedIn } from './login/login.ts';
import { createManager } from './login/managed.ts';
import { claimOfConnection } from './session/naming/carriers.ts';
import { relay } from './session/connection.ts';
import type { OpenSession } from './session/open-session.ts';
import {
  errorPacket,
  shuttingDown,
  sidecarFailed,
  tooManySessions,
  unreachable,
  type Refusal,
} from './session/refusals.ts';
import { connectUpstream } from './upstream.ts';
import type { HandshakeResponse } from './wire/handshake.ts';

export interface MysqlListenerOptions {
  readonly database: MysqlDatabaseOptions;
  readonly sessionsMax: number;
  readonly statementBytesMax: number;
  readonly traces: ServedTraces;
  /** Marks of operations mean nothing to the database, because the application has a barrier of its own. */
  readonly areOperationsOff: boolean;
  /** What sessions need to take part in global transactions; undefined where they only read in them. */
  readonly inside: InsideParts | undefined;
  readonly count: (what: SqlEvent) => void;
  readonly log: Log;
}

export interface MysqlListener {
  readonly port: number;
  readonly sessions: number;
  /** True when a session holds a local transaction open that is carried out for `work`. */
  isOpen(work: Work): boolean;
  /** Rolls back the local transactions of a branch that is rolled back as a whole, or of an operation that is being undone. */
  abandon(work: Work): void;
  /** Stops accepting; sessions may go on for `graceMs`, idle ones are closed at once. */
  close(graceMs: number): Promise<void>;
}

/** Connections beyond the sessions that are told that there are too many; further ones are closed without a word. */
const TURNED_AWAY_MAX = 1000;
const CLOSE_CHECK_MS = 50;

/** Listens at `database.listen`. Throws when the certificate of the listener cannot be read. */
export async function startMysqlListener(options: MysqlListenerOptions): Promise<MysqlListener> {
  const { database, sessionsMax, log } = options;
  const connections = new Set<OpenSession>();
  const sockets = new Set<Socket>();
  /** Those that are no session yet. */
  const starting = new Set<Socket>();
  const keys = createKeys();
  const manager = database.auth.mode === 'managed' ? createManager({ database, log }) : undefined;
  let isClosing = false;
  const { auth, listenTls, tls } = database;
  const clientTls =
    listenTls === undefined ? undefined : createClientTls({ options: listenTls, timeoutMs: auth.timeout, log });
  if (tls.key !== undefined) warnOfOpenKey(tls.key, log);
  if (options.inside !== undefined) await loadGrammar();

  const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    sockets.add(client);
    client.once('close', () => sockets.delete(client));
    client.on('error', () => client.destroy());
    if (isClosing) return refuse(client, shuttingDown);
    if (sockets.size > sessionsMax + TURNED_AWAY_MAX) return void client.destroy();
    // The server speaks first, so that every connection needs one of its own at once.
    if (connections.size + starting.size >= sessionsMax) return refuse(client, tooManySessions(sessionsMax));
    starting.add(client);
    client.once('close', () => starting.delete(client));
    return void open(client).catch((error: unknown) => {
      log.error({ err: error }, 'a database session did not come about');
      refuse(client, sidecarFailed);
    });
  });

  /** Tells a client why not, at the beginning of its connection. */
  function refuse(client: Socket, refusal: Refusal): void {
    starting.delete(client);
    hangUp(client, errorPacket(refusal, 0, false));
  }

  async function open(client: Socket): Promise<void> {
    const upstream = await reach(client);
    if (upstream === undefined) return undefined;
    const login = await logInWithin(client, upstream);
    if (login === undefined || !starting.delete(client)) return void upstream.destroy();
    const { statementBytesMax, traces, areOperationsOff, inside, count } = options;
    const isMariadb = /mariadb/i.test(login.handshake.version.toString('latin1'));
    const { stripComments: stripsComments } = database;
    const parts = { statementBytesMax, traces, areOperationsOff, inside, isMariadb, stripsComments, count, log };
    const connection = relay(login, parts);
    connections.add(connection);
    await connection.closed;
    connections.delete(connection);
    return undefined;
  }

  /** A connection to the server; undefined when there is none, which the client has been told. */
  async function reach(client: Socket): Promise<Socket | undefined> {
    try {
      const upstream = await connectUpstream(database);
      if (starting.has(client)) return upstream;
      // It was refused meanwhile, or has gone.
      upstream.destroy();
    } catch (error) {
      const reason = error instanceof UpstreamFault ? error.message : 'cannot reach the database';
      log.warn({ database: database.name, err: error }, reason);
      refuse(client, unreachable(reason));
    }
    return undefined;
  }

  /** A client that has not logged in within the time limit is cut off. */
  async function logInWithin(client: Socket, upstream: Socket): Promise<LoggedIn | undefined> {
    const cancelTimer = at((now() + auth.timeout) as Instant, () => client.destroy());
    try {
      return await logIn(client, upstream, {
        database,
        clientTls,
        keys,
        manager,
        deadline: AbortSignal.timeout(auth.timeout),
        examine: refusedAttributes,
        onProtocolError: () => options.count('protocol-error'),
      });
    } finally {
      cancelTimer();
    }
  }

  server.listen(database.listen.port, database.listen.host);
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    get sessions() {
      return connections.size;
    },
    isOpen: (work) =>
      [...connections].some(({ openWork }) => openWork !== undefined && workKey(openWork) === workKey(work)),
    abandon(work) {
      for (const connection of connections) connection.abandon(work);
    },
    async close(graceMs) {
      isClosing = true;
      const closed = new Promise((resolve) => server.close(resolve));
      // In the middle of a login nobody knows which number a packet of ours had to have.
      for (const client of starting) client.destroy();
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

/** A gid among the attributes of the connection that is none. */
function refusedAttributes({ attributes }: HandshakeResponse): Refusal | undefined {
  const claim = claimOfConnection(attributes);
  return claim?.kind === 'refused' ? claim.refusal : undefined;
}

function pause(ms: number): Promise<void> {
  return new Promise<void>((resolve) => at((now() + ms) as Instant, resolve));
}
