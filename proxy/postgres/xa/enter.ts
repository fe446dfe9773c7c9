/** What goes ahead of the first change of a local transaction that will be prepared: its branch is made known, and entered. */
import type { SqlEvent } from '../../sql/event.ts';
import { enteredRecorded, escalated, type Admission } from '../../sql/session.ts';
import { withoutPosition, type CaptureOutcome } from '../session/capture-run.ts';
import { currentBranch, noteCode, type Conversation } from '../session/conversation.ts';
import type { Request } from '../session/exchange.ts';
import { rowsOf } from '../session/injected.ts';
import { rolledBackAsAWhole } from '../session/refusals.ts';
import { SYNC } from '../wire/bodiless.ts';
import { FRONTEND } from '../wire/frames.ts';

/** Why the statement cannot run. */
export type Obstacle = Extract<CaptureOutcome, { kind: 'refused' | 'error' | 'skipped' }>;

/** A change that runs as it came, and whether its branch is entered ahead of it. */
export type Entry = Extract<Admission, { kind: 'enter' | 'entered' }>;

/**
 * Remembers that such a change is on its way: what triggers record is committed, everything else is prepared. `isLast`: the server is
 * ready behind it.
 */
export function noteChange(c: Conversation, { recorded, runsCode, waits }: Entry, isLast: boolean): void {
  const asked = runsCode === true ? undefined : waits?.read;
  const isFree = asked !== undefined && !asked.keepsLocks && asked.takesValues !== true;
  if (runsCode === true || recorded?.runsCode === true) noteCode(c, isLast);
  c.state = recorded === undefined ? escalated(c.state, isFree) : enteredRecorded(c.state);
}

/** How such a change is counted. */
export function eventOf({ recorded }: Entry): SqlEvent {
  return recorded === undefined ? 'escalated' : 'captured';
}

/**
 * Begins to enlist the branch, unless it is, and waits until its state stands in the database. A local transaction that wrote the
 * state itself would keep it locked until the global transaction is decided, and every later one of the same gid out. Only one that
 * may have taken its one snapshot before has to, for it would not see what another connection writes.
 */
export async function openBranch(c: Conversation): Promise<Obstacle | undefined> {
  const branch = currentBranch(c);
  if (c.isAbandoned(branch)) return { kind: 'refused', refusal: rolledBackAsAWhole(branch.gid) };
  if (c.enlistment.isEnlisted(branch)) return undefined;
  let opens = true;
  if (c.state.block === 'open') {
    const isolation = c.injected.add('isolation');
    c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await c.exchange.settled();
    if (isolation.error !== undefined) return { kind: 'error', frame: isolation.error };
    if (isolation.state !== 'done') return { kind: 'skipped' };
    opens = rowsOf(isolation)[0]?.[0] === 'read committed';
  }
  // What it comes to is asked at the end of the local transaction.
  void c.enlistment.enlist(branch, opens);
  await c.enlistment.opened(branch);
  return undefined;
}

/**
 * Adds to the batch that the branch is entered: its state is locked against the second phase until the local transaction has ended.
 * Waits for locks then end after the lock timeout, because one for a prepared transaction of the same gid would not end before it.
 * `told`: the client gets its error with the answers, and not by the caller.
 */
export function addEntry(c: Conversation, admission: Entry, options: { readonly told: boolean }): Request {
  const branch = currentBranch(c);
  const { recorded } = admission;
  const checkEarlierWrites = admission.kind === 'enter' && admission.checkEarlierWrites;
  const request =
    recorded === undefined
      ? c.injected.enterBranch(branch, c.lockTimeoutMs)
      : c.injected.enterCapture(branch, { rowsMax: recorded.rowsMax, committed: [], checkEarlierWrites });
  request.onEnd = () => {
    if (options.told && request.error !== undefined) c.toClient(withoutPosition(request.error));
  };
  return request;
}

/** Enters the branch ahead of an Execute, inside a block: up to the Sync the change shares the fate of what goes ahead of it. */
export async function enterPortal(c: Conversation, admission: Entry): Promise<Obstacle | undefined> {
  const enters = admission.kind === 'enter';
  const obstacle = enters ? await openBranch(c) : undefined;
  if (obstacle !== undefined) return obstacle;
  if (enters) addEntry(c, admission, { told: true });
  noteChange(c, admission, c.peek() === FRONTEND.sync);
  c.count(eventOf(admission));
  return undefined;
}
