/** Branches that an application's own calls become in a mesh: tries, actions with a compensation, and messages that wait for the commit. */
import type { EnlistRequest } from '../../../src/contract/messages.ts';
import type { BranchId, CallResult, Gid } from '../../../src/contract/transaction.ts';
import type { Participant } from '../participants/participant.ts';
import type { Initiator } from './initiator.ts';

export type RouteKind = 'tcc' | 'saga' | 'msg';

/** A call that is a branch. */
export interface Route {
  readonly kind: RouteKind;
  readonly participant: Participant;
  readonly resource: string;
  /** The run of a workflow that makes the call. */
  readonly run?: number;
}

/** A route to some participant. */
export function drawRoute({ world }: Initiator, resource: string): Route {
  const { random, participants } = world;
  return { kind: random.pick(['tcc', 'saga', 'msg']), participant: random.pick(participants), resource };
}

/**
 * Enlists the call and makes it, unless it is a message; undefined when it could not be enlisted, `'superseded'` when a newer run has
 * begun. What comes late or is lost is `unknown`: nobody knows then whether it took effect.
 */
export async function makeCall(
  initiator: Initiator,
  gid: Gid,
  route: Route,
): Promise<CallResult | 'superseded' | undefined> {
  const { world } = initiator;
  const { random, time } = world;
  const early = requestOf(initiator, route, 'early');
  // What only an answer can say is missing at first, and is added afterwards.
  const late = route.kind !== 'msg' && random.chance(0.3) ? requestOf(initiator, route, 'late') : undefined;
  const branch = await enlist(initiator, gid, early);
  if (branch === undefined) return undefined;
  if (branch === 'superseded') return 'superseded';
  if (route.kind === 'msg') return 'success';
  await time.sleep(world.happens('local commit is late') ? random.between(200, 3000) : random.between(1, 30));
  const url = `http://${route.participant.name}.1/action`;
  const result = await world.callDirectly({ gid, mode: 'mesh', branch, operation: 'action', url });
  if (result !== 'success' || late === undefined) return result;
  const completed = await enlist(initiator, gid, late);
  if (completed === undefined) return undefined;
  if (completed === 'superseded') return 'superseded';
  world.history.count('branch completed by its answer');
  world.atEnd(() => checkCompleted(initiator, gid, route, branch));
  return result;
}

/** Makes the branch of a call that is not made again one of the run that would make it. False when that run must stop. */
export async function enlistAgain(initiator: Initiator, gid: Gid, route: Route): Promise<boolean> {
  const branch = await enlist(initiator, gid, requestOf(initiator, route, 'early'));
  return branch !== undefined && branch !== 'superseded';
}

/** What was known better stays known. */
function checkCompleted({ world }: Initiator, gid: Gid, { resource, run }: Route, branch: BranchId): void {
  const known = world.store
    .rows()
    .get(gid)
    ?.stored.transaction.branches.find(({ id }) => id === branch);
  const [request] = Object.values(known?.requests ?? {});
  if (run === undefined && request?.headers?.['word'] !== 'late') {
    world.history.violated('S2 no lost branch', `${gid} forgot what an answer had to say of ${resource}`);
  }
}

async function enlist(
  initiator: Initiator,
  gid: Gid,
  request: EnlistRequest,
): Promise<BranchId | 'superseded' | undefined> {
  const { resource } = request;
  const outcome = await initiator.repeat(
    (runner) => runner.enlist(gid, request),
    ({ branchId }) => {
      initiator.isDurable('S2 no lost branch', gid, ({ branches }) =>
        branches.some((branch) => branch.id === branchId && branch.resource === resource),
      );
    },
    (error) => {
      if (error.code === 'TRANSACTION_DECIDED') initiator.world.history.count('enlist refused after the decision');
    },
  );
  if (outcome?.ok === true) return outcome.value.branchId;
  return outcome?.error.code === 'RUN_SUPERSEDED' ? 'superseded' : undefined;
}

function requestOf({ world }: Initiator, { kind, participant, resource, run }: Route, word: string): EnlistRequest {
  const { random } = world;
  const base = `http://${participant.name}.1`;
  const operations = {
    tcc: { confirm: `${base}/confirm`, cancel: `${base}/cancel` },
    saga: { compensate: `${base}/compensate` },
    msg: { action: `${base}/action` },
  }[kind];
  const isMessage = kind === 'msg';
  return {
    kind,
    resource,
    operations,
    requests: Object.fromEntries(Object.keys(operations).map((name) => [name, { headers: { word } }])),
    ...(isMessage && random.chance(0.3) ? { delayMs: random.between(10, 3000) } : {}),
    ...(isMessage && random.chance(0.3) ? { attemptsMax: random.between(1, 4) } : {}),
    ...(random.chance(0.3) ? { retryIntervalMs: random.between(20, 300) } : {}),
    ...(run === undefined ? {} : { run }),
  };
}
