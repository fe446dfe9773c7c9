/**
 * The marker of a prepared branch: a row that it writes as its last, among the row locks of its gid. While the branch is undecided the marker is
 * locked, committed it is there, and rolled back it is not, whatever the server says of the branch otherwise. The second phase removes it with
 * the row locks, and cannot while it is locked: so no branch is ever taken for finished whose changes are still in the hands of the server. Pure.
 */
import type { Xid } from './names.ts';

/** In the place of a table, whose names are quoted: no captured row has it. */
const RELATION = "'prepared'";

/** The last thing that is said ahead of XA END: `markerKey`, gid and resource. */
export const WRITE_MARKER = `INSERT INTO atomesh.row_lock (relation, lock_key, gid, resource) VALUES (${RELATION}, ?, ?, ?)`;

/** One row where the branch is committed, none where it is rolled back, an error (`isMarkerLocked`) while it is neither. Waits for nothing. */
export const READ_MARKER = `SELECT gid FROM atomesh.row_lock WHERE relation = ${RELATION} AND lock_key = ? FOR UPDATE NOWAIT`;

/** ER_LOCK_WAIT_TIMEOUT (MariaDB), ER_LOCK_NOWAIT (MySQL). */
export function isMarkerLocked(errno: number): boolean {
  return errno === 1205 || errno === 3572;
}

/** The marker of a branch: the second part of its name is unlike that of any other. */
export function markerKey({ bqual }: Xid): string {
  return bqual.toString('hex');
}
