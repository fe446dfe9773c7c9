/** The laws of `BarrierStore` when requests meet: at most one effect, at every isolation level, and nobody's answer is lost. */
import type { ExecutionContext, TestFn } from 'ava';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import type { BarrierStore, BranchOperation } from '../../src/client/barrier/types.ts';
import { branch, gate, opened, type Isolation, type World } from './world.ts';

const ROUNDS = 25;
const TWINS = 8;

export function raceLaws(test: TestFn, world: () => World, levels: readonly Isolation[]): void {
  for (const isolation of levels) {
    const barrier = (): BarrierStore<unknown> => world().barrier({ isolation, attempts: 20 });
    requestsAtOnce(test, world, barrier, isolation);
    openTransactions(test, world, barrier, isolation);
  }
}

type Kind = 'done' | 'repeated' | 'absorbed' | 'fenced';

async function ask(
  world: World,
  barrier: BarrierStore<unknown>,
  gid: Gid,
  op: BranchOperation,
  amount: number,
): Promise<Kind> {
  return (await barrier.call(branch(gid, op), (tx) => world.add(tx, gid, amount))).kind;
}

function requestsAtOnce(
  test: TestFn,
  world: () => World,
  barrier: () => BarrierStore<unknown>,
  isolation: Isolation,
): void {
  test.serial(`${isolation}: of many equal requests at once, one takes effect and all are told so`, async (t) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const gid = await opened(world());
      const kinds = await Promise.all(Array.from({ length: TWINS }, () => ask(world(), barrier(), gid, 'action', 1)));
      t.deepEqual(kinds.toSorted(), ['done', ...Array.from({ length: TWINS - 1 }, () => 'repeated')]);
      t.is(await world().total(gid), 1);
    }
  });

  test.serial(`${isolation}: an action and its compensation at once come to nothing, in whatever order`, async (t) => {
    const ends = new Set<string>();
    for (let round = 0; round < ROUNDS; round += 1) {
      const gid = await opened(world());
      const acting = [1, 2].map(() => ask(world(), barrier(), gid, 'action', 1));
      const undoing = [1, 2, 3].map(() => ask(world(), barrier(), gid, 'compensate', -1));
      // Whoever is asked first has an advantage: every other round it is the compensation.
      const [actions, undos] =
        round % 2 === 0
          ? await Promise.all([Promise.all(acting), Promise.all(undoing)])
          : await lateActions(world(), barrier(), gid, acting, undoing);
      checkPair(t, actions, undos, await world().total(gid));
      ends.add(actions.includes('done') ? 'undone' : 'absorbed');
    }
    t.true(ends.size >= 1);
  });
}

/** The same, with one more action after everything. */
async function lateActions(
  world: World,
  barrier: BarrierStore<unknown>,
  gid: Gid,
  acting: readonly Promise<Kind>[],
  undoing: readonly Promise<Kind>[],
): Promise<[Kind[], Kind[]]> {
  const [actions, undos] = await Promise.all([Promise.all(acting), Promise.all(undoing)]);
  return [[...actions, await ask(world, barrier, gid, 'action', 1)], undos];
}

function checkPair(t: ExecutionContext, actions: readonly Kind[], undos: readonly Kind[], total: number): void {
  t.is(total, 0);
  if (actions.includes('done')) {
    t.is(actions.filter((kind) => kind === 'done').length, 1);
    t.true(actions.every((kind) => kind === 'done' || kind === 'repeated'));
    t.deepEqual(undos.toSorted(), ['done', 'repeated', 'repeated']);
  } else {
    t.true(actions.every((kind) => kind === 'fenced'));
    t.deepEqual(undos.toSorted(), ['absorbed', 'repeated', 'repeated']);
  }
}

/** Starts an action whose local transaction stays open until it is told how to end. */
async function openAction(
  world: World,
  barrier: BarrierStore<unknown>,
  gid: Gid,
  op: BranchOperation,
): Promise<{ readonly end: (how: 'commit' | 'fail') => void; readonly ended: Promise<Kind | 'failed'> }> {
  const begun = gate();
  const { promise: how, resolve: end } = Promise.withResolvers<'commit' | 'fail'>();
  const ended = barrier
    .call(branch(gid, op), async (tx) => {
      await world.add(tx, gid, 1);
      begun.open();
      if ((await how) === 'fail') throw new Error('refused');
    })
    .then(
      ({ kind }) => kind,
      () => 'failed' as const,
    );
  await begun.passed;
  return { end, ended };
}

function waiters(world: World, count: number): Promise<true> {
  return until(`${count} sessions wait`, async () => ((await world.waiting()) >= count ? true : undefined));
}

function openTransactions(
  test: TestFn,
  world: () => World,
  barrier: () => BarrierStore<unknown>,
  isolation: Isolation,
): void {
  test.serial(`${isolation}: a compensation waits for an open action, and undoes it when that commits`, async (t) => {
    const gid = await opened(world());
    const action = await openAction(world(), barrier(), gid, 'action');
    const undoing = ask(world(), barrier(), gid, 'compensate', -1);
    await waiters(world(), 1);
    action.end('commit');
    t.is(await action.ended, 'done');
    t.is(await undoing, 'done');
    t.is(await world().total(gid), 0);
  });

  test.serial(`${isolation}: compensations that wait for an action are absorbed when that fails`, async (t) => {
    const gid = await opened(world());
    const action = await openAction(world(), barrier(), gid, 'action');
    const undoing = [1, 2, 3].map(() => ask(world(), barrier(), gid, 'compensate', -1));
    await waiters(world(), 3);
    action.end('fail');
    t.is(await action.ended, 'failed');
    t.deepEqual((await Promise.all(undoing)).toSorted(), ['absorbed', 'repeated', 'repeated']);
    t.is(await ask(world(), barrier(), gid, 'action', 1), 'fenced');
    t.is(await world().total(gid), 0);
  });

  test.serial(`${isolation}: an action that waits for an open compensation is fenced`, async (t) => {
    const gid = await opened(world());
    const { tx, query, close } = await world().connect();
    await query('begin');
    const undo = await barrier().within(tx, branch(gid, 'compensate'), () => Promise.resolve(t.fail()));
    t.is(undo.kind, 'absorbed');
    const acting = ask(world(), barrier(), gid, 'action', 1);
    await waiters(world(), 1);
    await query('commit');
    close();
    t.is(await acting, 'fenced');
    t.is(await world().total(gid), 0);
  });

  test.serial(`${isolation}: a back-check waits for an open local transaction, and says how it ended`, async (t) => {
    for (const [how, answer] of [
      ['commit', 'committed'],
      ['fail', 'rolled-back'],
    ] as const) {
      const gid = await opened(world());
      const local = await openAction(world(), barrier(), gid, 'msg');
      const checks = [barrier().queryPrepared(gid), barrier().queryPrepared(gid)];
      await waiters(world(), 2);
      local.end(how);
      await local.ended;
      t.deepEqual(await Promise.all(checks), [answer, answer]);
      t.is(await world().total(gid), how === 'commit' ? 1 : 0);
    }
  });

  test.serial(`${isolation}: a snapshot that is older than the rows does not hide them`, async (t) => {
    const gid = await opened(world());
    const { tx, query, close } = await world().connect();
    await query('begin');
    await query('select count(*) from dtm_barrier.barrier');
    t.is(await ask(world(), barrier(), gid, 'compensate', -1), 'absorbed');
    const late = await barrier()
      .within(tx, branch(gid, 'action'), () => Promise.resolve(t.fail()))
      .then(
        ({ kind }) => kind,
        () => 'rejected',
      );
    // PostgreSQL rejects what it cannot see above READ COMMITTED; never is the work done.
    t.true(late === 'fenced' || late === 'rejected');
    await query('rollback');
    close();
    t.is(await ask(world(), barrier(), gid, 'action', 1), 'fenced');
  });
}
