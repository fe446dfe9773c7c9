/** Interrupts statements of sessions from outside, by KILL QUERY on a connection of the sidecar's own. */
import type { Log } from '../../../src/platform/log.ts';
import { isServerError, openOwnPool, type OwnLogin } from '../own-pool.ts';

/** A session as the server knows it. */
interface Target {
  /** The number of its connection, by the greeting. */
  readonly connection: number;
  /** What `PLACE_SQL` has told it. */
  readonly place: string;
}

interface Interruption {
  /** Asked right before KILL QUERY is said. */
  readonly isWanted: () => boolean;
  /**
   * KILL QUERY has been said: until `over` resolves it may hit whatever the session says, and nothing behind that. `false`: it is not known
   * whether it still will.
   */
  readonly onSaid: (over: Promise<boolean>) => void;
}

export interface Interrupter {
  /** Resolves when it is done, or is not to be done. False where trying again would do nothing. Never rejects. */
  interrupt(target: Target, interruption: Interruption): Promise<boolean>;
  close(): Promise<void>;
}

/** Tells servers apart: behind one address there may be another one by now, where the number is somebody else's. */
const SERVER_SQL = "CONCAT_WS(':', @@hostname, @@port, @@server_id)";

/**
 * Where a session is: the server, and the number of its connection there. A proxy in front of the server greets with a number of its own, which is
 * somebody else's at the server.
 */
export const PLACE_SQL = `CONCAT_WS(':', ${SERVER_SQL}, CONNECTION_ID())`;

const CONNECTIONS_MAX = 2;
const STATEMENT_MS_MAX = 5_000;

/** `login`: that of the second phase, which needs CONNECTION_ADMIN (MariaDB: CONNECTION ADMIN) for sessions of other accounts than its own. */
export function createInterrupter(login: OwnLogin, log: Log): Interrupter {
  const pool = openOwnPool({
    connection: login,
    purpose: 'interrupting',
    max: CONNECTIONS_MAX,
    statementTimeoutMs: STATEMENT_MS_MAX,
    lockTimeoutS: 1,
  });
  return {
    async interrupt({ connection, place }, { isWanted, onSaid }) {
      try {
        return await pool.inTransaction(async (own) => {
          const [row] = await own.rows<{ server: string }>(`SELECT ${SERVER_SQL} AS server`);
          if (row === undefined || `${row.server}:${connection}` !== place) {
            log.debug(
              { connection, place, found: row?.server },
              'a statement to be interrupted is on another server, or has another number there',
            );
            return false;
          }
          if (!isWanted()) return true;
          const said = own.change(`KILL QUERY ${connection}`);
          onSaid(said.then(() => true, isServerError));
          await said;
          return true;
        });
      } catch (error) {
        log.debug(
          { connection, err: error },
          'a statement whose global transaction was rolled back was not interrupted',
        );
        return false;
      }
    },
    close: () => pool.end(),
  };
}
