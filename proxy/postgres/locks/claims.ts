/**
 * The part of the schema `atomesh` by which a row that has given up a reference finds its parent again when it comes back.
 *
 * Whoever deletes a row, or has it refer to another one, claims the row that it referred to, by that one's key, until its global transaction
 * ends. Any number of them may claim one row: a claim is a row of its own, about which nothing is unique, and nobody waits to write one.
 * Whoever deletes the claimed row, or changes its key, has to wait for their end as for that of the holder of a row lock.
 *
 * The two local transactions may run at once, and neither may wait for the other where it would not do so anyway. So the one that frees a
 * key asks for claims at the end of its statement, behind the triggers of the foreign keys, with a snapshot of its own:
 *
 * - The reference was given up and that committed before: the claim is seen.
 * - It is given up by a local transaction that is still open: the foreign key's trigger meets the row that was deleted, and waits for that
 *   one's end, or the row that refers to it still, and fails (23503), as both do without us. Behind the wait the claim is seen.
 * - It is not yet given up: the foreign key's trigger finds it, and fails. Behind that trigger nobody can refer to the key any more.
 * - The foreign key is deferred: its trigger does all that at COMMIT, so there the claims are asked for once more, behind it.
 *
 * To hold the parent (FOR KEY SHARE) with the statement that gives a reference up would put two transactions into a deadlock that do well
 * without us: one has changed a child and then deletes it, the other one has locked the parent FOR UPDATE and then changes the child.
 *
 * At REPEATABLE READ and above the statement has no snapshot of its own. But an exclusion constraint is asked past every snapshot: for a moment,
 * in a subtransaction that is taken back, a row is written there that excludes every claim on the key. Where there is one that the snapshot
 * does not show, the server's answer is that it could not serialize access.
 */

/** How many places a key's line has, and how many lines there are: whole numbers up to here are exact in a float8. */
const PLACES = 2 ** 50;

/** What statements of clients write to that end a reference or free a key. */
export const CLAIM_TABLES = `
-- The shared claim of a global transaction on a row that a row which it has changed does not refer to any more. Claims do not exclude each
-- other: each has a place by chance on the line of its key (which random() would not give behind setseed). All of the line is only for rows that meet_parent_claims writes and takes back.
CREATE TABLE IF NOT EXISTS atomesh.parent_claim (
  relation oid NOT NULL,
  key text COLLATE "C" NOT NULL,
  gid text COLLATE "C" NOT NULL,
  resource text COLLATE "C" NOT NULL,
  place float8 NOT NULL DEFAULT pg_catalog.uuid_hash_extended(pg_catalog.gen_random_uuid(), 0) & ${PLACES - 1},
  all_places boolean NOT NULL DEFAULT false,
  CONSTRAINT parent_claim_line EXCLUDE USING gist (pg_catalog.box(
    pg_catalog.point((pg_catalog.hashtextextended(key, relation::int8) & ${PLACES - 1})::float8, CASE WHEN all_places THEN 0 ELSE place END),
    pg_catalog.point((pg_catalog.hashtextextended(key, relation::int8) & ${PLACES - 1})::float8, CASE WHEN all_places THEN ${PLACES} ELSE place END)
  ) WITH OPERATOR(pg_catalog.&&))
);
CREATE INDEX IF NOT EXISTS parent_claim_key ON atomesh.parent_claim (relation, key);
CREATE INDEX IF NOT EXISTS parent_claim_gid ON atomesh.parent_claim (gid);
ALTER TABLE atomesh.parent_claim REPLICA IDENTITY FULL;

-- Keys that a statement has freed, for the trigger that asks for claims on them. It takes the row away: there is nothing to keep, and
-- nothing to write ahead. late: a foreign key may be looked at as late as at COMMIT.
CREATE UNLOGGED TABLE IF NOT EXISTS atomesh.freed_key (
  gid text COLLATE "C" NOT NULL,
  resource text COLLATE "C",
  taken text[] NOT NULL,
  relations oid[] NOT NULL,
  keys text[] NOT NULL,
  late boolean NOT NULL
);`;

/** What clients call of the functions. */
export const CLAIM_CALLS = 'atomesh.keys_are_free(oid[], text[], text, text[], boolean)';

/** SQL that creates the functions and triggers. Behind `row_lock_conflict`, which they call. */
export const CLAIM_FUNCTIONS = `
-- Fires behind the foreign keys' own triggers: those were queued before, since their rows were changed before. The server reads the index
-- also where it takes the table for a short one: at SERIALIZABLE it remembers all that is read. Planning anew each time would cost twice the rest.
CREATE OR REPLACE FUNCTION atomesh.meet_parent_claims() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $body$
DECLARE
  held record;
  is_late boolean := TG_NAME = 'meet_parent_claims_late';
  has_old_snapshot boolean := current_setting('transaction_isolation') IN ('repeatable read', 'serializable');
BEGIN
  SELECT c.gid, c.relation, c.key, c.ctid INTO held
  FROM ROWS FROM (unnest(NEW.relations), unnest(NEW.keys)) AS u (relation, key)
    JOIN atomesh.parent_claim c ON c.relation = u.relation AND c.key = u.key
  WHERE (c.gid <> NEW.gid OR c.resource <> NEW.resource) AND NOT c.gid = ANY (NEW.taken)
  ORDER BY c.gid = NEW.gid DESC LIMIT 1;
  IF FOUND AND is_late THEN
    RAISE EXCEPTION USING ERRCODE = '40001', SCHEMA = 'atomesh', TABLE = 'parent_claim',
      MESSAGE = format('could not serialize access: rows of global transaction %s, which is not finished, will need a key that was freed', held.gid),
      HINT = 'Retry the local transaction.';
  ELSIF FOUND THEN
    -- An old snapshot shows a claim that is over, and would do so for ever: the lock finds out. One that is just being ended is met again.
    IF has_old_snapshot THEN
      PERFORM FROM atomesh.parent_claim c WHERE c.ctid = held.ctid FOR KEY SHARE SKIP LOCKED;
    END IF;
    PERFORM atomesh.row_lock_conflict(held.gid, NEW.gid, held.relation, held.key);
  END IF;
  -- Where foreign keys are looked at late, somebody may still be about to claim: the last one to ask asks past the snapshot.
  IF is_late = NEW.late AND has_old_snapshot THEN
    BEGIN
      DELETE FROM atomesh.parent_claim c USING ROWS FROM (unnest(NEW.relations), unnest(NEW.keys)) AS u (relation, key)
      WHERE c.relation = u.relation AND c.key = u.key;
      INSERT INTO atomesh.parent_claim (relation, key, gid, resource, all_places)
      SELECT DISTINCT u.relation, u.key, '', '', true FROM ROWS FROM (unnest(NEW.relations), unnest(NEW.keys)) AS u (relation, key)
      ON CONFLICT DO NOTHING;
      RAISE EXCEPTION USING ERRCODE = 'AT001', MESSAGE = 'nobody else has a claim';
    EXCEPTION WHEN SQLSTATE 'AT001' THEN
      NULL;
    END;
  END IF;
  IF is_late OR NOT NEW.late THEN
    DELETE FROM atomesh.freed_key WHERE ctid = NEW.ctid;
  END IF;
  RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION atomesh.meet_parent_claims() FROM PUBLIC;
CREATE OR REPLACE TRIGGER meet_parent_claims AFTER INSERT ON atomesh.freed_key
FOR EACH ROW EXECUTE FUNCTION atomesh.meet_parent_claims();
-- CREATE OR REPLACE does not know constraint triggers.
DROP TRIGGER IF EXISTS meet_parent_claims_late ON atomesh.freed_key;
CREATE CONSTRAINT TRIGGER meet_parent_claims_late AFTER INSERT ON atomesh.freed_key DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.late) EXECUTE FUNCTION atomesh.meet_parent_claims();
ALTER TABLE atomesh.freed_key ENABLE ALWAYS TRIGGER meet_parent_claims, ENABLE ALWAYS TRIGGER meet_parent_claims_late;

-- In the condition of a change without images: raises the conflict when somebody else has claimed a key that the row is about to lose. That
-- is before the foreign keys are looked at, so it is asked for again at COMMIT. Declared expensive, as row_is_free is.
CREATE OR REPLACE FUNCTION atomesh.keys_are_free(lock_relations oid[], lock_keys text[], own text, taken text[], skips boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE COST 100000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  INSERT INTO atomesh.freed_key (gid, taken, relations, keys, late) VALUES (own, taken, lock_relations, lock_keys, true);
  RETURN true;
END
$body$;`;
