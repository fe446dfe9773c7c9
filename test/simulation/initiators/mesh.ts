/** Mesh: an application begins, its sidecars enlist branches that commit locally, and it asks for commit or rollback. */
import type { BeginRequest } from '../../../src/contract/messages.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { requestIdentity } from '../../../src/engine/begin.ts';
import type { GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import type { Participant } from '../participants/participant.ts';
import type { Initiator } from './initiator.ts';
import { drawRoute, makeCall } from './routes.ts';

/** One application's global transaction, from begin to whatever end it takes. */
export async function runMesh(initiator: Initiator): Promise<void> {
  const { world } = initiator;
  const { random } = world;
  const gid = await beginMesh(initiator, { timeoutMs: random.between(500, 6000) });
  if (gid === undefined) return;
  const participants = world.participants.filter(() => random.chance(0.6));
  const called = Array.from({ length: random.chance(0.4) ? random.between(1, 3) : 0 }, async (_, index) => {
    return (await makeCall(initiator, gid, drawRoute(initiator, `call ${index}`))) === 'success';
  });
  const joined = await Promise.all([...participants.map((each) => join(initiator, gid, each)), ...called]);
  if (world.happens('client falls silent')) return;
  const isGood = joined.every((landed) => landed);
  if (isGood && world.happens('submit and abort race'))
    await Promise.all([initiator.submit(gid), initiator.abort(gid)]);
  else if (isGood && random.chance(0.85)) await initiator.submit(gid);
  else await initiator.abort(gid);
  if (random.chance(0.5)) await initiator.waitForEnd(gid);
}

/** Begins it as `wanted`; undefined when it does not know whether the coordinator has it. */
export async function beginMesh(initiator: Initiator, wanted: BeginRequest): Promise<Gid | undefined> {
  const { world, name } = initiator;
  const { random, history } = world;
  const request: BeginRequest = {
    ...(random.chance(0.6) ? { gid: name as Gid } : {}),
    retryIntervalMs: random.between(20, 150),
    requestTimeoutMs: random.between(100, 500),
    initiator: name,
    ...wanted,
  };
  const outcome = await initiator.repeat(
    (runner) => runner.begin(request),
    ({ transaction, created }) => {
      initiator.isDurable('S2 no lost gid', transaction.gid, () => true);
      if (!created) history.count('begin answered from what was there');
      if (requestIdentity(request) !== requestIdentity({ ...request, ...transactionRequest(transaction) })) {
        history.violated('S27 idempotent begin', `${transaction.gid} was answered for another request`);
      }
    },
  );
  if (outcome?.ok !== true) return undefined;
  const { gid } = outcome.value.transaction;
  if (world.happens('begin comes again with another request')) {
    const other = { ...request, gid, retryIntervalMs: 7000 };
    await initiator.repeat(
      (runner) => runner.begin(other),
      () => {
        history.violated('S27 idempotent begin', `${gid} was begun again with another request`);
      },
    );
  }
  return gid;
}

/** The branch is enlisted before its local commit, which may come late. True when the application knows that it has landed. */
async function join(initiator: Initiator, gid: Gid, participant: Participant): Promise<boolean> {
  const { world } = initiator;
  const { random, time } = world;
  await time.sleep(random.between(1, 60));
  const replicas = random.chance(0.5) ? ['1', '2'] : ['1'];
  for (const replica of replicas) {
    const base = `http://${participant.name}.${replica}`;
    const request = {
      kind: 'undo' as const,
      resource: participant.name,
      operations: { commit: `${base}/commit`, rollback: `${base}/rollback` },
    };
    const outcome = await initiator.repeat(
      (runner) => runner.enlist(gid, request),
      ({ branchId }) => {
        initiator.isDurable('S2 no lost branch', gid, ({ branches }) =>
          branches.some(({ id, resource }) => id === branchId && resource === participant.name),
        );
      },
      (error) => {
        if (error.code === 'TRANSACTION_DECIDED') world.history.count('enlist refused after the decision');
      },
    );
    if (outcome?.ok !== true) return false;
  }
  if (world.happens('local commit fails')) return false;
  const isLate = world.happens('local commit is late');
  const landing = time.sleep(isLate ? random.between(500, 8000) : random.between(1, 30)).then(() => {
    return participant.land(gid, world.happens('row is changed by somebody else')) === 'landed';
  });
  return Promise.race([landing, time.sleep(1500).then(() => false)]);
}

/** The request that a transaction says it was begun with. */
function transactionRequest(transaction: GlobalTransaction): Partial<BeginRequest> {
  const { createdAt, deadline, retryIntervalMs, requestTimeoutMs, initiator } = transaction;
  return {
    ...(deadline === undefined ? {} : { timeoutMs: deadline - createdAt }),
    retryIntervalMs,
    requestTimeoutMs,
    ...(initiator === undefined ? {} : { initiator }),
  };
}
