/** The whole of the coordinator's judgement, as one pure function. */
import type { StopRequest } from '../contract/messages.ts';
import { isFinal, type Instant, type Mode } from '../contract/transaction.ts';
import { runRefusal } from './branches/runs.ts';
import type { Decision } from './decision.ts';
import type { Event } from './event.ts';
import type { GlobalTransaction } from './global-transaction.ts';
import { decideMesh } from './modes/mesh.ts';
import { decideMessage } from './modes/message.ts';
import { decideSaga } from './modes/saga.ts';
import { decideTcc } from './modes/tcc.ts';
import { decideWorkflow } from './modes/workflow.ts';
import { decideXa } from './modes/xa.ts';
import { reasonText } from './reason.ts';

/** How one mode decides. No mode knows another. */
export type ModeRules = (state: GlobalTransaction, event: Event, now: Instant) => Decision;

const MODES: Readonly<Record<Mode, ModeRules>> = {
  mesh: decideMesh,
  saga: decideSaga,
  tcc: decideTcc,
  xa: decideXa,
  msg: decideMessage,
  workflow: decideWorkflow,
};

/** The reason that a transaction given up by an operator carries, ahead of his own. */
export const STOPPED_REASON = 'stopped by an operator';

/** What follows when `event` happens to `state` at `now`. The runner saves `next` durably before it performs any effect. */
export function decide(state: GlobalTransaction, event: Event, now: Instant): Decision {
  if (event.kind === 'stop') return stopped(state, event, now);
  if (isFinal(state.status) && comesByItself(event)) return { next: state, effects: [] };
  const refused = runRefusal(state, event);
  // Time passes for whoever is refused too.
  if (refused !== undefined) return { ...decide(state, { kind: 'woken' }, now), refused };
  return MODES[state.mode](state, event, now);
}

/** True for what nobody waits to have judged: of what is over it changes nothing, a branch that was given up included. */
function comesByItself({ kind }: Event): boolean {
  return kind === 'replied' || kind === 'woken' || kind === 'retry';
}

function stopped(state: GlobalTransaction, { by, reason }: StopRequest, now: Instant): Decision {
  if (!isFinal(state.status)) {
    const next = {
      ...state,
      status: 'failed',
      stoppedFrom: state.status,
      ...(by === undefined ? {} : { stoppedBy: by }),
      reason: reason === undefined ? STOPPED_REASON : reasonText(`${STOPPED_REASON}: ${reason}`),
      finishedAt: now,
    } as const;
    return { next, effects: [] };
  }
  return {
    next: state,
    effects: [],
    refused: {
      code: 'TRANSACTION_DECIDED',
      message: `transaction ${state.gid} has ended: ${state.status}`,
      hint: 'there is nothing left to stop',
    },
  };
}
