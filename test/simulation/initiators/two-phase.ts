/** TCC and XA: the initiator registers a branch, calls its try or has it prepared, and then submits or aborts. */
import type { Branch } from '../../../src/engine/global-transaction.ts';
import type { NewBranch } from '../../../src/engine/event.ts';
import type { Gid, Operation } from '../../../src/contract/transaction.ts';
import { branchIdOf } from '../../../src/engine/branches/id.ts';
import type { Initiator } from './initiator.ts';

const SECOND_PHASE = { tcc: ['confirm', 'cancel'], xa: ['commit', 'rollback'] } as const;

export async function runTwoPhase(initiator: Initiator, mode: 'tcc' | 'xa'): Promise<void> {
  const { world, name } = initiator;
  const { random } = world;
  const gid = name as Gid;
  const isBegun = await initiator.start(
    {
      gid,
      mode,
      identity: name,
      protocol: 'http',
      steps: [],
      timeoutMs: random.between(500, 6000),
      ...initiator.drawDurations(),
    },
    'prepared',
  );
  if (!isBegun) return;
  let isGood = true;
  for (let sequence = 1; sequence <= random.between(1, 4) && isGood; sequence += 1) {
    isGood = await join(initiator, gid, drawBranch(initiator, mode, sequence));
  }
  if (world.happens('client falls silent')) return;
  if (isGood && world.happens('submit and abort race'))
    await Promise.all([initiator.submit(gid), initiator.abort(gid)]);
  else if (isGood) await initiator.submit(gid);
  else await initiator.abort(gid);
  if (isGood && random.chance(0.3)) await initiator.submit(gid);
  if (random.chance(0.3)) {
    await initiator.andRest(gid, (runner) => (isGood ? runner.submit(gid) : runner.abort(gid, {})));
  }
  if (random.chance(0.5)) await initiator.waitForEnd(gid);
}

function drawBranch({ world }: Initiator, mode: 'tcc' | 'xa', sequence: number): NewBranch & Pick<Branch, 'id'> {
  const base = `http://${world.random.pick(world.participants).name}.1`;
  const operations: Partial<Record<Operation, string>> = {};
  for (const operation of SECOND_PHASE[mode]) {
    operations[operation] = mode === 'tcc' && world.random.chance(0.1) ? '' : `${base}/${operation}`;
  }
  return { id: branchIdOf(sequence), kind: mode, resource: `${base}/${sequence}`, operations };
}

/** Registers the branch and only then has its first phase done, which may come late. True when it has taken effect. */
async function join(initiator: Initiator, gid: Gid, branch: NewBranch & Pick<Branch, 'id'>): Promise<boolean> {
  const { world } = initiator;
  const { random, time } = world;
  const outcome = await initiator.repeat(
    (runner) => runner.happen(gid, { kind: 'enlist', branch }),
    () => initiator.isDurable('S2 no lost branch', gid, ({ branches }) => branches.some(({ id }) => id === branch.id)),
    (error) => {
      if (error.code === 'TRANSACTION_DECIDED') world.history.count('enlist refused after the decision');
    },
  );
  if (outcome?.ok !== true || world.happens('local commit fails')) return false;
  const isLate = world.happens('local commit is late');
  const url = `${branch.resource}/action`;
  const landing = time.sleep(isLate ? random.between(500, 8000) : random.between(1, 30)).then(() =>
    world.callDirectly({
      gid,
      mode: branch.kind === 'xa' ? 'xa' : 'tcc',
      branch: branch.id,
      operation: 'action',
      url,
    }),
  );
  return Promise.race([landing.then((result) => result === 'success'), time.sleep(1500).then(() => false)]);
}
