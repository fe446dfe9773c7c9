/** A database session as the listener sees it, and what it is made of. */
import type { Log } from '../../../src/platform/log.ts';
import type { ServedTraces } from '../../binding/from-sql-comment.ts';
import type { Enlistment } from '../../branch/enlist.ts';
import type { LockHolders } from '../../branch/lock-holders.ts';
import type { SessionOperations } from '../../branch/operation-rows.ts';
import type { CancelKey } from './server-facts.ts';
import type { SqlEvent } from '../../sql/event.ts';
import type { Planner } from '../../sql/planner.ts';
import type { SessionState } from '../../sql/session.ts';
import type { Refusal } from '../../sql/statement.ts';
import type { Work } from '../../sql/work.ts';
import type { Preparation } from '../xa/preparation.ts';

export interface SessionParts {
  /** Why the session can belong to no global transaction: it works in another database than the second phase. Undefined where it can. */
  readonly foreign: Refusal | undefined;
  /** Statements outside any global transaction wait for row locks too: each of them that may meet one is looked at. */
  readonly respectsLocks: boolean;
  readonly resource: string;
  readonly operations: SessionOperations;
  /** Undefined where no local transaction is prepared. */
  readonly preparation: Preparation | undefined;
  readonly planner: Planner;
  readonly enlistment: Enlistment;
  readonly holders: LockHolders;
  readonly lockTimeoutMs: number;
  readonly statementBytesMax: number;
  /** The server offers channel binding over TLS, which a relay cannot pass on. */
  readonly stripsChannelBinding: boolean;
  /** Comments that carry a gid or a trace do not go on to the server. */
  readonly stripsComments: boolean;
  readonly log: Log;
  readonly traces: ServedTraces;
  readonly count: (what: SqlEvent) => void;
}

/** A running session, as the listener and the control listener see it. */
export interface OpenSession {
  /** What its local transaction is carried out for; undefined without a mark. */
  readonly work: Work | undefined;
  readonly state: SessionState;
  /** False while a request of our own, or the end of a block, may be running: a cancel request must not hit it. */
  readonly isCancellable: boolean;
  /** A statement inside a global transaction is running. */
  readonly isRunningStatement: boolean;
  /** True when the client waits for nothing and has no local transaction open. */
  readonly isIdle: boolean;
  /** The key that a CancelRequest must carry. */
  readonly key: CancelKey | undefined;
  /** Rolls the local transaction back as soon as no statement of it is running; the client finds its block failed. */
  abandon(): void;
  /** A cancel request is on its way until `arrived` settles: what comes behind the statement that it is meant for must wait. */
  expectCancel(arrived: Promise<void>): void;
  /** Ends the session with a FATAL error for the client; the server rolls the local transaction back. */
  terminate(refusal: Refusal): void;
  readonly closed: Promise<void>;
}
