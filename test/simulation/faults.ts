/** What can go wrong, and how often: drawn from the seed, so that every seed is another kind of bad day. */
import type { Random } from './random.ts';

/** Per kind the highest probability per occasion. */
const HIGHEST = {
  'call is lost': 0.3,
  'call is delivered twice': 0.3,
  'call arrives late': 0.3,
  'answer is lost after the effect': 0.3,
  'participant answers unknown': 0.3,
  'participant answers failure': 0.2,
  'participant answers ongoing': 0.3,
  'participant restarts': 0.1,
  'replica is gone for good': 0.3,
  'row is changed by somebody else': 0.2,
  'request is lost': 0.2,
  'request is delivered twice': 0.3,
  'answer to the client is lost': 0.2,
  'store is slow': 0.2,
  'store fails and keeps nothing': 0.08,
  'store fails and keeps the write': 0.08,
  'store loses what is not synced': 0.3,
  'coordinator crashes': 0.5,
  'coordinator is paused': 0.5,
  'coordinator is stopped': 0.3,
  'clocks differ': 0.3,
  'clock jumps': 0.2,
  'local commit is late': 0.3,
  'local commit fails': 0.15,
  'submit and abort race': 0.3,
  'client falls silent': 0.3,
  'begin comes again with another request': 0.3,
  'peer is not reached': 0.4,
  'operator stops it': 0.1,
  'a later run goes another way': 0.4,
} as const;

export type FaultKind = keyof typeof HIGHEST;
export type Faults = Readonly<Record<FaultKind, number>>;

export const FAULT_KINDS = Object.keys(HIGHEST) as readonly FaultKind[];

/** Rare situations that a run over many seeds must have been in. */
export const SITUATIONS = [
  'saga succeeded',
  'saga compensated',
  'saga turned round by its deadline',
  'stopped by an operator',
  'saga turned round by its retry limit',
  'action answered after the turn',
  'late action fenced',
  'tcc succeeded',
  'tcc failed',
  'xa succeeded',
  'xa failed',
  'message delivered',
  'message not sent',
  'initiator asked after its local commit',
  'initiator asked before its local commit',
  'workflow succeeded',
  'workflow failed',
  'workflow run again by a call',
  'step of a workflow recorded by another run',
  'message of a mesh delivered',
  'message of a mesh not sent',
  'message given up',
  'workflow of a mesh succeeded',
  'workflow of a mesh failed',
  'workflow of a mesh run again by a call',
  'older run refused',
  'run that went another way refused',
  'branch completed by its answer',
  'submit came again',
  'waiter told of a rest',
  'three coordinators',
  'event handed to the holder',
  'told that another has left work',
  'null compensation',
  'local commit fenced by an earlier rollback',
  'write of a former owner fenced',
  'rolled back by the deadline',
  'submit answered rolled back',
  'enlist refused after the decision',
  'dirty branch',
  'dirty branch resolved by retry',
  'dirty branch left to the operator',
  'taken over by another coordinator',
  'taken up by its owner after a restart',
  'write not synced was lost',
  'begin answered from what was there',
  'second alternative was called',
  'repeated call found its work done',
  'waiter told of the end',
  'committed',
  'rolled back',
] as const;

export type Situation = (typeof SITUATIONS)[number];

/** Half of the kinds do not happen at all on a given seed, the others with a rate of their own. */
export function drawFaults(random: Random): Faults {
  const faults: Partial<Record<FaultKind, number>> = {};
  for (const kind of FAULT_KINDS) faults[kind] = random.chance(0.5) ? 0 : random.next() * HIGHEST[kind];
  return faults as Faults;
}
