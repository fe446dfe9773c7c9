/** The database `atomesh` on a MySQL or MariaDB server: tables of undo mode and barrier, one procedure, their rights, and their version. */
import { accountSql } from './setup/account.ts';
import { rowGrants } from './setup/rights.ts';

/** Grows with every change of the schema; written into `atomesh.schema_version` when all of it is in place. */
export const SCHEMA_VERSION = 2;

export interface SchemaOptions {
  /** The account whose sessions change rows, as `user@host`. It gets what capturing and operations need and nothing more. */
  readonly grantTo?: string;
  /** The account that writes rows of the barrier itself: that of a program with the client library's barrier on this table. */
  readonly grantBarrier?: string;
  /** The account that carries out the second phase, when it is not the one that creates the schema. */
  readonly finisher?: string;
  /** Databases whose rows that account puts back; none by default. */
  readonly rowsIn?: readonly string[];
  /** That account may list and end what is prepared. Default false. */
  readonly endsPrepared?: boolean;
}

/** Where an undo record stands among those of its gid. No column counts by itself: that would change what LAST_INSERT_ID() tells the client. */
const POSITION_SQL = '(UUID_SHORT() & 0x00FFFFFFFFFFFFFF)';

/**
 * Writes an undo record: gid, resource, its JSON text, and its seal (`sealOf`). In the local transaction of the change and behind it,
 * for the number that is taken orders the changes of a row (docs/decisions/0033).
 */
export const INSERT_RECORD = `INSERT INTO atomesh.undo_record (gid, resource, position, server, \`body\`, seal) VALUES (?, ?, ${POSITION_SQL}, @@server_id, ?, ?)`;

/**
 * Enters a branch, gid and resource, ahead of the first change of a local transaction: answers its state, and keeps it as it is until
 * the local transaction has ended. Only where the state is `active` may anything be changed. No row means that it has not been opened:
 * the local transaction has to be rolled back, for under REPEATABLE READ it now keeps others from being opened.
 *
 * The whole primary key is given, so that the row is locked and no gap beside it. MariaDB refuses to lock what is newer than the
 * snapshot from 11.6 on (`innodb_snapshot_isolation`); it is the newest state that is wanted here.
 */
export const ENTER_BRANCH: string = newestRows(
  'SELECT state FROM atomesh.branch_state WHERE gid = ? AND resource = ? LOCK IN SHARE MODE',
);

/** A statement that meets the newest rows in MariaDB too, whatever the snapshot of the local transaction is. */
function newestRows(sql: string): string {
  return `/*M!110602 SET STATEMENT innodb_snapshot_isolation = OFF FOR */ ${sql}`;
}

/**
 * DDL that creates the schema or brings it up to date, a statement each; may be run again at any time.
 * @throws CodedError BAD_REQUEST when an account is none.
 */
export function schemaStatements(options: SchemaOptions = {}): readonly string[] {
  const { grantTo, grantBarrier, finisher } = options;
  return [
    ...TABLES,
    ...ENTER_OPERATION,
    ...(grantTo === undefined ? [] : clientRights(accountSql(grantTo))),
    ...(grantBarrier === undefined ? [] : [`GRANT SELECT, INSERT ON atomesh.barrier TO ${accountSql(grantBarrier)}`]),
    ...(finisher === undefined ? [] : finisherRights(accountSql(finisher), options)),
    `REPLACE INTO atomesh.schema_version (id, version) VALUES (1, ${SCHEMA_VERSION})`,
  ];
}

/** The same for the command-line clients `mysql` and `mariadb`, which have to be told where a procedure ends. */
export function schemaScript(options: SchemaOptions = {}): string {
  const script = schemaStatements(options).map((statement) =>
    statement.includes(';') ? `DELIMITER //\n${statement} //\nDELIMITER ;` : `${statement};`,
  );
  return `${script.join('\n')}\n`;
}

const IN_ASCII = 'CHARACTER SET ascii COLLATE ascii_bin NOT NULL';
const IN_UTF8 = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL';
const TABLE = 'ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT = DYNAMIC';
/** Independent of the time zone that a session has. */
const NOW = 'datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))';

const TABLES: readonly string[] = [
  'CREATE DATABASE IF NOT EXISTS atomesh DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
  // One row per statement and table; body: the images, as proxy/mysql/undo/record.ts writes them. The primary key keeps the records of a
  // branch together: its second phase locks those and no others.
  `CREATE TABLE IF NOT EXISTS atomesh.undo_record (
  gid varchar(128) ${IN_ASCII},
  resource varchar(150) ${IN_ASCII},
  position bigint unsigned NOT NULL,
  server int unsigned NOT NULL,
  body longtext ${IN_UTF8},
  seal binary(32) NOT NULL,
  created_at ${NOW},
  PRIMARY KEY (gid, resource, position, server)
) ${TABLE}`,
  // The claim of a global transaction on a row (relation: the table) or on a unique value (relation: the index).
  `CREATE TABLE IF NOT EXISTS atomesh.row_lock (
  relation varchar(255) ${IN_UTF8},
  lock_key varchar(255) ${IN_ASCII},
  gid varchar(128) ${IN_ASCII},
  resource varchar(150) ${IN_ASCII},
  PRIMARY KEY (relation, lock_key),
  KEY row_lock_gid (gid, resource)
) ${TABLE}`,
  // The claim of a global transaction on a row, by a lock of that row, which a changed row has ceased to refer to: shared.
  `CREATE TABLE IF NOT EXISTS atomesh.parent_claim (
  relation varchar(255) ${IN_UTF8},
  lock_key varchar(255) ${IN_ASCII},
  gid varchar(128) ${IN_ASCII},
  resource varchar(150) ${IN_ASCII},
  PRIMARY KEY (relation, lock_key, gid, resource),
  KEY parent_claim_gid (gid, resource)
) ${TABLE}`,
  // Nothing reads or writes the latch: up to MySQL 8.0.21 whoever may lock a row must be allowed to update a column of it, and clients
  // may update this one alone.
  `CREATE TABLE IF NOT EXISTS atomesh.branch_state (
  gid varchar(128) ${IN_ASCII},
  resource varchar(150) ${IN_ASCII},
  state enum('active', 'committed', 'rolled_back') ${IN_ASCII},
  updated_at ${NOW},
  latch tinyint,
  PRIMARY KEY (gid, resource),
  KEY branch_state_age (updated_at)
) ${TABLE}`,
  // The rows of docs/barrier.md, and its names: the clients of the library, and DTM's, can use this table too. They read the id as a
  // number of JavaScript, and so it has 53 bits.
  `CREATE TABLE IF NOT EXISTS atomesh.barrier (
  id bigint NOT NULL DEFAULT (UUID_SHORT() & 0x1FFFFFFFFFFFFF),
  trans_type varchar(45) NOT NULL,
  gid varchar(128) NOT NULL,
  branch_id varchar(128) NOT NULL,
  op varchar(45) NOT NULL,
  barrier_id varchar(45) NOT NULL,
  reason varchar(45) NOT NULL DEFAULT '',
  create_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (gid, branch_id, op, barrier_id),
  KEY barrier_id (id),
  KEY barrier_create_time (create_time, id)
) ${TABLE}`,
  // What the application answered to tries and actions that took effect: whoever asks again gets it again. Headers are a flat list in JSON.
  `CREATE TABLE IF NOT EXISTS atomesh.operation_answer (
  gid varchar(128) NOT NULL,
  branch_id varchar(128) NOT NULL,
  op varchar(45) NOT NULL,
  status smallint NOT NULL,
  headers mediumtext NOT NULL,
  body longblob NOT NULL,
  PRIMARY KEY (gid, branch_id, op)
) ${TABLE}`,
  `CREATE TABLE IF NOT EXISTS atomesh.seal_secret (id tinyint NOT NULL PRIMARY KEY, secret binary(32) NOT NULL) ${TABLE}`,
  // MariaDB before 10.10 has no better source of chance.
  `INSERT IGNORE INTO atomesh.seal_secret (id, secret) SELECT 1, /*!80000 RANDOM_BYTES(32) */ /*M!101000 COALESCE(RANDOM_BYTES(32), */ /*M! UNHEX(SHA2(CONCAT(UUID(), RAND(), CONNECTION_ID(), UUID_SHORT(), NOW(6)), 256)) */ /*M!101000 ) */`,
  `CREATE TABLE IF NOT EXISTS atomesh.schema_version (id tinyint NOT NULL PRIMARY KEY, version int NOT NULL) ${TABLE}`,
];

/**
 * Writes the row of an operation into the local transaction that is going to change rows for it; the id is the same in one local
 * transaction and another in each. Answers one row: `entered`, `read-only` where nothing can be changed, `late` when the operation has
 * been undone, `done` when another local transaction has done it; and the id of the row that stands. With the rights of its definer:
 * whoever could write the rows would decide over operations, for the row of a cancel keeps the cancel out.
 */
const ENTER_OPERATION: readonly string[] = [
  'DROP PROCEDURE IF EXISTS atomesh.enter_operation',
  `CREATE PROCEDURE atomesh.enter_operation(
  enter_type varchar(45) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, enter_gid varchar(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  enter_branch varchar(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, enter_op varchar(45) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  enter_id bigint
) MODIFIES SQL DATA SQL SECURITY DEFINER
BEGIN
  DECLARE outcome varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT 'entered';
  DECLARE found_reason varchar(45) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
  DECLARE found_id bigint DEFAULT enter_id;
  BEGIN
    DECLARE CONTINUE HANDLER FOR 1062 SET outcome = 'found';
    DECLARE CONTINUE HANDLER FOR 1792 SET outcome = 'read-only';
    ${newestRows(`INSERT INTO atomesh.barrier (id, trans_type, gid, branch_id, op, barrier_id, reason)
    VALUES (enter_id, enter_type, enter_gid, enter_branch, enter_op, '01', enter_op)`)};
  END;
  IF outcome = 'found' THEN
    ${newestRows(`SELECT b.reason, b.id INTO found_reason, found_id FROM atomesh.barrier b
    WHERE b.gid = enter_gid AND b.branch_id = enter_branch AND b.op = enter_op AND b.barrier_id = '01' LOCK IN SHARE MODE`)};
    SET outcome = CASE WHEN found_reason <> enter_op THEN 'late' WHEN found_id = enter_id THEN 'entered' ELSE 'done' END;
  END IF;
  SELECT outcome, found_id AS id;
END`,
];

function clientRights(account: string): readonly string[] {
  return [
    `GRANT INSERT (gid, resource, position, server, body, seal) ON atomesh.undo_record TO ${account}`,
    `GRANT SELECT, INSERT, UPDATE (gid, resource) ON atomesh.row_lock TO ${account}`,
    `GRANT SELECT, INSERT ON atomesh.parent_claim TO ${account}`,
    `GRANT SELECT (gid, resource, state), UPDATE (latch) ON atomesh.branch_state TO ${account}`,
    // Not on the procedure: whoever creates it anew would take the right away.
    `GRANT EXECUTE ON atomesh.* TO ${account}`,
  ];
}

function finisherRights(account: string, { rowsIn = [], endsPrepared = false }: SchemaOptions): readonly string[] {
  return [
    `GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON atomesh.* TO ${account}`,
    ...rowGrants(account, rowsIn),
    // On MariaDB whoever knows the name of a prepared transaction may end it, and all may list them.
    ...(endsPrepared ? [`GRANT /*!80000 XA_RECOVER_ADMIN */ /*M! USAGE */ ON *.* TO ${account}`] : []),
  ];
}
