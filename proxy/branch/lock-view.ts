/** The row locks that unfinished global transactions hold in the databases of a sidecar, for people who wonder why something waits. */
import { CodedError } from '../../src/contract/errors.ts';
import type { LockPage, LockView } from '../../src/contract/locks.ts';
import { parseGid, type Gid } from '../../src/contract/transaction.ts';
import type { RowName, Waiting } from './lock-holders.ts';

/** A row of atomesh.row_lock, or of atomesh.parent_claim, with what the catalogue says of it. */
export interface HeldLock extends Omit<LockView, 'database' | 'waiting'> {
  readonly row: RowName;
}

/** What tells a lock from every other one. */
export interface LockName extends RowName {
  readonly gid: string;
  readonly resource: string;
}

export interface LockQuery {
  /** Only those of this global transaction. */
  readonly gid?: Gid;
  /** Those behind this one, in the order of relation, key, gid and resource. */
  readonly after?: LockName;
  readonly limit: number;
}

/** Whose locks can be listed. */
export interface LockedDatabase {
  readonly name: string;
  /** Rejects when the database cannot be asked. */
  locks(query: LockQuery): Promise<readonly HeldLock[]>;
  waiting(): readonly Waiting[];
}

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1_000;
const PARAMETERS = ['database', 'gid', 'after', 'limit'];

/**
 * One page over all databases, in the order of their names.
 * @throws CodedError BAD_REQUEST for a query that is none, and what databases reject with.
 */
export async function lockPage(databases: readonly LockedDatabase[], query: string): Promise<LockPage> {
  const { limit, gid, after, database } = readQuery(query, databases);
  const locks: LockView[] = [];
  let last: string | undefined;
  for (const one of databases.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if ((database !== undefined && one.name !== database) || (after !== undefined && one.name < after.database))
      continue;
    const wanted = limit + 1 - locks.length;
    const from = after?.database === one.name ? { after: after.lock } : {};
    const held = await one.locks({ limit: wanted, ...from, ...(gid === undefined ? {} : { gid }) });
    const waiting = one.waiting();
    for (const { row, ...lock } of held) {
      if (locks.length === limit) return { locks, ...(last === undefined ? {} : { next: last }) };
      locks.push({ database: one.name, ...lock, waiting: waitersOf(row, waiting) });
      last = cursorText({ database: one.name, lock: { ...row, gid: lock.gid, resource: lock.resource } });
    }
  }
  return { locks };
}

function waitersOf(row: RowName, waiting: readonly Waiting[]): LockView['waiting'] {
  return waiting
    .filter((one) => one.row.relation === row.relation && one.row.key === row.key)
    .toSorted((a, b) => a.since - b.since)
    .map(({ gid, since }) => ({ gid, since }));
}

interface Cursor {
  readonly database: string;
  readonly lock: LockName;
}

interface PageQuery {
  readonly limit: number;
  readonly gid: Gid | undefined;
  readonly database: string | undefined;
  readonly after: Cursor | undefined;
}

function readQuery(query: string, databases: readonly LockedDatabase[]): PageQuery {
  const parameters = new URLSearchParams(query);
  const unknown = [...parameters.keys()].find((name) => !PARAMETERS.includes(name));
  if (unknown !== undefined) throw badQuery(`there is no parameter ${JSON.stringify(unknown.slice(0, 60))}`);
  const limit = Number(parameters.get('limit') ?? LIMIT_DEFAULT);
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMIT_MAX) throw badQuery(`limit is 1 to ${LIMIT_MAX}`);
  const gidText = parameters.get('gid');
  const gid = gidText === null ? undefined : parseGid(gidText);
  if (gidText !== null && gid === undefined) throw badQuery('gid is no id of a global transaction');
  const database = parameters.get('database') ?? undefined;
  if (database !== undefined && !databases.some(({ name }) => name === database)) {
    throw badQuery(`this sidecar has no database of that name; it has ${databases.map(({ name }) => name).join(', ')}`);
  }
  const afterText = parameters.get('after');
  const after = afterText === null ? undefined : readCursor(afterText);
  if (afterText !== null && after === undefined) throw badQuery('after is not the next of an earlier page');
  return { limit, gid, database, after };
}

function badQuery(message: string): CodedError {
  return new CodedError('BAD_REQUEST', message, { hint: `Known parameters are ${PARAMETERS.join(', ')}.` });
}

function cursorText({ database, lock: { relation, key, gid, resource } }: Cursor): string {
  return Buffer.from(JSON.stringify([database, relation, key, gid, resource])).toString('base64url');
}

function readCursor(text: string): Cursor | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (!Array.isArray(value) || value.length !== 5 || !value.every((part) => typeof part === 'string'))
      return undefined;
    const [database = '', relation = '', key = '', gid = '', resource = ''] = value as readonly string[];
    return { database, lock: { relation, key, gid, resource } };
  } catch {
    return undefined;
  }
}
