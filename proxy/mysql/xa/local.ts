/**
 * What is said to the server to begin and to end a local transaction of a gid, as a plain one or as an XA branch, and what its answers
 * mean. The client knows nothing of XA: it has said BEGIN and COMMIT, and hears of those. Pure.
 * Source: MySQL 8.0 reference manual, "XA Transaction States", "SET TRANSACTION Statement"; MySQL source: sql/xa.cc; MariaDB source: sql/xa.cc.
 */
import { assert } from '../../../src/platform/assert.ts';
import type { Refusal } from '../session/refusals.ts';
import type { Xid } from './names.ts';
import { xaCommitOnePhase, xaEnd, xaFinish, xaPrepare, xaStart } from './statements.ts';

/** How it is carried out, from its beginning to its end. Only one that was begun under a name can be prepared. */
export type LocalKind = { readonly kind: 'plain' } | { readonly kind: 'xa'; readonly xid: Xid };

/** What its beginning asks for beyond the settings of the session. */
export interface Beginning {
  readonly isolation?: 'READ UNCOMMITTED' | 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE';
  readonly access?: 'READ ONLY' | 'READ WRITE';
  /**
   * WITH CONSISTENT SNAPSHOT. Servers heed it under REPEATABLE READ only; an XA branch must not be asked for it elsewhere, for under
   * SERIALIZABLE the read that takes the snapshot would lock.
   */
  readonly hasSnapshot?: true;
}

/** An error as the server sent it. */
export interface ServerError {
  readonly kind: 'error';
  readonly errno: number;
  readonly packet: Buffer;
}

/** What the server says to one statement; undefined: OK, or rows, which nobody needs. */
export type Answer = ServerError | undefined;

/** What the client hears. */
export type LocalFailure = ServerError | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Statements for one write: each is carried out, whatever became of those before. `judge` takes an answer for each. */
export interface Turn<Result> {
  readonly kind: 'say';
  readonly statements: readonly string[];
  readonly judge: (answers: readonly Answer[]) => Turn<Result> | Result;
}

/** `closes`: the connection has to be closed, for the session would not be what the client thinks. */
export type Begun =
  | { readonly kind: 'begun' }
  | { readonly kind: 'failed'; readonly failure: LocalFailure; readonly closes: boolean };

/**
 * - `committed`: and the session is free for the next one.
 * - `prepared`: nothing else can be said on the connection but how the branch ends; and as long as it is open, nobody else can end it (docs/decisions/0034).
 * - `rolled-back`: nothing of it is left, or will be once the connection is closed where it `closes`. `failure`: unless that was asked for.
 * - `unknown`: the server does not say which. The branch is known to the coordinator, so its second phase copes with either. The
 *   connection has to be closed.
 */
export type Ended =
  | { readonly kind: 'committed' }
  | { readonly kind: 'prepared' }
  | { readonly kind: 'rolled-back'; readonly closes: boolean; readonly failure?: LocalFailure }
  | { readonly kind: 'unknown'; readonly failure: LocalFailure };

/** Begins one. The session may be in none, and hold no tables that it has locked itself. */
export function begin(local: LocalKind, how: Beginning = {}): Turn<Begun> {
  return local.kind === 'plain' ? beginPlain(how) : beginXa(local.xid, how);
}

/** A read that locks nothing, and finds nothing: the snapshot is of that moment. Every client may read these columns. */
const TAKE_SNAPSHOT = "SELECT state FROM atomesh.branch_state WHERE gid = '' AND resource = ''";

function beginPlain({ isolation, access, hasSnapshot }: Beginning): Turn<Begun> {
  const settings = isolation === undefined ? [] : [`SET TRANSACTION ISOLATION LEVEL ${isolation}`];
  const wishes = [hasSnapshot && 'WITH CONSISTENT SNAPSHOT', access].filter((wish) => typeof wish === 'string');
  return {
    kind: 'say',
    statements: [...settings, ['START TRANSACTION', wishes.join(', ')].join(' ').trimEnd()],
    judge(answers) {
      const error = firstOf(answers);
      // What was set for the next local transaction and found none would hold for a later one.
      return error === undefined ? BEGUN : { kind: 'failed', failure: error, closes: settings.length > 0 };
    },
  };
}

/** XA START has none of these options: it takes what SET TRANSACTION has said, the client's own included. */
function beginXa(xid: Xid, { isolation, access, hasSnapshot }: Beginning): Turn<Begun> {
  const wishes = [isolation && `ISOLATION LEVEL ${isolation}`, access].filter((wish) => wish !== undefined);
  const settings = wishes.length === 0 ? [] : [`SET TRANSACTION ${wishes.join(', ')}`];
  const snapshot = hasSnapshot === true ? [TAKE_SNAPSHOT] : [];
  return {
    kind: 'say',
    statements: [...settings, xaStart(xid), ...snapshot],
    judge(answers) {
      const error = firstOf(answers);
      if (error === undefined) return BEGUN;
      const start = answers[settings.length];
      if (start !== undefined) {
        return { kind: 'failed', failure: beginFailure(start), closes: settings.length > 0 };
      }
      // It has begun, but not as it was asked for.
      return rollBackXa(xid, ({ closes }) => ({ kind: 'failed', failure: error, closes }));
    },
  };
}

const BEGUN: Begun = { kind: 'begun' };

/**
 * Ends one. `commit` of one that has a name is that in one phase: the same for everybody else. `prepare` and `commit` may follow on
 * anything, for what the server has rolled back by itself is neither.
 *
 * Behind an error that ends a local transaction (1213, and 1205 with innodb_rollback_on_timeout) `rollback` has to be the very next thing:
 * MySQL carries out and commits by itself whatever else is said, inside an XA branch too; MariaDB only without one.
 */
export function end(local: LocalKind, verb: 'commit' | 'prepare' | 'rollback'): Turn<Ended> {
  if (local.kind === 'plain') {
    assert(verb !== 'prepare', 'only what was begun under a name is prepared');
    return verb === 'commit' ? commitPlain() : rollBackPlain(undefined);
  }
  const { xid } = local;
  if (verb === 'rollback') return rollBackXa(xid, ({ closes }) => ({ kind: 'rolled-back', closes }));
  const last = verb === 'commit' ? xaCommitOnePhase(xid) : xaPrepare(xid);
  return {
    kind: 'say',
    // Where XA END fails the other one does too, and nothing has come of it.
    statements: [xaEnd(xid), last],
    judge([, error]) {
      if (error === undefined) return { kind: verb === 'commit' ? 'committed' : 'prepared' };
      const failure = endFailure(error);
      return rollBackXa(xid, ({ closes, wasGone }) =>
        wasGone && !ROLLED_BACK.has(error.errno)
          ? { kind: 'unknown', failure }
          : { kind: 'rolled-back', closes, failure },
      );
    },
  };
}

/** Said in full: by `completion_type` of the session they would begin another one, or end the connection. */
export const COMMIT = 'COMMIT AND NO CHAIN NO RELEASE';
const ROLLBACK = 'ROLLBACK AND NO CHAIN NO RELEASE';

function commitPlain(): Turn<Ended> {
  return {
    kind: 'say',
    statements: [COMMIT],
    judge([error]) {
      if (error === undefined) return { kind: 'committed' };
      return ROLLED_BACK.has(error.errno) ? rollBackPlain(error) : { kind: 'unknown', failure: error };
    },
  };
}

/** It never fails while the connection lives. */
function rollBackPlain(failure: ServerError | undefined): Turn<Ended> {
  return {
    kind: 'say',
    statements: [ROLLBACK],
    judge: ([error]) => ({
      kind: 'rolled-back',
      closes: error !== undefined,
      ...(failure === undefined ? {} : { failure }),
    }),
  };
}

interface RolledBack {
  readonly closes: boolean;
  /** There was nothing of that name in the session any more. */
  readonly wasGone: boolean;
}

/** XAER_NOTA. */
const UNKNOWN_NAME = 1397;

/**
 * XA END may fail: behind a deadlock MySQL says so by XA_RBDEADLOCK, MariaDB by XAER_RMFAIL, and both take XA ROLLBACK then. What refuses
 * even that (MariaDB under read_only) is rolled back by closing the connection, for nothing of it is prepared.
 */
function rollBackXa<Result>(xid: Xid, result: (how: RolledBack) => Result): Turn<Result> {
  return {
    kind: 'say',
    statements: [xaEnd(xid), xaFinish('ROLLBACK', xid)],
    judge([, error]) {
      const wasGone = error?.errno === UNKNOWN_NAME;
      return result({ wasGone, closes: error !== undefined && !wasGone });
    },
  };
}

/**
 * Errors of COMMIT, XA COMMIT … ONE PHASE and XA PREPARE behind which nothing is left of the changes: ER_LOCK_WAIT_TIMEOUT (FLUSH
 * TABLES WITH READ LOCK), ER_LOCK_DEADLOCK, ER_OPTION_PREVENTS_STATEMENT (read_only), XAER_RMFAIL, XA_RBROLLBACK, XA_RBTIMEOUT, XA_RBDEADLOCK,
 * ER_TRANSACTION_ROLLBACK_DURING_COMMIT. Behind others, as ER_ERROR_DURING_COMMIT and XAER_RMERR, they may be committed.
 */
const ROLLED_BACK: ReadonlySet<number> = new Set([1205, 1213, 1290, 1399, 1402, 1613, 1614, 3101]);

/** Errors that speak of XA, and nothing else: XAER_*, XA_RB*. */
const SPEAKS_OF_XA: ReadonlySet<number> = new Set([1397, 1398, 1399, 1400, 1401, 1402, 1440, 1613, 1614]);

/** XAER_RMFAIL: there is an XA transaction; XAER_OUTSIDE: another one, or locked tables. */
const BUSY: ReadonlySet<number> = new Set([1399, 1400]);

/** ER_NOT_SUPPORTED_YET. */
const NOT_SUPPORTED = 1235;

function beginFailure(error: ServerError): LocalFailure {
  const { errno } = error;
  if (BUSY.has(errno)) return { kind: 'refused', refusal: notFree };
  return errno === NOT_SUPPORTED || SPEAKS_OF_XA.has(errno) ? { kind: 'refused', refusal: noXa(errno) } : error;
}

function endFailure(error: ServerError): LocalFailure {
  if (!SPEAKS_OF_XA.has(error.errno)) return error;
  return { kind: 'refused', refusal: ROLLED_BACK.has(error.errno) ? rolledBack : notEnded(error.errno) };
}

/** ER_CANT_CHANGE_TX_CHARACTERISTICS, as the server says of what comes too late. */
const notFree: Refusal = {
  errno: 1568,
  code: '25001',
  message:
    'a local transaction of the global transaction cannot begin here: another one is open in this session, or tables are locked',
  hint: 'COMMIT or ROLLBACK, and UNLOCK TABLES, before the global transaction is named.',
};

function noXa(errno: number): Refusal {
  return {
    errno: NOT_SUPPORTED,
    code: '42000',
    message: `the database begins no local transaction that could be prepared (error ${errno} at XA START)`,
    hint: 'Where the server has no XA, as with Galera, set escalate: off for this database of the sidecar, and do not use mode xa.',
  };
}

/** ER_LOCK_DEADLOCK: drivers try again. */
const rolledBack: Refusal = {
  errno: 1213,
  code: '40001',
  message: 'the database has rolled this local transaction back by itself before its end',
  hint: 'Nothing of it is left: try it again.',
};

/** ER_ERROR_DURING_COMMIT. */
function notEnded(errno: number): Refusal {
  return {
    errno: 1180,
    code: 'HY000',
    message: `the database could not end this local transaction (error ${errno})`,
    hint: 'Roll the global transaction back: that undoes it if it was committed. See the error log of the database.',
  };
}

/**
 * What the client hears in the place of an error of its own statement that it could not understand, inside a local transaction that was
 * begun under a name. Undefined where the server's own words do.
 */
export function insideFailure(errno: number): Refusal | undefined {
  return REFUSALS.get(errno);
}

const REFUSALS: ReadonlyMap<number, Refusal> = new Map([
  // XAER_RMFAIL: what commits implicitly, in procedures too.
  [
    1399,
    {
      errno: NOT_SUPPORTED,
      code: '25000',
      message: 'this statement would end the local transaction that it is in',
      hint: 'Run DDL, LOCK TABLES and procedures that commit outside the global transaction.',
    },
  ],
  // ER_XA_TEMP_TABLE, from MySQL 8.0.29 on, unless xa_detach_on_prepare is off.
  [
    4091,
    {
      errno: NOT_SUPPORTED,
      code: '0A000',
      message: 'the server lets no temporary table be used in a local transaction that could be prepared',
      hint: 'Use temporary tables outside the global transaction, or set escalate: off for this database of the sidecar.',
    },
  ],
  [1402, rolledBack],
  [1613, rolledBack],
  [1614, rolledBack],
]);

function firstOf(answers: readonly Answer[]): ServerError | undefined {
  return answers.find((answer) => answer !== undefined);
}
