/** A database session as the listener sees it, and what it is made of. */
import type { Log } from '../../../src/platform/log.ts';
import type { ServedTraces } from '../../binding/from-sql-comment.ts';
import type { SqlEvent } from '../../sql/event.ts';
import type { Work } from '../../sql/work.ts';
import type { InsideParts } from '../inside/parts.ts';
import type { Refusal } from './refusals.ts';

export interface SessionParts {
  /** Undefined where nothing can be changed inside a global transaction. */
  readonly inside: InsideParts | undefined;
  /** The server is MariaDB. */
  readonly isMariadb: boolean;
  /** Largest message of the client that is kept, in bytes. */
  readonly statementBytesMax: number;
  readonly traces: ServedTraces;
  /** Marks of operations mean nothing to the database, because the application has a barrier of its own. */
  readonly areOperationsOff: boolean;
  /** Comments that carry a gid or a trace do not go on to the server. */
  readonly stripsComments: boolean;
  readonly count: (what: SqlEvent) => void;
  readonly log: Log;
}

/** A running session, as the listener sees it. */
export interface OpenSession {
  /** True when the client waits for nothing and has no local transaction open. */
  readonly isIdle: boolean;
  /** For what its local transaction is carried out, which has entered its branch; undefined when there is none. */
  readonly openWork: Work | undefined;
  /** Rolls the local transaction back that is carried out for `work`, as soon as no statement of it is running. */
  abandon(work: Work): void;
  /** Ends the session with an error for the client; the server rolls the local transaction back. */
  terminate(refusal: Refusal): void;
  readonly closed: Promise<void>;
}
