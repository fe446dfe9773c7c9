/** What the SQLite store and its worker thread say to each other. Flat tuples where it matters, because everything is cloned between threads. */

import type { ListFilter, NewRecord, StoredRecord } from '../runner/ports.ts';

/** A stored transaction: its JSON and its version. */
export type Row = readonly [body: string, version: number];

/** Columns of a transaction that never change and that the database itself looks at. */
export type Birth = readonly [mode: string, createdAt: number];

/** Columns of a transaction that the database itself looks at. */
export type Columns = readonly [
  owner: string,
  leaseUntil: number,
  dueAt: number | null,
  status: string,
  finishedAt: number | null,
  body: string,
];

/** One thing to do. The first member is the verb; the verbs are the methods of `Store` and `Records`. */
export type Task =
  | readonly ['insert', gid: string, ...Birth, ...Columns]
  | readonly ['save', gid: string, version: number, ...Columns]
  | readonly ['read', gid: string]
  | readonly ['claimDue', now: number, owner: string, leaseUntil: number, limit: number, ownUntil: number]
  | readonly ['claim', gid: string, now: number, owner: string, leaseUntil: number]
  | readonly ['renew', gids: readonly string[], owner: string, leaseUntil: number]
  | readonly ['list', filter: ListFilter]
  | readonly ['deleteFinished', before: number, limit: number]
  | readonly ['readRecord', category: string, key: string]
  | readonly ['saveRecord', record: NewRecord, version: number, now: number]
  | readonly ['deleteRecord', category: string, key: string]
  | readonly ['listRecords', category: string, after: string, limit: number];

/** What the worker answers to each verb. */
export interface Answers {
  readonly insert: 'inserted' | 'exists';
  readonly save: 'saved' | 'conflict';
  readonly read: Row | undefined;
  readonly claimDue: readonly Row[];
  readonly claim: Row | 'held' | 'unknown';
  readonly renew: readonly string[];
  readonly list: readonly Row[];
  readonly deleteFinished: number;
  readonly readRecord: StoredRecord | undefined;
  readonly saveRecord: 'saved' | 'conflict';
  readonly deleteRecord: boolean;
  readonly listRecords: readonly StoredRecord[];
}

export type Verb = Task[0];
export type Answer = Answers[Verb];

/** Why something could not be done, as it crosses the thread boundary. */
export interface Failure {
  readonly message: string;
  readonly hint: string;
}

/** What the worker is started with. */
export interface WorkerStart {
  readonly path: string;
  /** The most pages of 4 KiB that the database file may have; undefined: no limit but the disk's. */
  readonly pagesMax: number | undefined;
}

/** A batch of tasks, done in one database transaction; or the end. */
export type Request = readonly Task[] | 'close';

export type Response =
  | { readonly kind: 'opened' }
  /** The database cannot be used at all; the worker has ended. */
  | { readonly kind: 'refused'; readonly failure: Failure }
  /** The batch is on disk; one answer a task. */
  | { readonly kind: 'done'; readonly answers: readonly Answer[] }
  /** Nothing of the batch has been kept; the database goes on. */
  | { readonly kind: 'rejected'; readonly failure: Failure }
  /** Nothing is known of the batch, and the database must not be used again by this process. */
  | { readonly kind: 'broken'; readonly failure: Failure }
  | { readonly kind: 'closed' };
