/** Scene 5: a service falls asleep inside its local transaction, and wakes when all is over. */
import { query } from '../shop/databases.ts';
import { until } from '../support/until.ts';
import { closeGate } from './gate.ts';
import type { Scene } from './scene.ts';

export const lateService: Scene = {
  title: 'a service hangs past the deadline',
  story: [
    'Ben sends an express order: it has three seconds. The stock service reserves the goods and falls asleep (SIGSTOP) with',
    'its local transaction open. Nobody answers, so the coordinator rolls back when the time is up. Then the service wakes',
    'and carries on as if nothing had happened.',
  ],
  order: { customer: 'ben', item: 'cup', quantity: 4 },
  isExpress: true,
  ends: 'failed',
  async play({ shop, send, signal, step, check, transaction }) {
    await using atStock = await closeGate(shop.databases.url('stock', 'shop'), 'item');
    const heard = send();
    await atStock.isWaitedAt(signal);
    await shop.services.stock.pause();
    await atStock.open();
    await until(
      'the local transaction of the stock service is open and idle',
      async () => {
        const idle = await query(
          shop.databases.url('stock', 'shop'),
          "select from pg_catalog.pg_stat_activity where datname = 'stock' and state = 'idle in transaction'",
        );
        return idle.length === 0 ? undefined : true;
      },
      { signal },
    );
    step('the stock service sleeps in the middle of its local transaction');

    const decided = await until(
      'the coordinator has decided by itself',
      async () => {
        const { status } = await transaction();
        return status === 'prepared' ? undefined : status;
      },
      { signal },
    );
    check(
      decided === 'aborting' || decided === 'failed',
      'the three seconds are over: the coordinator rolls back without having been asked',
      decided,
    );

    step('the stock service wakes up (SIGCONT), finishes its work and answers');
    shop.services.stock.resume();
    return await heard;
  },
};
