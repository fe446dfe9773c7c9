/** What a session inside a global transaction refuses beyond what its plans do. */
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Refusal } from '../session/refusals.ts';
import { refuse as planRefusal, type Refused } from '../undo/refusal.ts';

/** ER_LOCK_WAIT_TIMEOUT: as with a row of another local transaction, the statement is undone and no more. */
export function lockedBy(holder: Gid, lockTimeoutMs: number): Refusal {
  return {
    errno: 1205,
    code: 'HY000',
    message: `the row is held by global transaction ${holder}, which has not finished within ${lockTimeoutMs} ms`,
    hint: 'Roll back and try again. lockTimeout in the sidecar configuration says how long a statement waits.',
  };
}

/** The same for NOWAIT: ER_LOCK_NOWAIT. */
export function notNow(holder: Gid): Refusal {
  return {
    errno: 3572,
    code: 'HY000',
    message: `the row is held by global transaction ${holder}, which has not finished`,
    hint: 'Leave NOWAIT out to wait for the end of that global transaction.',
  };
}

/** ER_LOCK_DEADLOCK, behind which nothing is left of the local transaction: a holder that rolls back needs what it has locked. */
export function inTheWayOf(holder: Gid): Refusal {
  return {
    errno: 1213,
    code: '40001',
    message: `the row is held by global transaction ${holder}, which is being rolled back and may need a row that this local transaction has locked`,
    hint: 'The local transaction was rolled back: try it again.',
  };
}

/** The same for two that wait for each other. */
export function waitsForUs(gid: Gid, holder: Gid): Refusal {
  return {
    errno: 1213,
    code: '40001',
    message: `deadlock: global transaction ${holder} holds the row and waits for one that global transaction ${gid} holds`,
    hint: 'The local transaction was rolled back. Roll back one of the two global transactions and try it again.',
  };
}

/** Whose row lock it is changes again and again, or rows come and go between two readings. */
export const restless: Refusal = {
  errno: 1213,
  code: '40001',
  message: 'other sessions kept changing the rows of this statement while it was carried out',
  hint: 'Try the local transaction again.',
};

/** The gid was rolled back while this local transaction was open. */
export function rolledBackAsAWhole(gid: Gid): Refusal {
  return {
    errno: 1213,
    code: '40000',
    message: `global transaction ${gid} was rolled back, and this local transaction with it`,
    hint: 'Nothing of it is left. Begin a new global transaction to try again.',
  };
}

/** ER_LOCK_WAIT_TIMEOUT. The server does not say whose the row is. */
export function waitsForOwn(gid: Gid): Refusal {
  return {
    errno: 1205,
    code: 'HY000',
    message: `the wait for a row has timed out, which may be one that a local transaction of the same global transaction ${gid} has changed: it is prepared and keeps its locks until the decision`,
    hint: 'Trying again does not help then: let one local transaction change a row.',
  };
}

/** The branch has ended: `state` is what the database says. */
export function branchEnded(gid: Gid, state: string): Refusal {
  return {
    errno: 1213,
    code: '40000',
    message: `global transaction ${gid} is already decided here (${state}): nothing more can join it`,
    hint: 'The work came too late, for instance after the deadline. Begin a new global transaction to try again.',
  };
}

/** The second phase could not write the state of the branch. */
export function branchNotOpened(gid: Gid): Refusal {
  return {
    errno: 1213,
    code: '40001',
    message: `the branch of global transaction ${gid} could not be opened in the database`,
    hint: "Try the local transaction again. If it comes back, check credentials of this database in the sidecar's configuration, and its log.",
  };
}

/** What came ahead of the gid in the same local transaction would be committed whatever becomes of the global one. */
export function boundTooLate(gid: Gid): Refusal {
  return {
    errno: 1235,
    code: '25000',
    message: `this local transaction had changed rows before it was named a part of global transaction ${gid}`,
    hint: 'Name the gid in the first statement of the local transaction, or commit before.',
  };
}

/** ER_NET_PACKET_TOO_LARGE, for which the server would end the connection. */
export function tooLong(bytesMax: number): Refusal {
  return {
    errno: 1153,
    code: '08S01',
    message: `what this statement changes does not fit into max_allowed_packet (${bytesMax} bytes)`,
    hint: 'Change fewer rows at once, or raise max_allowed_packet of the server.',
  };
}

/** An operation of a branch whose opposite was here first. */
export function lateOperation(gid: Gid): Refusal {
  return {
    errno: 1213,
    code: '40000',
    message: `this operation of global transaction ${gid} was undone before it came: it can change nothing any more`,
    hint: 'Answer the request with an error.',
  };
}

/** Another local transaction has done it. */
export function operationDone(gid: Gid): Refusal {
  return {
    errno: 1213,
    code: '40000',
    message: `another local transaction has carried out this operation of global transaction ${gid} already`,
    hint: 'Change everything that belongs to an operation in one local transaction.',
  };
}

/** What cannot be read with certainty. */
export function unreadable(message: string): Refusal {
  return {
    errno: 1235,
    code: '0A000',
    message: `a text with ${message} cannot be carried out inside a global transaction`,
    hint: 'Write it in a plainer form, or run it outside the global transaction.',
  };
}

const NO_BULK =
  'Switch bulk statements off: useBulkStmts=false and useBulkStmtsForInserts=false in MariaDB Connector/J.';

/** COM_STMT_BULK_EXECUTE of MariaDB that wants to hear of each row. */
export const bulkUnits: Refusal = {
  errno: 1235,
  code: '0A000',
  message: 'a bulk statement that asks for the result of each row cannot be carried out inside a global transaction',
  hint: NO_BULK,
};

/** The same with rows that leave out values. */
export const bulkValues: Refusal = {
  errno: 1235,
  code: '0A000',
  message:
    'a bulk statement whose rows say DEFAULT or IGNORE for a value cannot be carried out inside a global transaction',
  hint: NO_BULK,
};

/** The same with too many rows. */
export function bulkLimit(maxRows: number): Refusal {
  return {
    errno: 1235,
    code: '0A000',
    message: `a bulk statement with more than ${maxRows} rows cannot be carried out inside a global transaction`,
    hint: "Send fewer rows at once, or raise maxRows of this database in the sidecar's configuration.",
  };
}

/** The client goes on in a local transaction that is over. ER_LOCK_DEADLOCK, for that is what clients try local transactions again for. */
export const goneBefore: Refusal = {
  errno: 1213,
  code: '40001',
  message:
    'the local transaction of a global transaction was rolled back, and this statement would run outside of both',
  hint: 'Send ROLLBACK, and try the local transaction again.',
};

/** Servers print a FLOAT with six digits, and binary rows have all of them. */
export const binaryRows: Refusal = {
  errno: 1235,
  code: '0A000',
  message:
    'the rows that this prepared statement answers cannot be told inside a global transaction: they may have a FLOAT, it is a bulk statement, or character_set_results is UTF-16, UCS-2 or UTF-32',
  hint: 'Send it as text (client-side prepared statements), or read the rows by a SELECT.',
};

/** SET TRANSACTION has spoken of this local transaction alone, and it would have to be begun anew. ER_LOCK_DEADLOCK: drivers try again. */
export const levelLost: Refusal = {
  errno: 1213,
  code: '40001',
  message: 'this statement has to be begun anew, without what SET TRANSACTION has said for it',
  hint: 'Send SET TRANSACTION and the statement again, or use SET SESSION TRANSACTION.',
};

/** The local transaction was begun before its gid was known, so that it cannot be prepared. */
export const notNamed: Refusal = {
  errno: 1235,
  code: '0A000',
  message:
    'a change without row images cannot be carried out in a local transaction that began before its global transaction was named',
  hint: 'Name the gid at BEGIN, or before; or make the change outside the global transaction.',
};

/** What the client asks about its last statement is not known behind what we have done for it. */
export function notKnown(why: string): Refusal {
  return {
    errno: 1235,
    code: '0A000',
    message: `what this statement asks about the one before cannot be told inside a global transaction: ${why}`,
    hint: 'Ask it by a statement of its own, sent as text, right behind the statement that it is about.',
  };
}

/** ER_PARSE_ERROR, as the server says of it. */
export const severalStatements: Refusal = {
  errno: 1064,
  code: '42000',
  message: 'a text of several statements, which this connection has not asked for',
  hint: 'Send them one by one, or connect with the option for several statements (multiStatements, allowMultiQueries).',
};

/** A text says in the middle that the rest of it is to be read by other rules, by which it was not taken apart. ER_NOT_SUPPORTED_YET. */
export const readOtherwise: Refusal = {
  errno: 1235,
  code: '0A000',
  message:
    'several statements in one text, of which one changes sql_mode or the character set that the rest is read by',
  hint: 'Send SET as a text of its own. The statements in front of it and itself were carried out.',
};

/** Its tables are those of the database that was selected then, which nobody tells. */
export const movedSince: Refused = planRefusal(
  'a prepared statement, since whose preparation the session has selected a database,',
  'Prepare it again.',
);

/** The server reads its text by the settings of then, which nobody tells. ER_NOT_SUPPORTED_YET. */
export const setAnew: Refusal = {
  errno: 1235,
  code: '0A000',
  message:
    'a prepared statement, since whose preparation the session may have set sql_mode or a character set, cannot be carried out inside a global transaction',
  hint: 'Prepare it again.',
};
