/**
 * What a mark means to a database session: its changes are captured for an undo branch, or they are an operation's own and a row of
 * the barrier goes ahead of them. Pure.
 */
import { markText, type BranchId, type Gid, type Mark, type Task } from '../../src/contract/transaction.ts';

/** Whom statements outside any global transaction wait for row locks for. No gid is empty, and nobody holds a lock. */
export const NOBODY = '' as Gid;

/** The branch that captured changes belong to. */
export interface UndoBranch {
  readonly gid: Gid;
  /** Its name at the coordinator and in the database: `<service>/<database>`, with `#<run>` behind it inside a workflow. */
  readonly resource: string;
  /** The run of a workflow that it was enlisted by. */
  readonly run?: number;
}

/** An operation of a branch, or the local transaction of a message (branch `00`, task `msg`). */
export interface BarrierOperation {
  readonly gid: Gid;
  readonly branch: BranchId;
  readonly task: BarrierTask;
}

/** What has a row of the barrier. */
export type BarrierTask = Exclude<Task, `run${number}`>;

export type Work =
  | { readonly kind: 'undo'; readonly branch: UndoBranch }
  | { readonly kind: 'operation'; readonly operation: BarrierOperation };

/** What is done under `mark` in the database whose branches are called `resource`. */
export function workOf(mark: Mark, resource: string): Work {
  const { gid, operation } = mark;
  if (operation === undefined) return { kind: 'undo', branch: { gid, resource } };
  const { branch, task } = operation;
  if (isBarrierTask(task)) return { kind: 'operation', operation: { gid, branch, task } };
  const run = Number(task.slice(RUN.length));
  return { kind: 'undo', branch: { gid, resource: resourceOf(resource, run), run } };
}

/** True when changes under `mark` are captured, so that their branch must be enlisted before they are committed. */
export function isCaptured({ operation }: Mark): boolean {
  return operation === undefined || !isBarrierTask(operation.task);
}

/**
 * The name of a branch at the coordinator and in its database. Each run of a workflow has branches of its own, so that an interrupted
 * run can be undone while the next one begins; and so that what the workflow's own service does as a participant, called by its
 * program, is not undone with the run: the next one is given the recorded answer of that call.
 */
export function resourceOf(database: string, run: number | undefined): string {
  return run === undefined ? database : `${database}#${run}`;
}

/** The text that tells branches apart. */
export function branchKey({ gid, resource }: UndoBranch): string {
  return `${gid} ${resource}`;
}

/** The text that tells apart what local transactions are carried out for. */
export function workKey(work: Work): string {
  if (work.kind === 'undo') return branchKey(work.branch);
  const { gid, branch, task } = work.operation;
  return markText({ gid, operation: { branch, task } });
}

/** The global transaction that something is done for. */
export function gidOf(work: Work): Gid {
  return work.kind === 'undo' ? work.branch.gid : work.operation.gid;
}

/** The column `trans_type` of an operation's row, in DTM's words (docs/barrier.md). */
export function transTypeOf(task: BarrierTask): 'tcc' | 'saga' | 'msg' {
  if (task === 'msg') return 'msg';
  return task === 'action' || task === 'compensate' ? 'saga' : 'tcc';
}

const RUN = 'run';

function isBarrierTask(task: Task): task is BarrierTask {
  return !task.startsWith(RUN);
}
