/** The thread that owns the SQLite file: each batch of tasks is one database transaction. Started by `sqlite.ts`. */
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { CodedError } from '../contract/errors.ts';
import { assert } from '../platform/assert.ts';
import type { Failure, Request, Response, WorkerStart } from './sqlite-protocol.ts';
import { openDatabase, sqliteCode } from './sqlite-schema.ts';
import { prepareTasks } from './sqlite-tasks.ts';

/**
 * SQLite results after which the transaction is rolled back and the database is as good as before: SQLITE_NOMEM,
 * SQLITE_FULL, SQLITE_TOOBIG. After any other failure what is on disk is not known (a failed fsync may have dropped
 * pages that a later one reports as written), so the only honest thing is to stop and read the file afresh.
 */
const HARMLESS: ReadonlySet<number> = new Set([7, 13, 18]);

assert(parentPort !== null, 'the SQLite worker runs in a thread of its own');
const port = parentPort;
const start = workerData as WorkerStart;

try {
  serve(openDatabase(start));
  answer({ kind: 'opened' });
} catch (error) {
  answer({ kind: 'refused', failure: failureOf(error, `The file is ${start.path}.`) });
  port.close();
}

function serve(database: DatabaseSync): void {
  const run = batchRunner(database);
  port.on('message', (request: Request) => {
    if (request !== 'close') {
      answer(run(request));
      return;
    }
    database.close();
    answer({ kind: 'closed' });
    port.close();
  });
}

function batchRunner(database: DatabaseSync): (tasks: Exclude<Request, 'close'>) => Response {
  const perform = prepareTasks(database);
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  const rollback = database.prepare('ROLLBACK');
  return (tasks) => {
    let isHarmless = false;
    try {
      begin.run();
      isHarmless = true;
      const answers = tasks.map(perform);
      isHarmless = false;
      commit.run();
      return { kind: 'done', answers };
    } catch (error) {
      if (isHarmless && HARMLESS.has(sqliteCode(error) ?? -1) && undo(database, () => rollback.run())) {
        return { kind: 'rejected', failure: failureOf(error, 'Make room on the disk that holds the store.') };
      }
      return {
        kind: 'broken',
        failure: failureOf(error, `Look at the disk that holds ${start.path}, then start the coordinator again.`),
      };
    }
  };
}

/** SQLite rolls back by itself after some failures (https://sqlite.org/lang_transaction.html, section 3). */
function undo(database: DatabaseSync, rollback: () => void): boolean {
  try {
    if (database.isTransaction) rollback();
    return !database.isTransaction;
  } catch {
    return false;
  }
}

function failureOf(error: unknown, hint: string): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CodedError) return { message, hint: error.hint ?? hint };
  const code = error instanceof Error && 'errcode' in error ? ` (SQLite result ${String(error.errcode)})` : '';
  return { message: `${message}${code}`, hint };
}

function answer(response: Response): void {
  port.postMessage(response);
}
