/** What must hold when a transaction is over, and when the world has come to rest. */
import { isFinal, type Gid } from '../../../src/contract/transaction.ts';
import { hasUrl } from '../../../src/engine/branches/steps.ts';
import { STOPPED_REASON } from '../../../src/engine/decide.ts';
import type { Branch, GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import type { Situation } from '../faults.ts';
import type { History } from '../history.ts';
import type { Participant } from '../participants/participant.ts';
import type { SimulatedStore } from '../store.ts';
import type { Ledger } from './ledger.ts';

export interface Scene {
  readonly participants: readonly Participant[];
  readonly history: History;
  readonly ledger: Ledger;
}

/** The participant of a branch: of a mesh it is the resource, else the host of its URLs. */
function participantOf(participants: readonly Participant[], branch: Branch): Participant | undefined {
  const [url = branch.resource] = Object.values(branch.operations).flat();
  const [, host = branch.resource] = /^http:\/\/([^./]+)/.exec(url) ?? [];
  return participants.find(({ name }) => name === host);
}

/** A final state is written only when every participant has done what it says. */
export function checkFinal(transaction: GlobalTransaction, scene: Scene): void {
  const { gid, mode, status, branches } = transaction;
  // Whoever stops a transaction looks after its branches himself.
  if (transaction.reason === STOPPED_REASON) return;
  if (mode === 'saga' && transaction.reason?.startsWith('url:')) {
    const isTrue = branches.some(({ id }) => scene.ledger.isRefused(gid, id));
    if (!isTrue) scene.history.violated('S8 unknown is not failure', `${gid} is ${status}, and no action has failed`);
  }
  for (const branch of branches) {
    const participant = participantOf(scene.participants, branch);
    if (participant === undefined) continue;
    const isUndo = mode === 'mesh' && branch.kind === 'undo';
    const fault = isUndo ? undoFault(transaction, participant) : branchFault(transaction, branch, participant, scene);
    if (fault === undefined) continue;
    scene.history.violated(
      'S3 atomic outcome',
      `${gid} is ${status}; branch ${branch.id} at ${participant.name} ${fault}`,
    );
  }
}

function undoFault({ gid, status }: GlobalTransaction, participant: Participant): string | undefined {
  const { committed, fenced } = participant.state(gid);
  return (status === 'succeed' ? committed : fenced) ? undefined : 'has not done it';
}

function branchFault(
  { gid, mode, status }: GlobalTransaction,
  branch: Branch,
  participant: Participant,
  { ledger }: Scene,
): string | undefined {
  const state = participant.branches.state(gid, branch.id);
  if (branch.status === 'abandoned') {
    return branch.attempts === branch.attemptsMax ? undefined : `was given up after ${branch.attempts} tries`;
  }
  switch (mode === 'mesh' ? branch.kind : mode) {
    case 'tcc':
      if (status === 'succeed') return isIdle(branch, 'confirm') || state?.confirmed ? undefined : 'is not confirmed';
      return isIdle(branch, 'cancel') || state?.undone ? undefined : 'is not cancelled';
    case 'xa':
      return (status === 'succeed' ? state?.confirmed : state?.undone) ? undefined : 'is left prepared';
    case 'saga':
      // In a mesh the initiator acts itself, and answers for it.
      if (mode === 'mesh') return status === 'succeed' || state?.undone ? undefined : 'is not compensated';
      if (status === 'succeed') return isIdle(branch, 'action') || state?.effect === 1 ? undefined : 'has not acted';
      if (isIdle(branch, 'compensate') || !ledger.isAsked(gid, branch.id, 'action')) return undefined;
      return state?.undone ? undefined : 'may have acted and is not compensated';
    case 'msg':
      if (status === 'succeed')
        return isIdle(branch, 'action') || state?.effect === 1 ? undefined : 'was not delivered';
      return state === undefined ? undefined : 'was delivered';
    default:
      return undefined;
  }
}

function isIdle(branch: Branch, operation: 'action' | 'compensate' | 'confirm' | 'cancel'): boolean {
  return !hasUrl(branch, operation);
}

/** Everything is decided and done, once and everywhere, or waits for the operator and says so. */
export function checkEnd(store: SimulatedStore, scene: Scene): void {
  const { history, participants } = scene;
  for (const { stored } of store.rows().values()) {
    const { transaction } = stored;
    if (isFinal(transaction.status)) {
      history.count(situationOf(transaction));
      if (transaction.branches.some(({ status }) => status === 'abandoned')) history.count('message given up');
      // What came late has changed nothing.
      checkFinal(transaction, scene);
    } else if (isLeftToOperator(transaction, participants)) history.count('dirty branch left to the operator');
    else
      history.violated('L1 progress', `${transaction.gid} is still ${transaction.status} long after everything works`);
  }
  for (const participant of participants) {
    for (const gid of participant.gids()) {
      checkMeshEffect(gid, participant, store.rows().get(gid)?.stored.transaction, history);
    }
  }
}

function situationOf({ mode, status, reason, callback, run }: GlobalTransaction): Situation {
  if (reason === STOPPED_REASON) return 'stopped by an operator';
  const isGood = status === 'succeed';
  switch (mode) {
    case 'mesh':
      if (run !== undefined) return isGood ? 'workflow of a mesh succeeded' : 'workflow of a mesh failed';
      if (callback !== undefined) return isGood ? 'message of a mesh delivered' : 'message of a mesh not sent';
      return isGood ? 'committed' : 'rolled back';
    case 'saga':
      return isGood ? 'saga succeeded' : 'saga compensated';
    case 'msg':
      return isGood ? 'message delivered' : 'message not sent';
    default:
      return `${mode} ${isGood ? 'succeeded' : 'failed'}`;
  }
}

function checkMeshEffect(
  gid: Gid,
  participant: Participant,
  transaction: GlobalTransaction | undefined,
  history: History,
): void {
  const { effect, landed, changed } = participant.state(gid);
  const branch = transaction?.branches.find(({ resource }) => resource === participant.name);
  if (transaction === undefined) return history.violated('S2 no lost gid', `${gid} is lost`);
  if (branch === undefined) {
    if (landed)
      history.violated(
        'S9 no registration after decision',
        `${participant.name} took part in ${gid} and is no branch of it`,
      );
    return;
  }
  const expected = transaction.status === 'succeed' || (branch.status === 'dirty' && changed) ? 1 : 0;
  if (effect !== expected) {
    history.violated(
      'S4 exactly-once effect',
      `${gid} is ${transaction.status}; its effect at ${participant.name} is ${effect}`,
    );
  }
}

/** True when nothing can go on before somebody has looked at the rows of a dirty branch. */
export function isLeftToOperator(transaction: GlobalTransaction, participants: readonly Participant[]): boolean {
  return (
    transaction.mode === 'mesh' &&
    transaction.status === 'aborting' &&
    transaction.branches.every((branch) => {
      const participant = participants.find(({ name }) => name === branch.resource);
      return (
        branch.status === 'succeed' ||
        (branch.status === 'dirty' && participant?.state(transaction.gid).changed === true)
      );
    })
  );
}
