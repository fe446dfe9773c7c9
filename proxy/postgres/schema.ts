/** The schema `atomesh` of a business database: tables and functions of undo mode and barrier, their rights, and their version. */
import pg from 'pg';
import { CodedError } from '../../src/contract/errors.ts';
import { SHAPE_SQL } from './catalog-sql.ts';
import { CLAIM_CALLS, CLAIM_FUNCTIONS, CLAIM_TABLES } from './locks/claims.ts';
import { MEET_FUNCTIONS, MEET_SQL } from './locks/meet.ts';
import { quoteName, quoteText } from './identifier.ts';
import { CHECK_CAPTURE, ENTER_CAPTURE, TRIGGER_COLUMNS, TRIGGER_FUNCTIONS } from './triggers/functions.ts';

/** Grows with every change of the schema; written into the comment of the schema. */
const SCHEMA_VERSION = 8;

/** SQLSTATE of our own errors and the fields by which a session tells them from the database's. */
export const CONFLICT = { code: '55P03', schema: 'atomesh', table: 'row_lock' } as const;
/**
 * The row is held by another service of the same global transaction. Waiting for that would be for ever: unlike CONFLICT it is
 * an ordinary error to a session.
 */
const SHARED_ROW = { code: '55P03', schema: 'atomesh', table: 'row_owner' } as const;
/** The branch has ended: the local transaction came too late. */
const BRANCH_OVER = { code: '40000', schema: 'atomesh', table: 'branch_state' } as const;
/** The local transaction of an operation came after its compensation, or after another one of the same operation. */
const OPERATION_OVER = { schema: 'atomesh', table: 'barrier' } as const;
/** Another local transaction of the operation has committed. CONSTRAINT says the id of its row. */
export const OPERATION_DONE = { code: '25000', ...OPERATION_OVER } as const;
/** The statement met a relation other than the one it was planned for: forget the facts, plan again. */
export const PLAN_STALE = { code: '55000', schema: 'atomesh', table: 'plan' } as const;

export interface SchemaOptions {
  /** The role whose sessions change rows; `PUBLIC` unless given. It gets what capturing and operations need and nothing more. */
  readonly grantTo?: string;
  /** The role that writes rows of the barrier itself: that of a program with the client library's barrier on this table. */
  readonly grantBarrier?: string;
  /** The role that carries out the second phase, when it is not the role that creates the schema. */
  readonly finisher?: string;
}

/** DDL that creates the schema or brings it up to date; may be run again at any time. */
export function schemaSql(options: SchemaOptions = {}): string {
  const finisher = options.finisher === undefined ? '' : finisherRights(quoteName(options.finisher));
  const library = options.grantBarrier === undefined ? '' : barrierRights(quoteName(options.grantBarrier));
  return `${TABLES}\n${CLAIM_TABLES}\n${TRIGGER_COLUMNS}\n${FUNCTIONS}\n${MEET_SQL}\n${CLAIM_FUNCTIONS}\n${TRIGGER_FUNCTIONS}\n${clientRights(options.grantTo)}\n${library}${finisher}COMMENT ON SCHEMA atomesh IS ${quoteText(versionComment(SCHEMA_VERSION))};\n`;
}

const TABLES = `CREATE SCHEMA IF NOT EXISTS atomesh;

-- One row per statement that changed rows inside a global transaction; images are whole rows in their text form.
-- position is the place in the write-ahead log after the change: it orders the changes of a row whoever made them.
CREATE TABLE IF NOT EXISTS atomesh.undo_record (
  gid text COLLATE "C" NOT NULL,
  resource text COLLATE "C" NOT NULL,
  position pg_lsn NOT NULL,
  relation oid NOT NULL,
  fingerprint text NOT NULL,
  before_images text[] NOT NULL,
  after_images text[] NOT NULL,
  time_zone text NOT NULL,
  -- Whose rights the change was made with: undoing asks for the same. Clients may not set it.
  writer text COLLATE "C" NOT NULL DEFAULT current_user,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX IF NOT EXISTS undo_record_gid ON atomesh.undo_record (gid);
-- No primary key: nothing refers to a record, and its index would be a tenth of the cost of a captured statement.
-- A publication for all tables needs another way to tell the rows apart.
ALTER TABLE atomesh.undo_record REPLICA IDENTITY FULL;
-- Compressing the images of a hundred rows takes longer than changing the rows, and they are gone when the global transaction ends.
ALTER TABLE atomesh.undo_record ALTER before_images SET STORAGE EXTERNAL, ALTER after_images SET STORAGE EXTERNAL;

-- The claim of a global transaction on a row (relation: the table) or on a unique value (relation: the index).
CREATE TABLE IF NOT EXISTS atomesh.row_lock (
  relation oid NOT NULL,
  key text COLLATE "C" NOT NULL,
  gid text COLLATE "C" NOT NULL,
  resource text COLLATE "C" NOT NULL,
  PRIMARY KEY (relation, key)
);
CREATE INDEX IF NOT EXISTS row_lock_gid ON atomesh.row_lock (gid);

CREATE TABLE IF NOT EXISTS atomesh.branch_state (
  gid text COLLATE "C" NOT NULL,
  resource text COLLATE "C" NOT NULL,
  state text COLLATE "C" NOT NULL CHECK (state IN ('active', 'committed', 'rolled_back')),
  updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (gid, resource)
);
-- Nothing reads or writes it: whoever may lock a row must be allowed to update a column of it, and clients may update this one alone.
ALTER TABLE atomesh.branch_state ADD COLUMN IF NOT EXISTS latch boolean;
CREATE INDEX IF NOT EXISTS branch_state_age ON atomesh.branch_state (updated_at);

-- The rows of docs/barrier.md, and its names: the clients of the library, and DTM's, can use this table too.
CREATE TABLE IF NOT EXISTS atomesh.barrier (
  id bigint GENERATED BY DEFAULT AS IDENTITY,
  trans_type varchar(45) NOT NULL,
  gid varchar(128) NOT NULL,
  branch_id varchar(128) NOT NULL,
  op varchar(45) NOT NULL,
  barrier_id varchar(45) NOT NULL,
  reason varchar(45) NOT NULL DEFAULT '',
  create_time timestamptz NOT NULL DEFAULT pg_catalog.now(),
  CONSTRAINT uniq_barrier PRIMARY KEY (gid, branch_id, op, barrier_id)
);
-- Until version 3 nothing wrote to it.
ALTER TABLE atomesh.barrier ADD COLUMN IF NOT EXISTS id bigint GENERATED BY DEFAULT AS IDENTITY;
DO $do$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = 'atomesh.barrier'::regclass AND conname = 'barrier_pkey') THEN
    ALTER TABLE atomesh.barrier RENAME CONSTRAINT barrier_pkey TO uniq_barrier;
  END IF;
END $do$;
CREATE INDEX IF NOT EXISTS barrier_create_time ON atomesh.barrier (create_time, id);

-- What the application answered to tries and actions that took effect: whoever asks again gets it again. Headers are a flat list in JSON.
CREATE TABLE IF NOT EXISTS atomesh.operation_answer (
  gid varchar(128) NOT NULL,
  branch_id varchar(128) NOT NULL,
  op varchar(45) NOT NULL,
  status smallint NOT NULL,
  headers text NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (gid, branch_id, op)
);`;

const FUNCTIONS = `
-- Each statement below has a snapshot of its own under READ COMMITTED: a round sees what the one before waited for. Every name
-- and operator is qualified instead of search_path being set, which would cost as much as the rest of the function.
CREATE OR REPLACE FUNCTION atomesh.enter_branch(branch_gid pg_catalog.text, branch_resource pg_catalog.text) RETURNS pg_catalog.bool
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $body$
DECLARE
  found_state pg_catalog.text;
BEGIN
  FOR round IN 1..10 LOOP
    SELECT b.state INTO found_state FROM atomesh.branch_state b
    WHERE b.gid OPERATOR(pg_catalog.=) branch_gid AND b.resource OPERATOR(pg_catalog.=) branch_resource FOR SHARE;
    IF FOUND THEN
      IF found_state OPERATOR(pg_catalog.=) 'active' THEN
        RETURN true;
      END IF;
      RAISE EXCEPTION USING ERRCODE = '${BRANCH_OVER.code}', SCHEMA = 'atomesh', TABLE = 'branch_state',
        MESSAGE = pg_catalog.format('global transaction %s has already ended here: %s', branch_gid, found_state),
        HINT = 'The change came after the global transaction was decided. Begin a new global transaction.';
    END IF;
    INSERT INTO atomesh.branch_state (gid, resource, state) VALUES (branch_gid, branch_resource, 'active')
    ON CONFLICT (gid, resource) DO NOTHING;
    IF FOUND THEN
      RETURN true;
    END IF;
  END LOOP;
  RAISE EXCEPTION USING ERRCODE = '40001', SCHEMA = 'atomesh', TABLE = 'branch_state',
    MESSAGE = 'could not serialize access: the state of the branch keeps changing', HINT = 'Retry the local transaction.';
END
$body$;

-- Until version 4 a session did not number its rows.
DROP FUNCTION IF EXISTS atomesh.enter_operation(text, text, text, text, boolean);
-- Writes the row of an operation into the local transaction that is going to change rows for it. A second time in the same one it
-- finds its word in a setting that a rollback to a savepoint takes back together with the row; the number of the transaction in it
-- keeps a word out that somebody has set. False where nothing can be changed. CONSTRAINT of an error is the id of the row that stands.
CREATE OR REPLACE FUNCTION atomesh.enter_operation(
  enter_type pg_catalog.text, enter_gid pg_catalog.text, enter_branch pg_catalog.text, enter_op pg_catalog.text, is_late pg_catalog.bool,
  enter_id pg_catalog.int8
) RETURNS pg_catalog.bool
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $body$
DECLARE
  word pg_catalog.text := pg_catalog.concat_ws('/', enter_gid, enter_branch, enter_op);
  found_reason pg_catalog.text;
  found_id pg_catalog.text;
BEGIN
  IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN
    RETURN false;
  END IF;
  IF is_late AND pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = '25000', SCHEMA = '${OPERATION_OVER.schema}', TABLE = '${OPERATION_OVER.table}',
      MESSAGE = pg_catalog.format('the local transaction had changed rows before it was told that it belongs to global transaction %s', enter_gid),
      HINT = 'Name the global transaction first: right after BEGIN, or in a comment on BEGIN.';
  END IF;
  INSERT INTO atomesh.barrier (id, trans_type, gid, branch_id, op, barrier_id, reason)
  VALUES (enter_id, enter_type, enter_gid, enter_branch, enter_op, '01', enter_op) ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING;
  word := pg_catalog.concat_ws('/', word, pg_catalog.pg_current_xact_id());
  IF FOUND THEN
    PERFORM pg_catalog.set_config('atomesh.entered', word, true);
    RETURN true;
  END IF;
  SELECT b.reason, b.id INTO found_reason, found_id FROM atomesh.barrier b
  WHERE b.gid OPERATOR(pg_catalog.=) enter_gid AND b.branch_id OPERATOR(pg_catalog.=) enter_branch
    AND b.op OPERATOR(pg_catalog.=) enter_op AND b.barrier_id OPERATOR(pg_catalog.=) '01';
  IF found_reason OPERATOR(pg_catalog.<>) enter_op THEN
    RAISE EXCEPTION USING ERRCODE = '40000', SCHEMA = '${OPERATION_OVER.schema}', TABLE = '${OPERATION_OVER.table}', CONSTRAINT = found_id,
      MESSAGE = pg_catalog.format('%s of branch %s of global transaction %s came too late: it has been undone', enter_op, enter_branch, enter_gid),
      HINT = 'Nothing of it can take effect any more: roll back, and answer that it failed.';
  ELSIF pg_catalog.current_setting('atomesh.entered', true) OPERATOR(pg_catalog.=) word THEN
    RETURN true;
  END IF;
  RAISE EXCEPTION USING ERRCODE = '${OPERATION_DONE.code}', SCHEMA = '${OPERATION_OVER.schema}', TABLE = '${OPERATION_OVER.table}', CONSTRAINT = found_id,
    MESSAGE = pg_catalog.format('%s of branch %s of global transaction %s has changed rows in another local transaction', enter_op, enter_branch, enter_gid),
    HINT = 'An operation may change rows in one local transaction only: put all its changes between one BEGIN and COMMIT. If it has been done before, its answer is success.';
END
$body$;

DROP FUNCTION IF EXISTS atomesh.row_lock_conflict(text);
DROP FUNCTION IF EXISTS atomesh.row_lock_conflict(text, text);
-- relation and key: those of the row lock, by which sessions that wait for it are put in order.
CREATE OR REPLACE FUNCTION atomesh.row_lock_conflict(holder text, own text, relation oid DEFAULT 0, key text DEFAULT '') RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF holder = own THEN
    RAISE EXCEPTION USING ERRCODE = '${SHARED_ROW.code}', SCHEMA = 'atomesh', TABLE = '${SHARED_ROW.table}',
      MESSAGE = 'a row is held by another service of the same global transaction',
      DETAIL = pg_catalog.format('Global transaction %s; the two services would be undone in no particular order.', holder),
      HINT = 'Let one service own the row.';
  END IF;
  RAISE EXCEPTION USING ERRCODE = '${CONFLICT.code}', SCHEMA = 'atomesh', TABLE = 'row_lock', CONSTRAINT = holder, DATATYPE = relation::text, COLUMN = key,
    MESSAGE = pg_catalog.format('a row is held by global transaction %s, which is not finished', holder),
    HINT = 'Try again after that global transaction has ended.';
END
$body$;

-- VOLATILE, so that it looks with a snapshot of its own even while another statement is being planned.
CREATE OR REPLACE FUNCTION atomesh.table_shape(relation pg_catalog.oid) RETURNS pg_catalog.text LANGUAGE plpgsql VOLATILE AS $body$
BEGIN
  RETURN (SELECT ${SHAPE_SQL} FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) relation);
END
$body$;

-- Declared IMMUTABLE for what the planner does with it: it is called when a captured statement is planned, and its answer kept
-- in the plan. The server throws a plan away, while it holds the table's lock, whenever anything about the table has changed.
-- Null where the snapshot may be older than the change, and the plan may outlive it: then the statement itself compares.
CREATE OR REPLACE FUNCTION atomesh.has_shape(relation pg_catalog.oid, shape pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql IMMUTABLE AS $body$
BEGIN
  IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) ANY ('{repeatable read,serializable}'::pg_catalog.text[]) THEN
    RETURN NULL;
  END IF;
  RETURN atomesh.table_shape(relation) OPERATOR(pg_catalog.=) shape;
END
$body$;

CREATE OR REPLACE FUNCTION atomesh.refuse_capture(reason text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF reason = 'stale' THEN
    RAISE EXCEPTION USING ERRCODE = '${PLAN_STALE.code}', SCHEMA = 'atomesh', TABLE = 'plan',
      MESSAGE = 'the table is not the one that the statement was planned for',
      HINT = 'Run the statement again.';
  ELSIF reason = 'race' THEN
    RAISE EXCEPTION USING ERRCODE = '40001', SCHEMA = 'atomesh', TABLE = 'undo_record',
      MESSAGE = 'could not serialize access: a row changed before its image could be taken',
      HINT = 'Retry the local transaction.';
  END IF;
  RAISE EXCEPTION USING ERRCODE = '54000', SCHEMA = 'atomesh', TABLE = 'undo_record',
    MESSAGE = pg_catalog.format('the statement changes more than %s rows inside a global transaction', reason),
    HINT = 'Split the statement, or raise maxRows of this database in the sidecar''s configuration.';
END
$body$;

-- A row in its text form, whatever the settings of the session are. TimeZone stays the session's and is recorded.
CREATE OR REPLACE FUNCTION atomesh.image(value anyelement) RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C' SET quote_all_identifiers = off AS $body$
BEGIN
  RETURN value::text;
END
$body$;

-- Ends branches by commit. The tombstones stay; those that had been rolled back are answered, not changed.
CREATE OR REPLACE FUNCTION atomesh.commit_branches(gids text[], branch_resource text) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  INSERT INTO atomesh.branch_state AS b (gid, resource, state)
  SELECT g.gid, branch_resource, 'committed' FROM (SELECT DISTINCT u.gid FROM unnest(gids) u(gid) ORDER BY 1) g
  ON CONFLICT (gid, resource) DO UPDATE SET state = 'committed', updated_at = now() WHERE b.state = 'active';
  DELETE FROM atomesh.undo_record r USING atomesh.branch_state b
  WHERE r.gid = ANY (gids) AND r.resource = branch_resource AND b.gid = r.gid AND b.resource = r.resource AND b.state = 'committed';
  DELETE FROM atomesh.row_lock l USING atomesh.branch_state b
  WHERE l.gid = ANY (gids) AND l.resource = branch_resource AND b.gid = l.gid AND b.resource = l.resource AND b.state = 'committed';
  DELETE FROM atomesh.parent_claim c USING atomesh.branch_state b
  WHERE c.gid = ANY (gids) AND c.resource = branch_resource AND b.gid = c.gid AND b.resource = c.resource AND b.state = 'committed';
  RETURN ARRAY(SELECT b.gid FROM atomesh.branch_state b
    WHERE b.gid = ANY (gids) AND b.resource = branch_resource AND b.state <> 'committed');
END
$body$;
REVOKE ALL ON FUNCTION atomesh.commit_branches(text[], text) FROM PUBLIC;`;

/** What the functions of the schema are called by that clients execute. */
const CLIENT_FUNCTIONS =
  `atomesh.enter_branch(text, text), ${ENTER_CAPTURE}, ${CHECK_CAPTURE}, atomesh.enter_operation(text, text, text, text, boolean, bigint), ` +
  'atomesh.row_lock_conflict(text, text, oid, text), atomesh.table_shape(oid), atomesh.has_shape(oid, text), ' +
  `atomesh.refuse_capture(text), atomesh.image(anyelement), ${MEET_FUNCTIONS}, ${CLAIM_CALLS}`;

/**
 * Whoever can write the barrier's rows decides over operations: the row of a cancel keeps the cancel out. Clients write them through
 * the function alone, and what every role could do before goes as soon as one is named.
 */
function clientRights(grantTo: string | undefined): string {
  const role = grantTo === undefined ? 'PUBLIC' : quoteName(grantTo);
  return `REVOKE ALL ON SCHEMA atomesh FROM PUBLIC;
REVOKE ALL ON atomesh.undo_record, atomesh.row_lock, atomesh.parent_claim, atomesh.freed_key, atomesh.branch_state, atomesh.barrier, atomesh.operation_answer FROM PUBLIC;
REVOKE ALL ON FUNCTION ${CLIENT_FUNCTIONS} FROM PUBLIC;
${grantTo === undefined ? '' : takeTable(grantTo)}GRANT USAGE ON SCHEMA atomesh TO ${role};
GRANT INSERT (gid, resource, position, relation, fingerprint, before_images, after_images, time_zone) ON atomesh.undo_record TO ${role};
GRANT SELECT, INSERT, UPDATE (gid, resource) ON atomesh.row_lock TO ${role};
GRANT INSERT (relation, key, gid, resource) ON atomesh.parent_claim TO ${role};
GRANT INSERT ON atomesh.freed_key TO ${role};
GRANT SELECT (gid, resource, state), UPDATE (latch) ON atomesh.branch_state TO ${role};
GRANT EXECUTE ON FUNCTION ${CLIENT_FUNCTIONS} TO ${role};`;
}

/** Until version 4 clients could write to the table. An owner keeps what is its own: the function runs with that. */
function takeTable(role: string): string {
  return `DO $do$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = 'atomesh.barrier'::regclass AND pg_catalog.pg_get_userbyid(relowner) = ${quoteText(role)}) THEN
    REVOKE ALL ON atomesh.barrier FROM ${quoteName(role)};
  END IF;
END $do$;
`;
}

/** What the statements of docs/barrier.md need. */
function barrierRights(role: string): string {
  return `GRANT USAGE ON SCHEMA atomesh TO ${role};
GRANT SELECT, INSERT ON atomesh.barrier TO ${role};
`;
}

function finisherRights(role: string): string {
  return `GRANT USAGE ON SCHEMA atomesh TO ${role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA atomesh TO ${role};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA atomesh TO ${role};
`;
}

function versionComment(version: number): string {
  return `Atomesh, schema version ${version}`;
}

/**
 * Creates or updates the schema in one transaction. The advisory lock keeps two runs apart.
 * @throws CodedError INTERNAL when the database refuses.
 */
export async function initialiseDatabase(connection: pg.ClientConfig, options: SchemaOptions = {}): Promise<void> {
  const client = new pg.Client({ connectionTimeoutMillis: 10_000, statement_timeout: 60_000, ...connection });
  try {
    await client.connect();
    await client.query(
      `BEGIN; SET LOCAL client_min_messages = warning; SELECT pg_catalog.pg_advisory_xact_lock(7236281734);\n${schemaSql(options)} COMMIT;`,
    );
  } catch (error) {
    throw new CodedError('INTERNAL', `could not set up the schema atomesh: ${(error as Error).message}`, {
      hint: 'Connect as a role that may create schemas in this database, or have its owner run the SQL that "atomesh db init --print" shows.',
      cause: error,
    });
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Checks at the start of a sidecar that the schema is there, of this version, and usable by the role of the second phase.
 * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) without a connection, BAD_REQUEST naming `atomesh db init` otherwise.
 */
export async function checkSchema(connection: pg.ClientConfig): Promise<void> {
  const client = new pg.Client({ connectionTimeoutMillis: 10_000, statement_timeout: 10_000, ...connection });
  try {
    await client.connect();
  } catch (error) {
    throw new CodedError('UPSTREAM_UNREACHABLE', `no connection to the database: ${(error as Error).message}`, {
      retry: 'safe',
      hint: 'Check upstream, tls and credentials of this database.',
      cause: error,
    });
  }
  try {
    const { rows } = await client.query<{ comment: string | null; usable: boolean | null }>(CHECK_SQL);
    const row = rows[0];
    if (row === undefined || row.comment !== versionComment(SCHEMA_VERSION)) {
      throw schemaMissing(
        row === undefined ? 'there is no schema atomesh in the database' : 'the schema atomesh is of another version',
      );
    }
    if (row.usable !== true)
      throw schemaMissing('the role of the second phase may not use the tables of the schema atomesh');
  } finally {
    await client.end().catch(() => undefined);
  }
}

const CHECK_SQL = `select pg_catalog.obj_description(n.oid, 'pg_namespace') as comment,
  pg_catalog.has_schema_privilege(n.oid, 'usage') and (select pg_catalog.bool_and(pg_catalog.has_table_privilege(c.oid, 'select,insert,update,delete'))
    from pg_catalog.pg_class c where c.relnamespace = n.oid and c.relkind = 'r') as usable
  from pg_catalog.pg_namespace n where n.nspname = 'atomesh'`;

function schemaMissing(message: string): CodedError {
  return new CodedError('BAD_REQUEST', message, { hint: 'Run "atomesh db init" against this database as its owner.' });
}
