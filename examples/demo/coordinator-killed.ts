/** Scene 3: the coordinator dies when the decision is made and two of three sidecars have not heard of it. */
import { leftovers } from '../shop/books.ts';
import type { Answer } from '../support/http.ts';
import { closeGate } from './gate.ts';
import type { Act, Scene } from './scene.ts';

export const coordinatorKilled: Scene = {
  title: 'the coordinator is killed between the decision and the second phase',
  story: [
    'Ben orders a kettle, and all goes well. Just before the order is complete, the sidecars of accounts and stock are',
    'stopped in their tracks (SIGSTOP), so that the second phase cannot finish. The coordinator decides to commit, and is',
    'killed (SIGKILL). What it has promised must stand when it comes back.',
  ],
  order: { customer: 'ben', item: 'kettle', quantity: 1 },
  ends: 'succeed',
  async play(act) {
    const { shop, signal, step, check } = act;
    const answer = await decideWithTwoSidecarsPaused(act);
    const { status: decided } = await act.transaction();
    check(answer.status === 201 && decided === 'submitted', 'the coordinator has decided: commit (submitted)', decided);

    step('kill -9 the coordinator');
    await shop.coordinator.kill();
    const unheard = await Promise.all([
      leftovers(shop.databases.url('accounts', 'atomesh')),
      leftovers(shop.databases.url('stock', 'atomesh')),
    ]);
    check(
      unheard.every(({ records }) => records > 0),
      'accounts and stock have not heard of it: their undo records are still there',
      JSON.stringify(unheard),
    );

    step('start the coordinator again');
    await shop.coordinator.start(signal);
    const { status: remembered } = await act.transaction();
    check(remembered === 'submitted', 'it remembers what it decided (submitted)', remembered);

    step('let the sidecars of accounts and stock go on (SIGCONT)');
    shop.sidecars.accounts.resume();
    shop.sidecars.stock.resume();
    return answer;
  },
};

/** Sends the order, holds it at its last statement until two sidecars stand still, and lets it go on to its end. */
async function decideWithTwoSidecarsPaused({ shop, send, signal, step }: Act): Promise<Answer> {
  await using atStock = await closeGate(shop.databases.url('stock', 'shop'), 'item');
  const heard = send();
  await atStock.isWaitedAt(signal);

  await using atOrders = await closeGate(shop.databases.url('orders', 'shop'), 'orders');
  await atStock.open();
  await atOrders.isWaitedAt(signal);
  step('paid and reserved; the sidecars of accounts and stock are stopped (SIGSTOP)');
  await shop.sidecars.accounts.pause();
  await shop.sidecars.stock.pause();

  await atOrders.open();
  return await heard;
}
