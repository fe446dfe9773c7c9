/** Transactions as the command line shows them. */
import type { BranchView, CallbackView, ColumnDiagnosis, TransactionView } from '../../src/contract/messages.ts';
import type { Instant } from '../../src/contract/transaction.ts';
import { age, oneLine, textTable } from '../table.ts';

/** One line a transaction. */
export function listText(views: readonly TransactionView[], at: Instant): string {
  const rows = views.map((view) => {
    const done = view.branches.filter(({ status }) => status === 'succeed' || status === 'abandoned').length;
    const branches = `${done}/${view.branches.length}`;
    return [view.gid, view.mode, statusText(view), age(at - view.createdAt), branches, view.initiator ?? ''];
  });
  return textTable(['GID', 'MODE', 'STATUS', 'AGE', 'DONE', 'BEGUN BY'], rows);
}

/** Everything about one transaction. */
export function showText(view: TransactionView, at: Instant): string {
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['gid', view.gid],
    ['mode', view.mode],
    ['status', statusText(view)],
    ['begun', `${time(view.createdAt)} (${age(at - view.createdAt)} ago)`],
    ['begun by', view.initiator],
    ['rolls back at', view.deadline === undefined ? undefined : time(view.deadline)],
    ['finished', view.finishedAt === undefined ? undefined : time(view.finishedAt)],
    ['reason', view.reason],
    ['stopped while', view.stoppedFrom],
    ['stopped by', view.stoppedBy],
    ['run', view.run === undefined ? undefined : String(view.run)],
    ['steps', view.steps?.join(', ')],
    ['callback', view.callback === undefined ? undefined : callbackText(view.callback, at)],
  ];
  const head = facts.flatMap(([name, value]) =>
    value === undefined ? [] : [`${`${name}:`.padEnd(15)}${oneLine(value)}`],
  );
  if (view.branches.length === 0) return [...head, 'no branches'].join('\n');
  const rows = view.branches.map((branch) => {
    const next = branch.nextAttemptAt === undefined ? '' : `in ${age(branch.nextAttemptAt - at)}`;
    const { branchId, kind, resource, status, attempts, attemptsMax, lastError } = branch;
    const tries = attemptsMax === undefined ? String(attempts) : `${attempts}/${attemptsMax}`;
    return [branchId, kind, resource, status, tries, next, lastError ?? ''];
  });
  const table = textTable(['BRANCH', 'KIND', 'RESOURCE', 'STATUS', 'TRIES', 'NEXT', 'LAST ERROR'], rows);
  return [...head, '', table, ...view.branches.flatMap((branch) => dirtText(branch, view))].join('\n');
}

/** How the initiator is asked, and how that went so far. */
function callbackText({ operation, url, attempts, nextAttemptAt, lastError }: CallbackView, at: Instant): string {
  const next = nextAttemptAt === undefined ? '' : `, next in ${age(nextAttemptAt - at)}`;
  return `${operation} ${url}, ${attempts} tries${next}${lastError === undefined ? '' : `: ${lastError}`}`;
}

function statusText(view: TransactionView): string {
  return view.needsAttention ? `${view.status} (needs attention)` : view.status;
}

function time(instant: Instant): string {
  return new Date(instant).toISOString();
}

/** What keeps a branch from being restored, and what operators have decided about it. */
function dirtText(branch: BranchView, { gid }: TransactionView): readonly string[] {
  const { branchId, diagnosis, resolutions = [], status } = branch;
  const decided = resolutions.map(({ how, at, by, reason, outcome = 'under way' }) =>
    oneLine(
      `  ${time(at)} ${how}${by === undefined ? '' : ` by ${by}`}: ${outcome}${reason === undefined ? '' : ` (${reason})`}`,
    ),
  );
  if (status !== 'dirty') {
    return decided.length === 0 ? [] : ['', `branch ${branchId} was decided about by operators:`, ...decided];
  }
  const rows = (diagnosis?.rows ?? []).flatMap(({ table, columns }) => [
    '',
    `row of ${oneLine(table)}:`,
    rowText(columns),
  ]);
  const more = diagnosis?.rowsMore === undefined ? [] : ['', `and ${diagnosis.rowsMore} more rows`];
  return [
    '',
    `branch ${branchId} is dirty${diagnosis === undefined ? '' : `: ${oneLine(`${diagnosis.reason} (${diagnosis.table})`)}`}`,
    ...decided,
    ...rows,
    ...more,
    '',
    `decide with: atomesh tx resolve ${gid} --branch ${branchId} --apply-before | --keep-current | --retry`,
  ];
}

/** Column by column; the key and what is the same everywhere are shown too, since they say which row it is. */
function rowText(columns: readonly ColumnDiagnosis[]): string {
  const rows = columns.map(({ name, before, after, current, changed, differs }) => {
    const notes = [
      ...(changed ? ['changed by this transaction'] : []),
      ...(differs ? ['differs from what it left'] : []),
    ];
    return [name, valueText(before), valueText(after), valueText(current), notes.join(', ')];
  });
  return textTable(
    ['  COLUMN', 'BEFORE', 'AFTER', 'CURRENT', ''],
    rows.map(([name, ...cells]) => [`  ${name}`, ...cells]),
  );
}

function valueText(value: string | null | undefined): string {
  if (value === undefined) return 'no row';
  return value === null ? 'NULL' : JSON.stringify(value);
}
