/**
 * A change in a local transaction that is prepared at its end, because it has no images or because of mode xa. Rows that another, unfinished
 * global transaction may have to restore are waited for, as by a captured change. It takes no row locks: until the decision the server's own keep
 * everybody out, and behind it there is nothing to be restored.
 */
import { withErrno } from '../../session/refusals.ts';
import type { Capture } from '../../undo/capture.ts';
import { canRunAsItCame, inItsWords, runAsItCame } from '../as-it-came.ts';
import { isAlone, isOpen, type Context } from '../context.ts';
import { beginLocal, commitLocal, rollBack } from '../ending.ts';
import { answer, tell, type Piece } from '../piece.ts';
import { planAsking } from '../tables/planning.ts';
import { isBulk, withRows } from '../written-out.ts';
import { runCapture } from './run.ts';

/** Runs it. What cannot be asked about runs as it came. False when it failed; `temporary`: nothing was done, for it is about a temporary table. */
export async function runAsking(c: Context, piece: Piece): Promise<boolean | 'temporary'> {
  for (let tries = 1; ; tries += 1) {
    const plan = canBeAsked(c, piece) ? await planAsking(c, piece.parsed) : undefined;
    if (plan?.kind === 'refuse') return tell(c, { kind: 'refused', refusal: withErrno(plan.refusal) });
    const told = plan && withRows(c, plan, piece);
    // Rows of a prepared statement have another form than those of a text, into which not all can be turned.
    if (plan === undefined || told === undefined || (plan.answersRows && told.isPrepared)) break;
    const isDone = await runOnce(c, plan, told, tries > 1);
    if (isDone === 'refuse') break;
    if (isDone !== 'stale') return isDone;
    c.parts.facts.moved();
  }
  return runAsItCame(c, piece, true);
}

/** Several rows of parameters are not written into the text. */
function canBeAsked(c: Context, { prepared }: Piece): boolean {
  return canRunAsItCame(c) && (prepared === undefined || !isBulk(prepared.parameters));
}

/** `stale`: it has to be planned again; `refuse`: it cannot be asked about after all. Nothing of it was done then. */
async function runOnce(
  c: Context,
  plan: Capture,
  piece: Piece,
  isLastTry: boolean,
): Promise<boolean | 'stale' | 'refuse' | 'temporary'> {
  const alone = isAlone(c);
  // Begun in a known way it can be begun anew: so it is given back while it waits, as long as nothing else is in it.
  const unbegun = isOpen(c) ? undefined : await beginLocal(c, { isPlain: false, how: {} });
  if (unbegun !== undefined) return tell(c, unbegun);
  const { changed, prepares } = c.local;
  const { expectsWarnings } = c.memory;
  // What it calls should not be called once more for the sake of its warnings.
  c.memory.expectsWarnings = true;
  const outcome = await runCapture(c, preparing(c, plan), false);
  c.memory.expectsWarnings = expectsWarnings;
  if (outcome.kind === 'done') {
    c.local.begunAs = undefined;
    const failure = alone ? await commitLocal(c) : undefined;
    if (failure !== undefined) return tell(c, failure);
    c.last = outcome.last;
    answer(c, piece, outcome.packets);
    return true;
  }
  const broken = alone ? await rollBack(c) : undefined;
  if (broken !== undefined) return tell(c, broken);
  switch (outcome.kind) {
    case 'temporary':
    case 'stale':
      Object.assign(c.local, { changed, prepares });
      return outcome.kind === 'stale' && isLastTry ? tell(c, outcome.failure) : outcome.kind;
    case 'refuse':
      return outcome.kind;
    case 'error':
    case 'refused':
      return tell(c, inItsWords(outcome));
  }
}

/** From the moment that it may change something, its local transaction is one that is prepared: also one that was begun anew. */
function preparing(c: Context, plan: Capture): Capture {
  const { before } = plan;
  const prepare = (): void => {
    c.local.changed = true;
    c.local.prepares = true;
  };
  return {
    ...plan,
    ...(before === undefined
      ? {}
      : {
          before: (locks) => {
            if (locks) prepare();
            return before(locks);
          },
        }),
    change: (found) => {
      prepare();
      return plan.change(found);
    },
  };
}
