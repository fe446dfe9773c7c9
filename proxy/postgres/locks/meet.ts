/** The function by which a statement finds out that a row is locked, without locking it for its own global transaction. */

/** What the function is called by, for rights. */
export const MEET_FUNCTIONS =
  'atomesh.meet_row_locks(oid, text[], text, text[]), atomesh.row_is_free(oid, text, text, text[], boolean)';

/**
 * SQL that creates the functions. Both are VOLATILE, so that they look with a snapshot of their own: a lock that was committed while the
 * statement waited for its row is found. `taken` are gids that are known to be committed.
 *
 * - `meet_row_locks`: raises the conflict when somebody else holds one of the keys, else answers false.
 * - `row_is_free`: the same for one key in a condition, where true lets the row pass; with `skips` a row that is held is passed over.
 *   It is declared expensive, so that the planner asks it last, of rows that fulfil all other conditions.
 */
export const MEET_SQL = `
CREATE OR REPLACE FUNCTION atomesh.meet_row_locks(lock_relation pg_catalog.oid, keys pg_catalog.text[], own pg_catalog.text, taken pg_catalog.text[]) RETURNS pg_catalog.bool
LANGUAGE plpgsql VOLATILE AS $body$
DECLARE
  held pg_catalog.record;
BEGIN
  SELECT l.gid, l.relation, l.key INTO held FROM atomesh.row_lock l
  WHERE l.relation OPERATOR(pg_catalog.=) lock_relation AND l.key OPERATOR(pg_catalog.=) ANY (keys)
    AND l.gid OPERATOR(pg_catalog.<>) own AND NOT l.gid OPERATOR(pg_catalog.=) ANY (taken) LIMIT 1;
  IF FOUND THEN
    PERFORM atomesh.row_lock_conflict(held.gid, own, held.relation, held.key);
  END IF;
  RETURN false;
END
$body$;

CREATE OR REPLACE FUNCTION atomesh.row_is_free(lock_relation pg_catalog.oid, lock_key pg_catalog.text, own pg_catalog.text, taken pg_catalog.text[], skips pg_catalog.bool) RETURNS pg_catalog.bool
LANGUAGE plpgsql VOLATILE COST 100000 AS $body$
DECLARE
  holder pg_catalog.text;
BEGIN
  SELECT l.gid INTO holder FROM atomesh.row_lock l
  WHERE l.relation OPERATOR(pg_catalog.=) lock_relation AND l.key OPERATOR(pg_catalog.=) lock_key
    AND l.gid OPERATOR(pg_catalog.<>) own AND NOT l.gid OPERATOR(pg_catalog.=) ANY (taken);
  IF FOUND AND NOT skips THEN
    PERFORM atomesh.row_lock_conflict(holder, own, lock_relation, lock_key);
  END IF;
  RETURN holder IS NULL;
END
$body$;`;
