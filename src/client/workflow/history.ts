/** What earlier runs of a workflow have recorded, against what this run does: the same, or it must not go on. */
import { CodedError } from '../../contract/errors.ts';
import { INITIATOR } from '../../contract/transaction.ts';
import type { DtmProgress } from '../dtm/client.ts';
import { decodeRecord, type StepEnd, type StepIdentity, type StepRecord } from './step-record.ts';

/**
 * The operations of a workflow's branch. `business`: the work of an XA branch is done, and is about to be prepared.
 * `decision`: of branch `00`, what the second phase is; one name for both, so that only one can ever be recorded.
 */
export type StepOperation = 'action' | 'business' | 'commit' | 'rollback' | 'decision';

export interface RecordedStep {
  readonly status: 'succeed' | 'failed';
  readonly end: StepEnd;
}

/** What phase two was decided to be, before the first call of it. DTM keeps no such record; here branch `00` holds it. */
export interface RecordedDecision {
  readonly outcome: 'commit' | 'rollback';
  readonly end: StepEnd;
}

export class History {
  readonly #steps = new Map<string, { readonly status: string; readonly record: StepRecord | undefined }>();
  readonly #taken = new Set<string>();
  readonly decision: RecordedDecision | undefined;

  constructor(progresses: readonly DtmProgress[]) {
    for (const { branchId, op, status, data } of progresses) {
      this.#steps.set(`${branchId} ${op}`, { status, record: decodeRecord(data) });
    }
    this.decision = this.#recordedDecision();
  }

  /**
   * The recorded end of this step; undefined when it has not ended yet. Throws `CodedError` REPLAY_MISMATCH when another step is
   * recorded in its place.
   */
  take(branchId: string, op: StepOperation, wanted: StepIdentity): RecordedStep | undefined {
    const key = `${branchId} ${op}`;
    this.#taken.add(key);
    const known = this.#steps.get(key);
    if (known === undefined) return undefined;
    const { record, status } = known;
    if (record === undefined) throw mismatch(`step ${key} was recorded by another client library`);
    if (record.step !== wanted.step) {
      throw mismatch(`step ${key} was "${record.step}" when it was recorded, and is "${wanted.step}" now`);
    }
    if (record.hash !== wanted.hash) throw mismatch(`step ${key} "${wanted.step}" sends something else than recorded`);
    return { status: status === 'failed' ? 'failed' : 'succeed', end: record.end };
  }

  /** Actions that were recorded and that this run has not come to. */
  get ahead(): readonly string[] {
    return [...this.#steps.keys()].filter((key) => !this.#taken.has(key) && / (?:action|business)$/.test(key));
  }

  #recordedDecision(): RecordedDecision | undefined {
    const known = this.#steps.get(`${INITIATOR} decision`);
    if (known?.record === undefined) return undefined;
    return { outcome: known.status === 'failed' ? 'rollback' : 'commit', end: known.record.end };
  }
}

/** The program is not the one that was recorded, or does not do the same twice. */
export function mismatch(message: string): CodedError {
  return new CodedError('REPLAY_MISMATCH', message, {
    hint:
      'A workflow must do the same when it runs again: put what changes into steps, and register a changed program under ' +
      'another name while old ones are unfinished. Run the old program to finish this one.',
  });
}
