/** The whole of the coordinator's judgement, as one pure function. */
import type { Instant, Mode } from '../contract/transaction.ts';
import type { Decision } from './decision.ts';
import type { Event } from './event.ts';
import type { GlobalTransaction } from './global-transaction.ts';
import { decideMesh } from './modes/mesh.ts';

/** How one mode decides. No mode knows another. */
export type ModeRules = (state: GlobalTransaction, event: Event, now: Instant) => Decision;

const MODES: Readonly<Record<Mode, ModeRules>> = { mesh: decideMesh };

/** What follows when `event` happens to `state` at `now`. The runner saves `next` durably before it performs any effect. */
export function decide(state: GlobalTransaction, event: Event, now: Instant): Decision {
  return MODES[state.mode](state, event, now);
}
