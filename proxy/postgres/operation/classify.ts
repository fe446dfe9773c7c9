/**
 * What a statement is inside an operation: whatever is not provably read-only may change rows, and the barrier's row goes ahead of it.
 * Nothing is captured, so nothing is refused for want of images.
 */
import type { StatementPlan } from '../../sql/statement.ts';
import type { ParsedStatement } from '../parse.ts';
import { classify, type Class } from '../undo/classify.ts';

/**
 * What neither ends a local transaction nor asks for one of its own. Everything else runs in a block of ours when there is none of
 * the client's: inside one the server refuses COMMIT in a procedure and commands such as VACUUM.
 * Source: PostgreSQL, src/backend/tcop/utility.c (`isAtomicContext`, `PreventInTransactionBlock`).
 */
const PLAIN: ReadonlySet<string> = new Set([
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'SelectStmt',
  'CopyStmt',
  'ExecuteStmt',
  'ExplainStmt',
  'DeclareCursorStmt',
  'TruncateStmt',
  'CreateTableAsStmt',
  'NotifyStmt',
]);

/**
 * What leaves no row, but must not happen twice, nor for an operation that was undone before it came. A number that `nextval` gives
 * out is no such thing.
 */
const SPEAKING: ReadonlySet<string> = new Set(['setval', 'pg_notify']);

/** Sorts one statement. A change needs no word of the catalogue. */
export function inOperation(statement: ParsedStatement, carriesBarrier: boolean): Class {
  const found = classify(statement);
  if (found.kind === 'read' && !found.references.functions.some(({ name }) => SPEAKING.has(name))) return found;
  if (found.kind === 'plan') {
    const { plan } = found;
    const isSpeaking = statement.kind === 'NotifyStmt';
    if (!isSpeaking && (plan.kind !== 'refuse' || plan.isAlways === true)) return found;
    // What was prepared is a change when it is executed.
    if (statement.kind === 'PrepareStmt') return { kind: 'plan', plan: { kind: 'pass' } };
  }
  return { kind: 'plan', plan: changeInOperation(statement.kind, carriesBarrier) };
}

/** The plan of a statement of that kind that may change rows. */
export function changeInOperation(kind: string, carriesBarrier: boolean): StatementPlan {
  return carriesBarrier
    ? { kind: 'change', isPlain: PLAIN.has(kind) }
    : { kind: 'refuse', refusal: withoutBarrier, isAlways: true };
}

const withoutBarrier = {
  code: '25000',
  message:
    'inside an operation of a branch, rows can be changed in one database only, and this is another one of the service',
  hint: 'The barrier of the service is in the database that inbound.barrier names, by default the first of the sidecar configuration.',
} as const;
