/** A statement whose changes are captured, from the client's words to its answer. */
import type { Capture } from '../../undo/capture.ts';
import type { Refused } from '../../undo/refusal.ts';
import { isAlone, type Context } from '../context.ts';
import { commitLocal } from '../ending.ts';
import { runCapture } from './run.ts';
import { answer, tell, type Piece } from '../piece.ts';
import { binaryRows } from '../refusals.ts';

/** `stale`, `temporary`: it has to be planned again; `Refused`: it cannot be captured after all. Nothing of it has been done then. */
export async function serveCapture(
  c: Context,
  capture: Capture,
  piece: Piece,
  isLastTry: boolean,
): Promise<boolean | 'stale' | 'temporary' | Refused> {
  if (capture.answersRows && piece.isPrepared) return tell(c, { kind: 'refused', refusal: binaryRows });
  const alone = isAlone(c);
  const outcome = await runCapture(c, capture, alone);
  if (outcome.kind === 'stale') return isLastTry ? tell(c, outcome.failure) : 'stale';
  if (outcome.kind === 'temporary') return 'temporary';
  if (outcome.kind === 'refuse') return outcome;
  if (outcome.kind !== 'done') return tell(c, outcome);
  c.local.begunAs = undefined;
  const failure = alone && !outcome.isCommitted ? await commitLocal(c) : undefined;
  if (failure !== undefined) return tell(c, failure);
  c.last = outcome.last;
  answer(c, piece, outcome.packets);
  return true;
}
