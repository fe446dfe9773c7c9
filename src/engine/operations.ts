/** Which operation of a branch finishes it, by its kind. */
import type { BranchKind, Operation } from '../contract/transaction.ts';
import type { Outcome } from './status.ts';

type SecondPhase = Readonly<Partial<Record<Outcome, Operation>>>;

/** A missing entry means that this outcome asks nothing of the branch: a saga step has done its work, a message is not sent. */
const SECOND_PHASE: Readonly<Record<BranchKind, SecondPhase>> = {
  undo: { commit: 'commit', rollback: 'rollback' },
  xa: { commit: 'commit', rollback: 'rollback' },
  tcc: { commit: 'confirm', rollback: 'cancel' },
  saga: { rollback: 'compensate' },
  msg: { commit: 'action' },
};

/** What to ask of a branch of this kind, or undefined when the outcome asks nothing of it. */
export function operationFor(kind: BranchKind, outcome: Outcome): Operation | undefined {
  return SECOND_PHASE[kind][outcome];
}

/** The operations that a branch of this kind must have a URL for: without them it could never be finished. */
export function requiredOperations(kind: BranchKind): readonly Operation[] {
  return Object.values(SECOND_PHASE[kind]);
}
