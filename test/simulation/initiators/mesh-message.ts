/** A mesh that is a message: calls that wait for the commit of one local transaction, whose barrier row says how it ended. */
import type { BeginRequest } from '../../../src/contract/messages.ts';
import type { Initiator } from './initiator.ts';
import { beginMesh } from './mesh.ts';
import { checkMessage, LocalTransaction } from './message.ts';
import { drawRoute, makeCall } from './routes.ts';

export async function runMeshMessage(initiator: Initiator): Promise<void> {
  const { world, name } = initiator;
  const { random, time } = world;
  const local = new LocalTransaction(initiator);
  world.serve(initiator.host, async () => local.ask());
  const callback: BeginRequest['callback'] = {
    operation: 'msg',
    url: `http://${initiator.host}/check`,
    afterMs: random.between(100, 3000),
  };
  const gid = await beginMesh(initiator, { callback, initiator: name });
  if (gid === undefined) return;
  world.atEnd(() => checkMessage(initiator, gid, local));
  const routes = Array.from({ length: random.between(0, 3) }, (_, index) => drawRoute(initiator, `call ${index}`));
  let isGood = true;
  for (const route of routes) {
    if (isGood) isGood = (await makeCall(initiator, gid, route)) === 'success';
  }
  const isLate = world.happens('local commit is late');
  await time.sleep(isLate ? random.between(500, 8000) : random.between(1, 30));
  const isCommitted = isGood && !world.happens('local commit fails') && local.commit();
  if (world.happens('client falls silent')) return;
  // A sidecar that does not know how its application's transaction ended says nothing; one that knows says so.
  if (isCommitted) await initiator.submit(gid);
  else if (local.ask() === 'failure') await initiator.abort(gid);
  if (random.chance(0.5)) await initiator.waitForEnd(gid);
}
