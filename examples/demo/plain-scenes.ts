/** Scenes 1 and 2: nobody dies. */
import { query } from '../shop/databases.ts';
import { closeGate } from './gate.ts';
import type { Scene } from './scene.ts';

export const orderThatCommits: Scene = {
  title: 'an order that commits',
  story: [
    'Ada orders two teapots. The orders service writes the order, has accounts take the money, has stock reserve the',
    'goods, and marks the order as placed: four local transactions in three databases, committed as they go.',
  ],
  order: { customer: 'ada', item: 'teapot', quantity: 2 },
  ends: 'succeed',
  play: ({ send }) => send(),
};

export const orderThatFailsLast: Scene = {
  title: 'an order that fails at the last service',
  story: [
    'Cleo can pay for three kettles, but only two are left. By the time stock says so, the order is written and the',
    'money is taken, in local transactions that have long committed. Both are taken back from their row images.',
  ],
  order: { customer: 'cleo', item: 'kettle', quantity: 3 },
  ends: 'failed',
  async play({ shop, send, signal, check }) {
    await using atStock = await closeGate(shop.databases.url('stock', 'shop'), 'item');
    const heard = send();
    await atStock.isWaitedAt(signal);
    const [cleo] = await query(shop.databases.url('accounts', 'shop'), "select balance from account where id = 'cleo'");
    check(
      cleo?.['balance'] === '165.00',
      'when stock is asked, the money has been taken: cleo has 165.00',
      cleo?.['balance'] ?? '',
    );
    await atStock.open();
    const answer = await heard;
    check(answer.status === 409, 'stock refuses, and cleo hears why (409)', String(answer.status));
    return answer;
  },
};
