/** Plans of what a client has prepared, once for each time that it is bound. */
import { markOf } from '../../../sql/session.ts';
import type { StatementPlan } from '../../../sql/statement.ts';
import { planBound } from '../../undo/text/execute.ts';
import { escalatedPlan } from '../../xa/planner.ts';
import { controlIn, isAmbiguous, isClear, plansOf, type Conversation } from '../conversation.ts';
import { ambiguousTrace } from '../refusals.ts';
import type { Statement } from '../statements.ts';
import { withCursors } from './cursors.ts';

/** The plan of a prepared statement inside a pipeline; undefined when the client has got an error instead. */
export async function planOf(
  c: Conversation,
  statement: Statement,
  options: { readonly isInPipeline: boolean; readonly isToRun: boolean },
): Promise<StatementPlan | undefined> {
  const isUnclear = isAmbiguous(c, statement);
  if (isUnclear && options.isToRun) c.count('ambiguous');
  const isBound = markOf(c.state) !== undefined;
  const isPassing = !isUnclear && !statement.hasClue && !(c.respectsLocks && options.isToRun);
  if (!isBound && isPassing) return controlIn(c, statement.text);
  const planned = await plansOf(c, statement.text, options.isInPipeline, isUnclear ? 'operation' : undefined);
  const plans = planned && options.isToRun ? await withCursors(c, planned, options.isInPipeline) : planned;
  if (plans === undefined) return undefined;
  // The server refuses a Parse of several statements; an empty text runs as it is.
  const [only] = plans;
  const bound: StatementPlan = plans.length === 1 && only !== undefined ? planBound(only.plan) : { kind: 'pass' };
  const plan = c.preparation === undefined ? bound : escalatedPlan(bound);
  if (isUnclear && !isClear(plan)) return { kind: 'refuse', refusal: ambiguousTrace, isAlways: true };
  // Nothing is refused outside a global transaction.
  return isBound || isUnclear || plan.kind !== 'refuse' ? plan : { kind: 'pass' };
}
