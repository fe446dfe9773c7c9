/** A statement whose changes are captured, from the client's words to its answer. */
import type { Capture } from '../../undo/capture.ts';
import type { Refused } from '../../undo/refusal.ts';
import { withErrno } from '../../session/refusals.ts';
import { isAlone, type Context } from '../context.ts';
import { beginLocal, commitLocal, rollBack } from '../ending.ts';
import { runCapture, type CaptureOutcome } from './run.ts';
import { answer, tell, type Piece } from '../piece.ts';
import { binaryRows, levelLost } from '../refusals.ts';

/** `stale`, `temporary`: it has to be planned again; `Refused`: it cannot be captured after all. Nothing of it has been done then. */
export async function serveCapture(
  c: Context,
  capture: Capture,
  piece: Piece,
  isLastTry: boolean,
): Promise<boolean | 'stale' | 'temporary' | Refused> {
  if (capture.answersRows && piece.isPrepared) return tell(c, { kind: 'refused', refusal: binaryRows });
  const alone = isAlone(c);
  if (alone && c.hasLevel) return serveOnce(c, capture, piece);
  const outcome = await runCapture(c, capture, alone);
  if (outcome.kind === 'stale') return isLastTry ? tell(c, outcome.failure) : 'stale';
  if (outcome.kind === 'temporary') return 'temporary';
  if (outcome.kind === 'refuse') return outcome;
  if (outcome.kind !== 'done') return tell(c, outcome);
  c.local.begunAs = undefined;
  return conclude(c, piece, outcome, alone && !outcome.isCommitted);
}

async function conclude(
  c: Context,
  piece: Piece,
  outcome: Extract<CaptureOutcome, { kind: 'done' }>,
  commits: boolean,
): Promise<boolean> {
  const failure = commits ? await commitLocal(c) : undefined;
  if (failure !== undefined) return tell(c, failure);
  c.last = outcome.last;
  answer(c, piece, outcome.packets);
  return true;
}

/** One that stands alone, whose local transaction cannot be begun anew: it is as one of several until it is done. */
async function serveOnce(c: Context, capture: Capture, piece: Piece): Promise<boolean> {
  const broken = await beginLocal(c, { isPlain: true });
  if (broken !== undefined) return tell(c, broken);
  const outcome = await runCapture(c, capture, false);
  if (outcome.kind === 'done') return conclude(c, piece, outcome, true);
  const failure = await rollBack(c);
  if (failure !== undefined) return tell(c, failure);
  switch (outcome.kind) {
    case 'stale':
      c.parts.facts.moved();
      return tell(c, outcome.failure);
    case 'temporary':
      return tell(c, { kind: 'refused', refusal: levelLost });
    case 'refuse':
      return tell(c, { kind: 'refused', refusal: withErrno(outcome.refusal) });
    case 'error':
    case 'refused':
      return tell(c, outcome);
  }
}
