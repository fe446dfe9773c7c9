/** A batch of writes: which of those that wait can go together, what is sent for them, and what each is answered. */
import type { Gid } from '../../contract/transaction.ts';
import { assert } from '../../platform/assert.ts';
import type { Query, Row } from './line.ts';
import type { ClaimRow, InsertRow, RenewRow, SaveRow, Statements } from './statements.ts';

/** A transaction as the database answers it: its version and its JSON. */
export type Found = readonly [version: unknown, body: unknown];

/** Something to write, and who is to be told. `settle` is called once, after the commit. */
export type Write =
  | { readonly kind: 'insert'; readonly row: InsertRow; readonly settle: (isDone: boolean) => void }
  | { readonly kind: 'save'; readonly row: SaveRow; readonly settle: (isDone: boolean) => void }
  | {
      readonly kind: 'claim';
      readonly row: ClaimRow;
      readonly settle: (answer: Found | 'held' | 'unknown') => void;
    }
  /** Leases of one owner, at most `ROWS_MAX`. `settle` gets the gids that are lost. */
  | { readonly kind: 'renew'; readonly rows: readonly RenewRow[]; readonly settle: (lost: readonly Gid[]) => void };

/** Rows of one database transaction; bounds how long one write can wait for others. */
export const ROWS_MAX = 1000;
/** Bytes of bodies of one database transaction, so that a statement stays far below what a server takes. */
const BODIES_MAX = 4 * 1024 * 1024;

/**
 * Parts what waits into what goes now and what stays. A batch has at most one write for each gid: statements of one kind run at once,
 * so the order of two writes to one gid would be lost. What stays keeps its order.
 */
export function takeBatch<T extends { readonly write: Write }>(
  waiting: readonly T[],
): { readonly batch: readonly T[]; readonly rest: T[] } {
  const gids = new Set<string>();
  const batch: T[] = [];
  const rest: T[] = [];
  let rows = 0;
  let characters = 0;
  for (const item of waiting) {
    const names = gidsOf(item.write);
    const isFull = batch.length > 0 && (rows + names.length > ROWS_MAX || characters > BODIES_MAX);
    if (isFull || names.some((gid) => gids.has(gid))) {
      rest.push(item);
    } else {
      batch.push(item);
      rows += names.length;
      characters += charactersOf(item.write);
    }
    // What stays holds back what comes after it, too.
    for (const gid of names) gids.add(gid);
  }
  return { batch, rest };
}

/** What is sent for a batch, and how its answers are told once it is committed. */
export function queriesFor(
  batch: readonly Write[],
  statements: Statements,
  notification: Query | undefined,
): { readonly queries: readonly Query[]; readonly tell: (answers: readonly (readonly Row[])[]) => void } {
  const queries: Query[] = [];
  const tellers: ((answers: readonly (readonly Row[])[]) => void)[] = [];
  const add = (query: Query): number => queries.push(query) - 1;

  const inserts = batch.filter((write) => write.kind === 'insert');
  if (inserts.length > 0) {
    const at = add(statements.insert(inserts.map(({ row }) => row)));
    tellers.push((answers) => tellDone(inserts, answers[at]));
  }
  const saves = batch.filter((write) => write.kind === 'save');
  if (saves.length > 0) {
    const at = add(statements.save(saves.map(({ row }) => row)));
    tellers.push((answers) => tellDone(saves, answers[at]));
  }
  const claims = batch.filter((write) => write.kind === 'claim');
  if (claims.length > 0) {
    const at = add(statements.claim(claims.map(({ row }) => row)));
    const knownAt = add(statements.known(claims.map(({ row }) => row[0])));
    tellers.push((answers) => tellClaims(claims, answers[at], answers[knownAt]));
  }
  const renewals = batch.filter((write) => write.kind === 'renew');
  if (renewals.length > 0) {
    const rows = renewals.flatMap((write) => write.rows);
    const at = add(statements.renew(rows));
    if (notification !== undefined && rows.some(([, , leaseUntil]) => leaseUntil === 0)) add(notification);
    tellers.push((answers) => tellRenewals(renewals, answers[at]));
  }
  return { queries, tell: (answers) => tellers.forEach((tell) => tell(answers)) };
}

type Of<K extends Write['kind']> = Extract<Write, { kind: K }>;

function tellDone(writes: readonly (Of<'insert'> | Of<'save'>)[], rows: readonly Row[] | undefined): void {
  const done = firstColumn(rows);
  for (const { row, settle } of writes) settle(done.has(row[0]));
}

function tellClaims(
  writes: readonly Of<'claim'>[],
  rows: readonly Row[] | undefined,
  known: readonly Row[] | undefined,
): void {
  const taken = new Map((rows ?? []).map(([gid, version, body]): [unknown, Found] => [gid, [version, body]]));
  const there = firstColumn(known);
  for (const { row, settle } of writes) settle(taken.get(row[0]) ?? (there.has(row[0]) ? 'held' : 'unknown'));
}

function tellRenewals(writes: readonly Of<'renew'>[], rows: readonly Row[] | undefined): void {
  const kept = firstColumn(rows);
  for (const write of writes) write.settle(write.rows.flatMap(([gid]) => (kept.has(gid) ? [] : [gid as Gid])));
}

function firstColumn(rows: readonly Row[] | undefined): ReadonlySet<unknown> {
  assert(rows !== undefined, 'each statement of a batch is answered');
  return new Set(rows.map(([first]) => first));
}

function gidsOf(write: Write): readonly string[] {
  return write.kind === 'renew' ? write.rows.map(([gid]) => gid) : [write.row[0]];
}

function charactersOf(write: Write): number {
  if (write.kind === 'insert') return write.row[8].length;
  return write.kind === 'save' ? write.row[7].length : 0;
}
