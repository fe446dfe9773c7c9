/** Where the row of an operation goes in a text of statements that arrives as one message. Pure. */
import type { PlannedStatement } from './planner.ts';
import type { BlockStatus } from './session.ts';
import type { Refusal } from './statement.ts';

/**
 * - `as-is`: nothing of it may change rows, or everything fails as it is.
 * - `ahead`: the row goes in ahead of the whole text, in the same local transaction.
 * - `behind`: the row goes in at that byte of it, ahead of its first change: behind BEGIN, and behind what must come before any
 *   other statement of a local transaction (SET TRANSACTION).
 */
export type Arrangement =
  | { readonly kind: 'as-is' }
  | { readonly kind: 'ahead' }
  | { readonly kind: 'behind'; readonly at: number }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };

/**
 * Arranges a whole text. One local transaction of it may change rows, and it must be plain where that begins and ends: BEGIN stands
 * first, COMMIT or ROLLBACK last, and no savepoint between them that could take the row back unseen.
 */
export function arrange(statements: readonly PlannedStatement[], block: BlockStatus): Arrangement {
  const plans = statements.map(({ plan }) => plan);
  const refused = plans.find((plan) => plan.kind === 'refuse');
  if (block !== 'failed' && refused?.kind === 'refuse') return { kind: 'refuse', refusal: refused.refusal };
  const isSeveral = statements.length > 1;
  if (isSeveral && plans.some((plan) => plan.kind === 'set-gid')) return { kind: 'refuse', refusal: severalStatements };
  const controls = plans.flatMap((plan, index) => (plan.kind === 'control' ? [{ verb: plan.verb, index }] : []));
  const isInOrder = controls.every(
    ({ verb, index }) =>
      (verb === 'begin' && index === 0 && block === 'idle') || (ENDS.has(verb) && index === plans.length - 1),
  );
  if (isSeveral && !isInOrder) return { kind: 'refuse', refusal: severalTransactions };
  if (block === 'failed' || !plans.some((plan) => plan.kind === 'change')) return { kind: 'as-is' };
  const [control] = controls;
  const begins = control?.index === 0 && control.verb === 'begin';
  // Without a BEGIN of its own there is no block that the text's end could end.
  if (control !== undefined && !begins && block === 'idle') return { kind: 'refuse', refusal: severalTransactions };
  const change = statements.find(({ plan }) => plan.kind === 'change');
  const isFirst = change === undefined || change === statements[0];
  return isFirst || (block === 'idle' && !begins) ? { kind: 'ahead' } : { kind: 'behind', at: change.start };
}

const ENDS: ReadonlySet<string> = new Set(['commit', 'commit-and-chain', 'rollback', 'rollback-and-chain']);

const severalStatements: Refusal = {
  code: '0A000',
  message: 'SET atomesh.gid cannot stand in one text with other statements',
  hint: 'Send them one by one.',
};

const severalTransactions: Refusal = {
  code: '0A000',
  message: 'a text with BEGIN, COMMIT, ROLLBACK or savepoints among other statements cannot run inside an operation',
  hint: 'Send them one by one, or let BEGIN be the first and COMMIT the last of one text. An operation may change rows in one local transaction only.',
};
