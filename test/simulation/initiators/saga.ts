/** Saga: the initiator hands its steps over, perhaps more than once, and waits. */
import type { NewStep, NewTransaction } from '../../../src/contract/new-transaction.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { branchIdOf } from '../../../src/engine/branches/id.ts';
import type { GlobalTransaction } from '../../../src/engine/global-transaction.ts';
import { orderFault } from '../../../src/engine/order.ts';
import type { Outcome, Runner } from '../../../src/runner/runner.ts';
import type { Random } from '../random.ts';
import type { Initiator } from './initiator.ts';

export async function runSaga(initiator: Initiator): Promise<void> {
  const { world, name } = initiator;
  const { random, time } = world;
  const steps = drawSteps(initiator, random.between(1, 4), true);
  const order = drawOrder(random, steps.length);
  const request: NewTransaction = {
    gid: name as Gid,
    mode: 'saga',
    identity: name,
    protocol: 'http',
    steps,
    ...initiator.drawDurations(),
    ...(order === undefined ? {} : { order }),
    ...(random.chance(0.4) ? { timeoutMs: random.between(50, 4000) } : {}),
    ...(random.chance(0.4) ? { retryLimit: random.between(1, 4) } : {}),
  };
  if (!(await initiator.start(request, 'submitted')) || world.happens('client falls silent')) return;
  if (random.chance(0.3)) {
    await time.sleep(random.between(1, 1500));
    await initiator.start(request, 'submitted');
  }
  if (random.chance(0.4)) {
    await initiator.andRest(request.gid, (runner) => runner.startNew(request, 'submitted').then(transactionOf));
  }
  if (world.happens('operator stops it')) await initiator.stop(request.gid);
  if (random.chance(0.5)) await initiator.waitForEnd(request.gid);
}

type Started = Awaited<ReturnType<Runner['startNew']>>;

function transactionOf(started: Started): Outcome<GlobalTransaction> {
  return started.ok ? { ok: true, value: started.value.transaction } : started;
}

/** Steps at any of the participants; some have nothing to do. */
export function drawSteps({ world }: Initiator, count: number, isCompensated: boolean): readonly NewStep[] {
  const { random, participants } = world;
  return Array.from({ length: count }, (_, index) => {
    const base = `http://${random.pick(participants).name}.1`;
    return {
      id: branchIdOf(index + 1),
      ...(random.chance(0.9) ? { action: `${base}/action` } : {}),
      ...(isCompensated && random.chance(0.9) ? { compensate: `${base}/compensate` } : {}),
    };
  });
}

/** None, all at once, or any order without a fault. */
export function drawOrder(random: Random, steps: number): NewTransaction['order'] {
  if (random.chance(0.5)) return undefined;
  const order = Array.from({ length: steps }, () =>
    Array.from({ length: random.between(0, 2) }, () => random.between(0, steps - 1)),
  );
  return orderFault(order, steps) === undefined ? order : [];
}
