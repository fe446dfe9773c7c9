/** An operation, its compensation and duplicates of both, all at once: whatever wins, the effect is there once or never. */
import test from 'ava';
import fc from 'fast-check';
import type { OperationOf } from '../../proxy/branch/barrier.ts';
import type { BranchId, Gid } from '../../src/contract/transaction.ts';
import { markOf, run, startWorld, type Isolation, type Protocol, type World } from './world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world[Symbol.asyncDispose]());

interface Call {
  readonly isForward: boolean;
  readonly protocol: Protocol;
  readonly isolation: Isolation;
  readonly inBlock: boolean;
  /** Questions that it asks before each step, so that the calls meet at another place. */
  readonly pauses: readonly number[];
}

const call: fc.Arbitrary<Call> = fc.record({
  isForward: fc.boolean(),
  protocol: fc.constantFrom<Protocol>('simple', 'extended'),
  isolation: fc.constantFrom<Isolation>('READ COMMITTED', 'REPEATABLE READ'),
  inBlock: fc.boolean(),
  pauses: fc.array(fc.nat(4), { minLength: 4, maxLength: 4 }),
});

/** One request, as a sidecar serves it; false when it failed, so that the coordinator would ask again. */
async function serve(
  operation: OperationOf,
  sum: number,
  { protocol, isolation, inBlock, pauses }: Call,
): Promise<boolean> {
  const client = await world.client();
  const pause = async (step: number): Promise<void> => {
    for (let left = pauses[step] ?? 0; left > 0; left -= 1) await client.query('SELECT 1');
  };
  const change = `UPDATE account SET amount = amount + ${sum} WHERE id = '${operation.gid}'`;
  const comment = ` /*atomesh_gid='${markOf(operation)}'*/`;
  try {
    await pause(0);
    const arrival = await world.barrier.arrive(operation);
    if (arrival !== 'open') return arrival !== 'fenced';
    await pause(1);
    if (inBlock) {
      await run(client, protocol, `BEGIN ISOLATION LEVEL ${isolation}${comment}`);
      await pause(2);
      await run(client, protocol, change);
      await pause(3);
      await run(client, protocol, 'COMMIT');
    } else await run(client, protocol, change + comment);
    return (await world.barrier.complete(operation)) === 'done';
  } catch {
    return false;
  } finally {
    await client.end();
  }
}

test('whatever races, the effect is there once or never, and never behind its compensation', async (t) => {
  const seed = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
  t.log(`seed ${seed}`);
  let count = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 2, maxLength: 6 }), async (calls) => {
      const gid = `race-${(count += 1)}` as Gid;
      const branch = '01' as BranchId;
      await world.owner.query('INSERT INTO account VALUES ($1, 100)', [gid]);
      const forward: OperationOf = { gid, branch, task: 'action' };
      const backward: OperationOf = { gid, branch, task: 'compensate' };
      const answers = await Promise.all(
        calls.map((one) => serve(one.isForward ? forward : backward, one.isForward ? -30 : 30, one)),
      );
      const succeeded = (isForward: boolean): boolean =>
        calls.some((one, index) => one.isForward === isForward && answers[index] === true);
      const amount = await world.amount(gid);
      if (succeeded(false)) t.is(amount, 100);
      else if (succeeded(true)) t.is(amount, 70);
      else t.true(amount === 100 || amount === 70);
      const last: Call = {
        isForward: false,
        protocol: 'simple',
        isolation: 'READ COMMITTED',
        inBlock: true,
        pauses: [],
      };
      t.true(await serve(backward, 30, last));
      t.is(await world.amount(gid), 100);
    }),
    { numRuns: 40, seed },
  );
});
