/** Scene 4: a sidecar dies while it takes back its branch. */
import { leftovers } from '../shop/books.ts';
import { closeGate } from './gate.ts';
import type { Scene } from './scene.ts';

export const sidecarKilled: Scene = {
  title: 'a sidecar is killed in the middle of the second phase',
  story: [
    'Cleo wants more teapots than there are, so her money has to go back to her account. A lock on the accounts table holds',
    'that rollback up halfway, and in this moment the sidecar of accounts is killed (SIGKILL), its work in flight.',
  ],
  order: { customer: 'cleo', item: 'teapot', quantity: 9 },
  ends: 'failed',
  async play({ shop, send, signal, step, check, transaction }) {
    await using atStock = await closeGate(shop.databases.url('stock', 'shop'), 'item');
    const heard = send();
    await atStock.isWaitedAt(signal);

    await using atAccounts = await closeGate(shop.databases.url('accounts', 'shop'), 'account');
    await atStock.open();
    await atAccounts.isWaitedAt(signal);
    const answer = await heard;
    check(answer.status === 409, 'stock refuses, and cleo hears why (409)', String(answer.status));
    const { records } = await leftovers(shop.databases.url('accounts', 'atomesh'));
    check(records > 0, 'her money is not back yet: the undo records of accounts are still there', String(records));

    step('the rollback of accounts waits for the lock: kill -9 the sidecar of accounts');
    await shop.sidecars.accounts.kill();
    await atAccounts.open();
    const { status } = await transaction();
    check(status === 'aborting', 'the decision stands, the branch of accounts is open (aborting)', status);

    step('start the sidecar of accounts again');
    await shop.sidecars.accounts.start(signal);
    return answer;
  },
};
