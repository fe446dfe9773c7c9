/** Plans for statements outside any global transaction, where these shall wait for row locks too. */
import type { StatementPlan } from '../../sql/statement.ts';
import type { RelationFacts } from '../catalog.ts';
import type { ParsedStatement } from '../parse.ts';
import { child, children, text, type QualifiedName } from '../tree.ts';
import { classify, type Class } from '../undo/classify.ts';
import { planExecute, type Executed } from '../undo/text/execute.ts';
import { waitingChange } from './changes.ts';
import { lockingRead } from './reads.ts';

const PASS: StatementPlan = { kind: 'pass' };

/**
 * Sorts one statement by whether the condition of row locks may belong into it. Nothing is refused, and nothing is asked about functions:
 * what they change passes.
 */
export function classifyOutside(statement: ParsedStatement): Class {
  const found = classify(statement);
  if (found.kind === 'plan') return found.plan.kind === 'refuse' ? { kind: 'plan', plan: PASS } : found;
  if (found.kind !== 'execute' && !mayTouchHeld(statement, found.kind)) return { kind: 'plan', plan: PASS };
  return { ...found, references: { ...found.references, functions: [] } };
}

/** True unless the statement locks, updates and deletes nothing. */
function mayTouchHeld({ kind, node }: ParsedStatement, found: 'read' | 'change'): boolean {
  if (found === 'read') return children(node, 'lockingClause').length > 0;
  if (kind !== 'InsertStmt' || child(node, 'withClause') !== undefined) return true;
  return text(child(node, 'onConflictClause') ?? {}, 'action') === 'ONCONFLICT_UPDATE';
}

/** The plan of a statement of that class. `executed`: what an EXECUTE runs, when there is such a statement. */
export function planOutside(
  statement: ParsedStatement,
  found: Class,
  executed: Executed | undefined,
  facts: (name: QualifiedName) => RelationFacts | 'missing',
): StatementPlan {
  if (found.kind === 'plan') return found.plan;
  if (found.kind === 'execute') {
    if (executed === undefined || executed.found.kind === 'execute') return { kind: 'pass', isByName: true };
    return planExecute(statement, executed, planOutside(executed.statement, executed.found, undefined, facts));
  }
  const { references } = found;
  const capture =
    found.kind === 'read' ? lockingRead(statement, references, facts) : waitingChange(statement, references, facts);
  return capture === undefined ? PASS : { kind: 'capture', capture };
}
