/**
 * What becomes of a command that may concern a global transaction, once all before it is answered: it passes, or is refused. The place at
 * which a statement that changes something would be captured.
 */
import type { ServedTraces } from '../../binding/from-sql-comment.ts';
import { isCaptured } from '../../sql/work.ts';
import type { LoggedIn } from '../login/login.ts';
import { CAPABILITY, has } from '../wire/capabilities.ts';
import { COMMAND } from '../wire/commands.ts';
import { STATUS } from '../wire/outcome.ts';
import type { Binding } from './binding.ts';
import { claimOf, type Claim } from './naming/carriers.ts';
import { readClaimant, runs, type Said } from './naming/claimants.ts';
import type { InsteadContext } from './naming/instead.ts';
import { cannotBeUndone, judge } from './classify.ts';
import type { SessionParts } from './open-session.ts';
import type { Refusal } from './refusals.ts';
import type { Effect } from './transaction.ts';

export type Decision =
  | {
      readonly kind: 'pass';
      readonly effect: Effect;
      /** It belongs to a global transaction; otherwise why it does not. */
      readonly isInside: boolean;
      readonly reason: 'none' | 'unknown-trace';
      /** What it runs; undefined where it runs nothing. */
      readonly said?: Said;
    }
  /** It runs something inside a global transaction. */
  | { readonly kind: 'inside'; readonly said: Said }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };

export interface DecisionContext extends InsteadContext {
  readonly binding: Binding;
  readonly traces: ServedTraces;
  /** Marks of operations mean nothing to the database, because the application has a barrier of its own. */
  readonly areOperationsOff: boolean;
  /** Changes inside a global transaction can be carried out; otherwise they are refused. */
  readonly hasInside: boolean;
}

/** What decisions depend on in a session. */
export function contextFor(
  { capabilities }: Pick<LoggedIn, 'capabilities'>,
  { traces, areOperationsOff, inside, stripsComments }: SessionParts,
  { binding, statements }: Pick<DecisionContext, 'binding' | 'statements'>,
): DecisionContext {
  return {
    binding,
    statements,
    capabilities,
    stripsComments,
    mayHaveAttributes: has(capabilities, CAPABILITY.queryAttributes),
    traces,
    areOperationsOff,
    hasInside: inside !== undefined,
    get status() {
      return binding.status;
    },
  };
}

/** Commands that change nothing which would have to be undone, beside those that run statements. */
const HARMLESS: readonly number[] = [
  COMMAND.quit,
  COMMAND.initDb,
  COMMAND.fieldList,
  COMMAND.statistics,
  COMMAND.processInfo,
  COMMAND.processKill,
  COMMAND.debug,
  COMMAND.ping,
  COMMAND.stmtPrepare,
  COMMAND.stmtSendLongData,
  COMMAND.stmtClose,
  COMMAND.stmtReset,
  COMMAND.setOption,
  COMMAND.stmtFetch,
  // The session is like new behind it, and belongs to nobody.
  COMMAND.resetConnection,
];

/** Decides, and binds the session where the command says to whom it belongs. */
export function decide(code: number, payload: Buffer, context: DecisionContext): Decision {
  const { binding } = context;
  if (!runs(code)) {
    const isInside = !binding.isFree;
    if (!isInside || HARMLESS.includes(code)) return { kind: 'pass', effect: 'inside', isInside, reason: 'none' };
    return { kind: 'refuse', refusal: cannotBeUndone('a command that may change something') };
  }
  const read = readClaimant(code, payload, context);
  if (read.kind === 'unreadable') return { kind: 'refuse', refusal: read.refusal };
  const claim = operationsAside(claimOf(read.claimant, context.traces), context);
  const refusal = binding.claim(claim);
  if (refusal !== undefined) return { kind: 'refuse', refusal };
  const reason = claim.kind === 'none' ? claim.reason : 'none';
  if (claim.kind === 'mark' && claim.scope === 'session') {
    return { kind: 'pass', effect: 'inside', isInside: false, reason };
  }
  if (binding.mark === undefined) return { kind: 'pass', effect: 'unknown', isInside: false, reason, said: read.said };
  if (context.hasInside) return { kind: 'inside', said: read.said };
  const hasPlainBackslash = (binding.status & STATUS.noBackslashEscapes) !== 0;
  const verdict = judge(read.claimant.text, binding.transaction, { hasPlainBackslash });
  if (verdict.kind === 'refuse') return verdict;
  return { kind: 'pass', effect: verdict.effect, isInside: true, reason };
}

function operationsAside(claim: Claim, { areOperationsOff }: DecisionContext): Claim {
  const isOff = areOperationsOff && claim.kind === 'mark' && claim.mark !== undefined && !isCaptured(claim.mark);
  return isOff ? { kind: 'none', reason: 'none' } : claim;
}
