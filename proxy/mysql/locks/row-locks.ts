/**
 * Row locks as sessions take them, and who holds them. What is written goes over the client's own connection into the local
 * transaction of the change, as a text with one character for each byte that no setting of the session reads otherwise.
 *
 * What InnoDB does with these rows, on MariaDB 10.11 and MySQL 8.0.15 alike (test/mysql-servers/facts):
 *
 * - An INSERT waits for another's local transaction that has inserted the same key, up to `innodb_lock_wait_timeout`. When that one
 *   commits it fails with 1062. When it is rolled back, one of those who wait has the key and the others may be told of a deadlock
 *   (1213), which ends their local transactions.
 * - A duplicate key leaves a shared lock on the holder's row, until the local transaction ends: ROLLBACK TO SAVEPOINT does not give
 *   it back, unless the savepoint is older than all that the local transaction has done in InnoDB. So who has met one keeps the
 *   holder's second phase from ending. Taking the row over is still possible then: of the two, the one with fewer changes is told of
 *   a deadlock, and of two who take over what both have met, one.
 * - Under REPEATABLE READ, on MySQL alone, it locks the gap in front of the row as well, and so does a takeover that finds no row.
 *
 * It is better, therefore, to ask who holds rows before one inserts, and to insert where nobody does.
 */
import { CodedError } from '../../../src/contract/errors.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { UndoBranch } from '../../sql/work.ts';
import { openOwnPool, type OwnLogin } from '../own-pool.ts';
import type { RowLock } from '../undo/capture.ts';

/** A row lock, and the branch that has it. */
interface HeldRowLock extends RowLock {
  readonly holder: Gid;
  /** The holder's branch. */
  readonly resource: string;
}

/** Reads row locks over connections of the sidecar's own. */
export interface RowLocks {
  /**
   * Those of the locks that somebody holds whose local transaction has committed, whoever that is. Locks nothing and waits for nobody.
   * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) when the database cannot be asked.
   */
  holdersOf(locks: readonly RowLock[]): Promise<readonly HeldRowLock[]>;
  /**
   * The same for claims on these keys: any number of branches may have one on each.
   * @throws CodedError UPSTREAM_UNREACHABLE (retry safe) when the database cannot be asked.
   */
  claimantsOf(locks: readonly RowLock[]): Promise<readonly HeldRowLock[]>;
  close(): Promise<void>;
}

type LockTable = 'row_lock' | 'parent_claim';

const CONNECTIONS_MAX = 4;
const STATEMENT_MS_MAX = 5_000;
/** So many are asked for at once: about 100 KB of SQL. */
const ASKED_AT_ONCE = 500;

/** Connections are made when needed. */
export function createRowLocks(login: OwnLogin, log: Log): RowLocks {
  const pool = openOwnPool({
    connection: login,
    purpose: 'row locks',
    max: CONNECTIONS_MAX,
    statementTimeoutMs: STATEMENT_MS_MAX,
    lockTimeoutS: 1,
  });
  const read = async (table: LockTable, locks: readonly RowLock[]): Promise<readonly HeldRowLock[]> => {
    const held: HeldRowLock[] = [];
    try {
      for (let at = 0; at < locks.length; at += ASKED_AT_ONCE) {
        const rows = await pool.lists(holdersSql(table, locks.slice(at, at + ASKED_AT_ONCE)));
        held.push(...rows.map(heldOf));
      }
    } catch (error) {
      const { message } = error as Error;
      log.warn({ err: message }, 'the holders of row locks cannot be read');
      throw new CodedError('UPSTREAM_UNREACHABLE', `the holders of row locks cannot be read: ${message}`, {
        retry: 'safe',
        hint: 'Check upstream, tls and credentials of this database.',
        cause: error,
      });
    }
    return held;
  };
  return {
    holdersOf: (locks) => read('row_lock', locks),
    claimantsOf: (locks) => read('parent_claim', locks),
    close: () => pool.end(),
  };
}

/**
 * Inserts the locks, at least one, for the branch: all or none of them (error 1062). In the order of their primary key, so that of two
 * who take some of the same one waits for the other; which of those two commits is never both.
 */
export function insertLocksSql(locks: readonly RowLock[], branch: UndoBranch): string {
  return insertSql('INSERT INTO atomesh.row_lock', locks, branch);
}

/**
 * Inserts claims, at least one, of the branch on rows that changed ones have ceased to refer to. One that another local transaction of
 * the branch has is no error. By IGNORE, for no other error can come of these values; ON DUPLICATE KEY UPDATE would need rights of a
 * client that it should not have: MariaDB asks for that to update every column.
 */
export function insertClaimsSql(claims: readonly RowLock[], branch: UndoBranch): string {
  return insertSql('INSERT IGNORE INTO atomesh.parent_claim', claims, branch);
}

function insertSql(insert: string, locks: readonly RowLock[], { gid, resource }: UndoBranch): string {
  const own = `${asciiLiteral(gid)}, ${asciiLiteral(resource)}`;
  const rows = inOrder(locks).map(({ relation, key }) => `(${relation}, ${key}, ${own})`);
  return `${insert} (relation, lock_key, gid, resource) VALUES ${rows.join(', ')}`;
}

/**
 * Gives the branch the locks, at least one, that `from` has, whose commit is decided: its second phase need not have come so far.
 * Changes as many rows as it takes over. Fewer than locks mean that others have changed them meanwhile: one has to look again. At most
 * 1,000 at once: for lists that are too long to plan for, MySQL would go through all rows, and lock them.
 */
export function takeOverSql(locks: readonly RowLock[], from: Gid, branch: UndoBranch): string {
  // By the primary key: through the index over gids, other rows of the holder would be locked too.
  return (
    `UPDATE atomesh.row_lock FORCE INDEX (PRIMARY) SET gid = ${asciiLiteral(branch.gid)}, resource = ${asciiLiteral(branch.resource)} ` +
    `WHERE gid = ${asciiLiteral(from)} AND (${isOneOf(locks)}) ORDER BY relation, lock_key`
  );
}

function holdersSql(table: LockTable, locks: readonly RowLock[]): string {
  return `SELECT relation, lock_key, gid, resource FROM atomesh.${table} FORCE INDEX (PRIMARY) WHERE ${isOneOf(locks)}`;
}

function heldOf([relation, key, holder, resource]: readonly (string | null)[]): HeldRowLock {
  return { relation: relation ?? '', key: key ?? '', holder: (holder ?? '') as Gid, resource: resource ?? '' };
}

/** True of the rows of these locks: ranges of the primary key. */
function isOneOf(locks: readonly RowLock[]): string {
  const keys = new Map<string, string[]>();
  for (const { relation, key } of inOrder(locks)) keys.set(relation, [...(keys.get(relation) ?? []), key]);
  return [...keys]
    .map(([relation, each]) => `(relation = ${relation} AND lock_key IN (${each.join(', ')}))`)
    .join(' OR ');
}

/** Relations and keys as literals, in the order of their bytes: those of the literals are in the same. */
function inOrder(locks: readonly RowLock[]): readonly RowLock[] {
  return locks
    .map(({ relation, key }) => ({ relation: literal('utf8mb4', relation), key: asciiLiteral(key) }))
    .toSorted((a, b) => order(a.relation, b.relation) || order(a.key, b.key));
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** Gids, names of branches and keys of locks have no other characters. */
function asciiLiteral(text: string): string {
  return literal('ascii', text);
}

function literal(charset: 'ascii' | 'utf8mb4', text: string): string {
  return `_${charset} X'${Buffer.from(text, 'utf8').toString('hex')}'`;
}
