/** A database session as the listener sees it, and what it is made of. */
import type { Log } from '../../../src/platform/log.ts';
import type { ServedTraces } from '../../binding/from-sql-comment.ts';
import type { SqlEvent } from '../../sql/event.ts';
import type { Refusal } from './refusals.ts';

export interface SessionParts {
  /** Largest message of the client that is kept, in bytes. */
  readonly statementBytesMax: number;
  readonly traces: ServedTraces;
  /** Marks of operations mean nothing to the database, because the application has a barrier of its own. */
  readonly areOperationsOff: boolean;
  readonly count: (what: SqlEvent) => void;
  readonly log: Log;
}

/** A running session, as the listener sees it. */
export interface OpenSession {
  /** True when the client waits for nothing and has no local transaction open. */
  readonly isIdle: boolean;
  /** Ends the session with an error for the client; the server rolls the local transaction back. */
  terminate(refusal: Refusal): void;
  readonly closed: Promise<void>;
}
