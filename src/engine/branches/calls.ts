/** Calls to branches, the same for every mode: which are due, and what a branch is after one that was no success. */
import type { ResolutionView, ResolveRequest, RetryRequest } from '../../contract/messages.ts';
import type { Instant, Operation, Resolution } from '../../contract/transaction.ts';
import type { Effect } from '../effect.ts';
import type { Event } from '../event.ts';
import type { Branch, GlobalTransaction } from '../global-transaction.ts';
import { backoffMs } from './retry.ts';

const ERROR_CHARACTERS_MAX = 500;
/** So many decisions are kept of one branch; the oldest makes room. */
const RESOLUTIONS_MAX = 20;

export type Reply = Extract<Event, { kind: 'replied' }>;

/** A branch that is to be asked. */
export interface DueCall {
  readonly branch: Branch;
  readonly operation: Operation;
}

/** The calls to make at `now`, and one wake for the earliest of those whose time has not come. */
export function callEffects(due: readonly DueCall[], now: Instant): readonly Effect[] {
  const effects: Effect[] = [];
  let wakeAt: Instant | undefined;
  for (const { branch, operation } of due) {
    if (branch.notBefore === undefined || branch.notBefore <= now) {
      effects.push({ kind: 'call', branch: branch.id, operation, urls: urlsInTurn(branch, operation) });
    } else if (wakeAt === undefined || branch.notBefore < wakeAt) {
      wakeAt = branch.notBefore;
    }
  }
  if (wakeAt !== undefined) effects.push({ kind: 'wake', at: wakeAt });
  return effects;
}

/** The branch after one more try. */
export function tried(branch: Branch): Branch {
  const { notBefore: _, ...rest } = branch;
  return { ...rest, attempts: branch.attempts + 1 };
}

/**
 * The branch after an answer that was no success: `ongoing` is asked again at its own or the transaction's interval, anything else with
 * growing pauses. `failure` too, where the decision stands and a branch cannot change it.
 */
export function triedInVain(state: GlobalTransaction, branch: Branch, reply: Reply, now: Instant): Branch {
  const next = { ...tried(branch), lastError: errorText(reply) };
  const firstMs = branch.retryIntervalMs ?? state.retryIntervalMs;
  const pauseMs = reply.result === 'ongoing' ? firstMs : backoffMs(state.gid, branch.id, next.attempts, firstMs);
  return { ...next, notBefore: (now + pauseMs) as Instant };
}

/** What the branch is to be called with, beside its operation; undefined when nothing was decided that a call carries out. */
export function resolutionOf({ resolutions }: Branch): Resolution | undefined {
  const last = resolutions?.at(-1);
  return last === undefined || last.outcome !== undefined || last.how === 'retry' ? undefined : last.how;
}

/** The branch once the call that carries the last decision out has been answered. */
export function withOutcome(branch: Branch, outcome: 'done' | 'refused'): Branch {
  const last = branch.resolutions?.at(-1);
  if (branch.resolutions === undefined || last === undefined || last.outcome !== undefined) return branch;
  return { ...branch, resolutions: [...branch.resolutions.slice(0, -1), { ...last, outcome }] };
}

/** What an answer said, for people; of bounded length. */
export function errorText(reply: Reply): string {
  return (reply.detail ?? `answered ${reply.result}`).slice(0, ERROR_CHARACTERS_MAX).toWellFormed();
}

/** The branch with one more decision of an operator; `outcome` where it is carried out without a call. */
export function decidedAbout(
  branch: Branch,
  { how, by, reason }: ResolveRequest,
  now: Instant,
  outcome?: 'done',
): Branch {
  const resolution: ResolutionView = {
    how,
    at: now,
    ...(by === undefined ? {} : { by }),
    ...(reason === undefined ? {} : { reason }),
    ...(outcome === undefined ? {} : { outcome }),
  };
  return { ...branch, resolutions: [...(branch.resolutions ?? []), resolution].slice(-RESOLUTIONS_MAX) };
}

/**
 * The state in which every unfinished branch, a dirty one too, may be called at once; not a message before its time. A dirty one waits for
 * an operator, so this is his decision about it and recorded as such; with the others nothing is decided, a pause is shortened.
 */
export function askedAgain(state: GlobalTransaction, request: RetryRequest, now: Instant): GlobalTransaction {
  const { callback } = state;
  if (!state.branches.some(waits) && (callback === undefined || !waits(callback))) return state;
  const branches = state.branches.map((branch) =>
    branch.status === 'dirty' ? decidedAbout(askable(branch), { ...request, how: 'retry' }, now) : askable(branch),
  );
  return { ...state, branches, ...(callback === undefined ? {} : { callback: askable(callback) }) };
}

function waits(branch: Branch): boolean {
  const isHeld = branch.delayMs !== undefined && branch.attempts === 0;
  return branch.status === 'dirty' || (branch.notBefore !== undefined && !isHeld);
}

function askable(branch: Branch): Branch {
  if (!waits(branch)) return branch;
  const { notBefore: _, ...rest } = branch;
  return rest.status === 'dirty' ? { ...rest, status: 'prepared' } : rest;
}

/** The alternatives, beginning with the one whose turn it is: each try begins with the next. */
function urlsInTurn(branch: Branch, operation: Operation): readonly string[] {
  const urls = branch.operations[operation] ?? [];
  const first = urls.length < 2 ? 0 : branch.attempts % urls.length;
  return first === 0 ? urls : [...urls.slice(first), ...urls.slice(0, first)];
}
