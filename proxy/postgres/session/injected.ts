/** Statements of our own, run in the client's session under reserved names, so that nothing of the client's is touched. */
import type { Gid } from '../../../src/contract/transaction.ts';
import { transTypeOf, type BarrierOperation, type UndoBranch } from '../../sql/work.ts';
import type { Exchange, Request } from './exchange.ts';
import { encodeBind } from '../wire/bind.ts';
import { FLUSH, SYNC } from '../wire/bodiless.ts';
import { encodeClose } from '../wire/describe.ts';
import { encodeExecute } from '../wire/execute.ts';
import { BACKEND } from '../wire/frames.ts';
import { encodeParse } from '../wire/parse.ts';
import { decodeDataRow } from '../wire/row.ts';

const PORTAL = Buffer.from('atomesh_portal');
const CLOSE_PORTAL = encodeClose({ kind: 'close', target: 'portal', name: PORTAL });
const ONCE = 'atomesh_once';
const CLOSE_ONCE = encodeClose({ kind: 'close', target: 'statement', name: Buffer.from(ONCE) });
const FAILING = Buffer.from('atomesh_failing');
const TEXT_TYPE = 25;

export const ENTER_OPERATION =
  'SELECT atomesh.enter_operation($1, $2, $3, $4, $5::pg_catalog.bool, $6::pg_catalog.int8)';

export const ENTER_BRANCH = `SELECT CASE WHEN pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off' THEN atomesh.enter_branch($1, $2) END,
 CASE WHEN pg_catalog.current_setting('lock_timeout') OPERATOR(pg_catalog.=) '0' THEN pg_catalog.set_config('lock_timeout', $3, true) END`;

export const BOUND_WAITS =
  "SELECT pg_catalog.set_config('lock_timeout', $1, true) WHERE pg_catalog.current_setting('lock_timeout') OPERATOR(pg_catalog.=) '0'";
export const ENTER_CAPTURE =
  'SELECT atomesh.enter_capture($1, $2, $3::pg_catalog.int8, $4::pg_catalog.text[], $5::pg_catalog.bool)';
export const CHECK_CAPTURE = 'SELECT atomesh.check_capture($1, $2, $3::pg_catalog.bool)';

const FAILURE = Buffer.from('atomesh refused a statement in this transaction');

/** The fixed statements: name → text. */
export const FIXED = {
  begin: 'BEGIN',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
  savepoint: 'SAVEPOINT atomesh_savepoint',
  release: 'RELEASE SAVEPOINT atomesh_savepoint',
  'rollback-to': 'ROLLBACK TO SAVEPOINT atomesh_savepoint',
  isolation: 'SHOW transaction_isolation',
  'has-written': `SELECT (pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL)::pg_catalog.text,
 EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE name OPERATOR(pg_catalog.<>) 'atomesh_portal' AND name OPERATOR(pg_catalog.<>) '')::pg_catalog.text`,
} as const;

export type FixedStatement = keyof typeof FIXED;

/** One session's own statements: prepared when first used, forgotten when the client discards everything. */
export class Injected {
  readonly #exchange: Exchange;
  readonly #prepared = new Set<string>();
  /** A statement of ours failed: in a failed block its portal is there up to the ROLLBACK. */
  #leftPortal = false;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** The server has dropped every prepared statement. */
  forget(): void {
    this.#prepared.clear();
  }

  /** Adds one of the fixed statements to the batch. Its answer has the error of any message that it takes, its Execute above all. */
  add(statement: FixedStatement): Request {
    return this.#add(`atomesh_${statement}`, FIXED[statement], [], statement === 'commit').execute;
  }

  /**
   * Adds the row of an operation, under the id `row`, to the batch. `checkEarlierWrites`: it is refused when the local transaction has
   * written before. Its answer has the error of any message that it takes.
   */
  enter({ gid, branch, task }: BarrierOperation, checkEarlierWrites: boolean, row: string): Request {
    const parameters = [transTypeOf(task), gid, branch, task, String(checkEarlierWrites), row];
    return this.#add('atomesh_enter_operation', ENTER_OPERATION, parameters).execute;
  }

  /**
   * Adds that a branch is entered, to the batch; a local transaction that only reads enters nothing. Waits for locks in it are over
   * after that many milliseconds, unless the client has said when. Its answer has the error of any message that it takes.
   */
  enterBranch({ gid, resource }: UndoBranch, lockTimeoutMs: number): Request {
    return this.#add('atomesh_enter_branch', ENTER_BRANCH, [gid, resource, `${lockTimeoutMs}ms`]).execute;
  }

  /**
   * Adds a command that ends a block or begins one, said once, to the batch. By the extended protocol: a Query would drop the client's
   * unnamed statement. The client gets its notices. Its answer has the error of any message that it takes.
   */
  once(command: string): Request {
    // It is left there when the command fails.
    this.#prepared.delete(ONCE);
    this.#exchange.add({ kind: 'close', to: 'nobody' }, CLOSE_ONCE);
    return this.#add(ONCE, command, [], true).execute;
  }

  /** Adds that waits for locks are over after that many milliseconds, unless the client has said when, up to the end of the local transaction. */
  boundWaits(lockTimeoutMs: number): Request {
    return this.#add('atomesh_bound_waits', BOUND_WAITS, [`${lockTimeoutMs}ms`]).execute;
  }

  /**
   * Adds that triggers are told of the branch, to the batch. `committed`: whose row locks may be taken over; `checkEarlierWrites` as for
   * `enter`. Its answer has the error of any message that it takes.
   */
  enterCapture(
    { gid, resource }: UndoBranch,
    how: { readonly rowsMax: number; readonly committed: readonly Gid[]; readonly checkEarlierWrites: boolean },
  ): Request {
    const committed = `{${how.committed.map((each) => `"${each}"`).join(',')}}`;
    const parameters = [gid, resource, String(how.rowsMax), committed, String(how.checkEarlierWrites)];
    return this.#add('atomesh_enter_capture', ENTER_CAPTURE, parameters).execute;
  }

  /**
   * Adds the question whether triggers still know the branch, to the batch. `isLast`: behind it comes the end of the local transaction, so
   * the client gets the notices of what was deferred to that. Its answer has the error of any message that it takes.
   */
  checkCapture({ gid, resource }: UndoBranch, isLast: boolean): Request {
    return this.#add('atomesh_check_capture', CHECK_CAPTURE, [gid, resource, String(isLast)], isLast).execute;
  }

  /**
   * Adds what no server accepts: the one way to fail a transaction, a block or what a Sync would commit, without changing
   * anything. Under a name: the client's unnamed statement outlives it.
   */
  addFailure(): void {
    this.#exchange.add(
      { kind: 'parse', to: 'nobody' },
      encodeParse({ kind: 'parse', statement: FAILING, text: FAILURE, parameterTypes: [] }),
    );
  }

  /**
   * Runs a query with text parameters right now, behind what the batch already holds. Inside a pipeline of the client's it ends
   * with Flush, so that the pipeline goes on; otherwise with Sync, so that no implicit transaction is left open. Answers its
   * rows, or undefined when it or something before it failed; a failure of its own is passed on to the client. `isAnew`: what stands
   * under the name is dropped first, so that the answer is certain to be that of this text: a client may have put one of its own there.
   */
  async query(
    name: string,
    text: string,
    parameters: readonly (string | null)[],
    options: {
      readonly isInPipeline: boolean;
      readonly isAnew?: boolean;
      readonly passOn: (error: Buffer) => void;
    },
  ): Promise<(string | null)[][] | undefined> {
    const closed = options.isAnew === true ? [this.#drop(`atomesh_${name}`)] : [];
    const { execute, all } = this.#add(`atomesh_${name}`, text, parameters);
    if (options.isInPipeline) this.#exchange.addUnanswered(FLUSH);
    else this.#exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await this.#exchange.settled();
    // The first of them fails where the extended protocol is not spoken: in a replication session.
    const failed = [...closed, ...all].find(({ state }) => state === 'failed');
    if (failed?.error !== undefined) options.passOn(failed.error);
    return execute.state === 'done' ? rowsOf(execute) : undefined;
  }

  #drop(name: string): Request {
    this.#prepared.delete(name);
    const close = encodeClose({ kind: 'close', target: 'statement', name: Buffer.from(name) });
    return this.#exchange.add({ kind: 'close', to: 'nobody' }, close);
  }

  #add(
    name: string,
    text: string,
    parameters: readonly (string | null)[],
    tellsNotices: boolean = false,
  ): { readonly execute: Request; readonly all: readonly Request[] } {
    const parses: Request[] = [];
    const statement = Buffer.from(name);
    const isNew = !this.#prepared.has(name);
    if (isNew) {
      this.#prepared.add(name);
      const types = parameters.map(() => TEXT_TYPE);
      const parse = this.#exchange.add(
        { kind: 'parse', to: 'nobody' },
        encodeParse({ kind: 'parse', statement, text: Buffer.from(text), parameterTypes: types }),
      );
      parses.push(parse);
    }
    if (this.#leftPortal) this.#exchange.add({ kind: 'close', to: 'nobody' }, CLOSE_PORTAL);
    this.#leftPortal = false;
    const values = parameters.map((value) => (value === null ? null : Buffer.from(value)));
    const bind = this.#exchange.add(
      { kind: 'bind', to: 'nobody' },
      encodeBind({ kind: 'bind', portal: PORTAL, statement, formats: [], values, resultFormats: [] }),
    );
    const execute = this.#exchange.add(
      { kind: 'execute', to: 'nobody', tellsNotices },
      encodeExecute({ kind: 'execute', portal: PORTAL, maxRows: 0 }),
    );
    const close = this.#exchange.add({ kind: 'close', to: 'nobody' }, CLOSE_PORTAL);
    const all = [...parses, bind, execute, close];
    for (const request of all) {
      request.onEnd = () => {
        // Mostly a cancel request, which may hit any of them.
        execute.error ??= request.error;
        if (request.kind === 'parse' && request.state !== 'done') this.#prepared.delete(name);
        if (request === close && request.state !== 'done') this.#leftPortal = true;
      };
    }
    return { execute, all };
  }
}

/** What `has-written` says: whether the local transaction has a number, as what has written has, and whether cursors or portals are open. */
export function earlierIn(rows: readonly (readonly (string | null)[])[]): {
  readonly hasWritten: boolean;
  readonly hasOpened: boolean;
} {
  const [hasWritten, hasOpened] = rows[0] ?? [];
  return { hasWritten: hasWritten !== 'false', hasOpened: hasOpened !== 'false' };
}

/** The rows that a request was answered with, as text. */
export function rowsOf(request: Request): (string | null)[][] {
  const rows: (string | null)[][] = [];
  for (const frame of request.frames) {
    if (frame[0] !== BACKEND.dataRow) continue;
    const row = decodeDataRow(frame.subarray(5));
    if (row.kind === 'data-row') rows.push(row.values.map((value) => value?.toString('utf8') ?? null));
  }
  return rows;
}
