/** A branch that cannot be taken back, whatever its database is. */
import type { ColumnDiagnosis } from '../../src/contract/messages.ts';
import type { Dirt, FinishResult } from './finish.ts';

/** Thrown inside the local transaction of a rollback so that all of it is undone: nothing is written to a dirty branch. */
export class DirtyBranch extends Error {
  readonly dirt: Dirt;
  constructor(dirt: Dirt) {
    super(`${dirt.reason} (${dirt.table})`);
    this.name = 'DirtyBranch';
    this.dirt = dirt;
  }
}

const DETAIL_CHARACTERS_MAX = 2_000;

/** What the coordinator is answered for a branch that is dirty. */
export function dirtyResult(dirt: Dirt): FinishResult {
  const show = (image: string | undefined): string => image ?? 'no row';
  const { reason, table, current, before, after } = dirt;
  const detail = `${reason}; table ${table}; current ${show(current)}; before ${show(before)}; after ${show(after)}`;
  return { result: 'dirty', detail: detail.slice(0, DETAIL_CHARACTERS_MAX), dirt };
}

/** What it is answered when the branch has ended the other way long before. */
export function endedOtherwise(ended: 'committed' | 'rolled back'): FinishResult {
  return {
    result: 'unknown',
    detail: `the branch is already ${ended}; the two decisions contradict each other`,
    ended,
  };
}

const VALUE_CHARACTERS_MAX = 200;

/** The three values of one column, as a person reads them; null is SQL's NULL, and undefined says that there is, or was, no such row. */
export interface ColumnValues {
  readonly name: string;
  readonly before: string | null | undefined;
  readonly after: string | null | undefined;
  readonly current: string | null | undefined;
}

/** One column of a row that is in the way. */
export function columnDiagnosis({ name, before, after, current }: ColumnValues): ColumnDiagnosis {
  return {
    name,
    ...(before === undefined ? {} : { before: shortened(before) }),
    ...(after === undefined ? {} : { after: shortened(after) }),
    ...(current === undefined ? {} : { current: shortened(current) }),
    changed: before !== after,
    differs: current !== after,
  };
}

function shortened(value: string | null): string | null {
  if (value === null || value.length <= VALUE_CHARACTERS_MAX) return value;
  return `${value.slice(0, VALUE_CHARACTERS_MAX).toWellFormed()}… (${value.length} characters)`;
}
