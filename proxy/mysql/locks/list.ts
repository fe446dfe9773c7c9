/** Reads atomesh.row_lock and atomesh.parent_claim for people: which rows of which tables are locked, by key. */
import { CodedError } from '../../../src/contract/errors.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { HeldLock, LockQuery } from '../../branch/lock-view.ts';
import { catalogOfSql, type AskedTable } from '../catalog-sql.ts';
import { columnOf, readTables } from '../catalog.ts';
import { quoteName } from '../identifier.ts';
import { openOwnPool, type OwnLogin, type OwnPool } from '../own-pool.ts';
import { lockKeys } from '../undo/lock-key.ts';
import { Spellings, type Spelling } from './spelling.ts';

interface LockList {
  /** @throws CodedError UPSTREAM_UNREACHABLE (retry safe) when the database cannot be asked. */
  read(query: LockQuery): Promise<readonly HeldLock[]>;
  close(): Promise<void>;
}

const STATEMENT_MS_MAX = 5_000;
/** Tables that the catalogue is asked about at once. */
const ASKED_AT_ONCE = 20;

/** One connection is enough for people. `login`: that of the second phase. */
export function createLockList(login: OwnLogin, log: Log): LockList {
  const pool = openOwnPool({
    connection: login,
    purpose: 'lock view',
    max: 1,
    statementTimeoutMs: STATEMENT_MS_MAX,
    lockTimeoutS: 1,
  });
  const spellings = new Spellings();
  return {
    async read(query) {
      try {
        return await readPage(pool, query, spellings);
      } catch (error) {
        const { message } = error as Error;
        log.warn({ err: message }, 'the row locks cannot be read');
        throw new CodedError('UPSTREAM_UNREACHABLE', `the row locks cannot be read: ${message}`, {
          retry: 'safe',
          hint: 'Check upstream, tls and credentials of this database.',
          cause: error,
        });
      }
    },
    close: () => pool.end(),
  };
}

interface LockRow {
  readonly relation: string;
  readonly lock_key: string;
  readonly gid: Gid;
  readonly resource: string;
  /** The driver gives some numbers as text. */
  readonly shared: number | string;
}

async function readPage(
  pool: OwnPool,
  { gid, after, limit }: LockQuery,
  spellings: Spellings,
): Promise<readonly HeldLock[]> {
  const conditions = [
    ...(gid === undefined ? [] : ['gid = ?']),
    // The first is what the servers can find by the index.
    ...(after === undefined ? [] : ['relation >= ?', '(relation, lock_key, gid, resource) > (?, ?, ?, ?)']),
  ];
  const values = [
    ...(gid === undefined ? [] : [gid]),
    ...(after === undefined ? [] : [after.relation, after.relation, after.key, after.gid, after.resource]),
    limit,
  ];
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  const part = (table: string, shared: 0 | 1): string =>
    `(SELECT relation, lock_key, gid, resource, ${shared} AS shared FROM atomesh.${table}${where} ORDER BY relation, lock_key, gid, resource LIMIT ?)`;
  // Who has the lock needs no claim.
  const rows = await pool.rows<LockRow>(
    `SELECT relation, lock_key, gid, resource, MIN(shared) AS shared FROM (${part('row_lock', 0)} UNION ALL ${part('parent_claim', 1)}) AS held
  GROUP BY relation, lock_key, gid, resource ORDER BY relation, lock_key, gid, resource LIMIT ?`,
    [...values, ...values, limit],
  );
  if (rows.length === 0) return [];
  const since = await readSince(pool, [...new Set(rows.map((row) => row.gid))]);
  const columns = await readColumns(pool, new Set(rows.map(({ relation }) => relation)), spellings);
  return rows.map((row) => heldOf(row, columns.get(row.relation) ?? [], since.get(branchText(row))));
}

/** Since when branches of these global transactions have changed rows, in milliseconds since the epoch. */
async function readSince(pool: OwnPool, gids: readonly Gid[]): Promise<ReadonlyMap<string, number>> {
  const rows = await pool.rows<{ gid: string; resource: string; since: string | number }>(
    `SELECT gid, resource, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', MIN(created_at)) DIV 1000 AS since
  FROM atomesh.undo_record WHERE gid IN (?) GROUP BY gid, resource`,
    [gids],
  );
  return new Map(rows.map((row) => [branchText(row), Number(row.since)]));
}

function branchText({ gid, resource }: { readonly gid: string; readonly resource: string }): string {
  return `${gid} ${resource}`;
}

/** A column, and how its values are spelled where locks have weights of them. */
interface LockedColumn {
  readonly name: string;
  readonly spelling: Spelling | undefined;
}

/** The columns that locks of these relations are about; nothing of those that are gone, or whose name is a hash. */
async function readColumns(
  pool: OwnPool,
  relations: ReadonlySet<string>,
  spellings: Spellings,
): Promise<ReadonlyMap<string, readonly LockedColumn[]>> {
  const tables = new Map<string, AskedTable>();
  for (const relation of relations) {
    const [database, table] = namesOf(relation);
    if (database !== undefined && table !== undefined) tables.set(displayed([database, table]), { database, table });
  }
  const asked = [...tables.values()];
  const found = new Map<string, readonly LockedColumn[]>();
  for (let at = 0; at < asked.length; at += ASKED_AT_ONCE) {
    const some = asked.slice(at, at + ASKED_AT_ONCE);
    for (const facts of readTables(await pool.lists(catalogOfSql(some)), some.length)) {
      for (const { relation, index } of facts === undefined ? [] : lockKeys(facts)) {
        if (facts === undefined || !relations.has(relation)) continue;
        const columns = index.columns.map(async ({ name = '' }): Promise<LockedColumn> => {
          const column = columnOf(facts, name);
          return { name, spelling: column && (await spellings.of(pool, column)) };
        });
        found.set(relation, await Promise.all(columns));
      }
    }
  }
  return found;
}

function heldOf(row: LockRow, columns: readonly LockedColumn[], since: number | undefined): HeldLock {
  const { relation, lock_key: key, gid, resource, shared } = row;
  const [database, table] = namesOf(relation);
  // No part of a key has a comma in it, but one that was too long is a hash as a whole.
  const parts = key.split(',');
  return {
    row: { relation, key },
    gid,
    resource,
    table: database === undefined || table === undefined ? relation : displayed([database, table]),
    columns: columns.map(({ name }) => name),
    values: parts.length === columns.length ? parts.map((part, at) => columns[at]?.spelling?.(part) ?? part) : [key],
    shared: Number(shared) === 1,
    ...(since === undefined ? {} : { since }),
  };
}

/** The database, the table and, of a lock on another unique value, the index. Nothing of a hash. */
function namesOf(relation: string): readonly string[] {
  return [...relation.matchAll(/`((?:[^`]|``)*)`/g)].map(([, name = '']) => name.replaceAll('``', '`'));
}

/** Quoted only where a name would not be understood without quotes. */
function displayed(names: readonly string[]): string {
  return names.map((name) => (/^[\w$]+$/.test(name) ? name : quoteName(name))).join('.');
}
