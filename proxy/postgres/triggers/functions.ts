/** The part of the schema `atomesh` that triggers need: a column of undo records, and functions that are the same for every table. */
import { TRIGGER_SHAPE_SQL } from './shape.ts';

/** A table's triggers are of another shape than the table: SQLSTATE and the fields by which the error is known. */
const TRIGGER_STALE = { code: '55000', schema: 'atomesh', table: 'trigger' } as const;

/**
 * The setting by which triggers know the branch: `<transaction> <gid> <resource> <most rows> [read]`. It is local to the transaction,
 * and a rollback to a savepoint takes it back together with the branch's state, so the session enters again.
 */
export const BRANCH_SETTING = 'atomesh.branch';
/** Gids that are known to be committed, as an array of texts: their row locks may be taken over. */
export const COMMITTED_SETTING = 'atomesh.committed';

/**
 * Who has written a record: a captured statement; a trigger; or the second phase, which settles those of triggers before it restores
 * them. Clients may not set it: what such a record says has really happened.
 */
export const TRIGGER_COLUMNS = `ALTER TABLE atomesh.undo_record ADD COLUMN IF NOT EXISTS source text COLLATE "C" NOT NULL DEFAULT 'statement';`;

/** What `enter_capture` is called by, for the rights to it. */
export const ENTER_CAPTURE = 'atomesh.enter_capture(text, text, bigint, text[], boolean)';
/** The same of `check_capture`. */
export const CHECK_CAPTURE = 'atomesh.check_capture(text, text, boolean)';

export const TRIGGER_FUNCTIONS = `
-- Tells the triggers of this local transaction what it belongs to. Where nothing can be changed the branch is not entered: the setting
-- says so, and a trigger that fires all the same, behind a part of the transaction that was read-only, enters it. A standby has no
-- number for the transaction, and no trigger fires there. No search_path: a setting of the function's would end the local ones with it.
CREATE OR REPLACE FUNCTION atomesh.enter_capture(
  branch_gid pg_catalog.text, branch_resource pg_catalog.text, rows_max pg_catalog.int8, committed pg_catalog.text[], is_late pg_catalog.bool
) RETURNS pg_catalog.bool LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $body$
DECLARE
  word pg_catalog.text;
BEGIN
  IF pg_catalog.pg_is_in_recovery() THEN
    RETURN false;
  END IF;
  IF is_late AND pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = '25000', SCHEMA = 'atomesh', TABLE = 'branch_state',
      MESSAGE = pg_catalog.format('the local transaction had changed rows before it was told that it belongs to global transaction %s', branch_gid),
      HINT = 'Name the global transaction first: right after BEGIN, or in a comment on BEGIN.';
  END IF;
  IF pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica' THEN
    RAISE EXCEPTION USING ERRCODE = '55000', SCHEMA = 'atomesh', TABLE = 'trigger',
      MESSAGE = 'session_replication_role = replica keeps the triggers silent that record changes inside a global transaction',
      HINT = 'SET session_replication_role = origin ahead of the global transaction.';
  END IF;
  word := pg_catalog.concat_ws(' ', pg_catalog.pg_current_xact_id(), branch_gid, branch_resource, rows_max);
  IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN
    word := word OPERATOR(pg_catalog.||) ' read';
  ELSE
    PERFORM atomesh.enter_branch(branch_gid, branch_resource);
  END IF;
  PERFORM pg_catalog.set_config('${BRANCH_SETTING}', word, true), pg_catalog.set_config('${COMMITTED_SETTING}', committed::pg_catalog.text, true);
  RETURN true;
END
$body$;

-- Fails a local transaction in which the setting is not what enter_capture wrote: RESET ALL in a function, for one, has silenced the
-- triggers. is_last: nothing follows but the end of the local transaction, so what is deferred to it goes ahead and is seen as well.
CREATE OR REPLACE FUNCTION atomesh.check_capture(branch_gid pg_catalog.text, branch_resource pg_catalog.text, is_last pg_catalog.bool)
RETURNS pg_catalog.bool LANGUAGE plpgsql VOLATILE AS $body$
BEGIN
  IF pg_catalog.pg_is_in_recovery() THEN
    RETURN true;
  END IF;
  IF is_last THEN
    SET CONSTRAINTS ALL IMMEDIATE;
  END IF;
  IF pg_catalog.starts_with(pg_catalog.current_setting('${BRANCH_SETTING}', true),
    pg_catalog.concat_ws(' ', pg_catalog.pg_current_xact_id_if_assigned(), branch_gid, branch_resource, ''))
    AND pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'replica' THEN
    RETURN true;
  END IF;
  RAISE EXCEPTION USING ERRCODE = '25000', SCHEMA = 'atomesh', TABLE = 'trigger',
    MESSAGE = 'the setting ${BRANCH_SETTING}, by which triggers record the changes of a global transaction, or session_replication_role was changed in this local transaction: it is rolled back',
    HINT = 'Changes behind that are in no record. Functions, procedures and triggers must neither run RESET ALL nor change these settings.';
END
$body$;

-- The branch that the setting names, as its words. Whoever may not call enter_capture cannot write the setting in its stead.
CREATE OR REPLACE FUNCTION atomesh.captured_branch() RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  words text[] := string_to_array(current_setting('${BRANCH_SETTING}', true), ' ');
BEGIN
  IF cardinality(words) < 4 OR words[1] <> pg_current_xact_id()::text OR NOT (has_function_privilege(session_user, '${ENTER_CAPTURE}'::regprocedure, 'EXECUTE')
    OR (current_setting('role') <> 'none' AND has_function_privilege(current_setting('role')::name, '${ENTER_CAPTURE}'::regprocedure, 'EXECUTE'))) THEN
    RAISE EXCEPTION USING ERRCODE = '42501', SCHEMA = 'atomesh', TABLE = 'trigger',
      MESSAGE = 'the setting ${BRANCH_SETTING} is the sidecar''s own, and was not written by atomesh.enter_capture',
      HINT = 'Do not set it. Name the global transaction by atomesh.gid, or in a comment.';
  END IF;
  IF words[5] = 'read' THEN
    PERFORM atomesh.enter_branch(words[2], words[3]);
  END IF;
  RETURN words;
END
$body$;

CREATE OR REPLACE FUNCTION atomesh.trigger_shape(relation oid) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  RETURN (SELECT ${TRIGGER_SHAPE_SQL} FROM pg_class t WHERE t.oid = relation);
END
$body$;

-- Declared IMMUTABLE for what the planner does with it, as has_shape is: called when a statement of a trigger is planned, and again
-- when anything about the table has changed. Null where the snapshot may be older than the change.
CREATE OR REPLACE FUNCTION atomesh.has_trigger_shape(relation oid, shape text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    RETURN NULL;
  END IF;
  RETURN atomesh.trigger_shape(relation) = shape;
END
$body$;

CREATE OR REPLACE FUNCTION atomesh.refuse_trigger(relation oid, reason text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF reason = 'stale' THEN
    RAISE EXCEPTION USING ERRCODE = '${TRIGGER_STALE.code}', SCHEMA = '${TRIGGER_STALE.schema}', TABLE = '${TRIGGER_STALE.table}',
      MESSAGE = format('table %s was altered after the triggers of Atomesh had been installed on it', relation::regclass),
      HINT = 'Run "atomesh db triggers install" after every change of the schema.';
  END IF;
  RAISE EXCEPTION USING ERRCODE = '0A000', SCHEMA = 'atomesh', TABLE = 'trigger',
    MESSAGE = format('changing %s is not supported inside a global transaction: %s', relation::regclass, reason),
    HINT = 'Change it outside the global transaction.';
END
$body$;

-- On tables whose changes cannot be recorded, and against TRUNCATE. Its argument behind the shape says why.
CREATE OR REPLACE FUNCTION atomesh.refuse_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  PERFORM atomesh.refuse_trigger(TG_RELID, TG_ARGV[1]);
  RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION atomesh.captured_branch(), atomesh.trigger_shape(oid), atomesh.has_trigger_shape(oid, text), atomesh.refuse_trigger(oid, text) FROM PUBLIC;
`;
