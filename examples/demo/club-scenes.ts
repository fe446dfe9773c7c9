/** Scenes 6 and 7, where a MariaDB is installed: one chain over PostgreSQL and MariaDB. */
import { closeGate } from './gate.ts';
import type { Scene } from './scene.ts';

export const orderWithPoints: Scene = {
  title: 'one chain over PostgreSQL and MariaDB',
  story: [
    "Ada shows the card of the customers' club, whose service works on MariaDB: between accounts and stock, the order gives",
    'her points. Five local transactions in four databases of two kinds, and one outcome.',
  ],
  order: { customer: 'ada', item: 'teapot', quantity: 1, card: 'ada' },
  ends: 'succeed',
  play: ({ send }) => send(),
};

export const clubSidecarKilled: Scene = {
  title: 'the same chain is rolled back, and the sidecar in front of MariaDB is killed before it is',
  story: [
    'Cleo orders more kettles than there are, with her card. When stock says so, her points are on the card, in a local',
    'transaction that MariaDB has long committed. The sidecar of the club is killed (SIGKILL) before it can take them back.',
  ],
  order: { customer: 'cleo', item: 'kettle', quantity: 3, card: 'cleo' },
  ends: 'failed',
  async play({ shop, send, signal, step, check, transaction }) {
    const { club } = shop;
    if (club === undefined) throw new Error('this scene needs the club');
    const points = async (): Promise<string> => (await club.database.books()).points.get('cleo') ?? 'none';
    await using atStock = await closeGate(shop.databases.url('stock', 'shop'), 'item');
    const heard = send();
    await atStock.isWaitedAt(signal);
    const given = await points();
    check(given === '280', 'when stock is asked, the points are on the card: cleo has 280', given);

    step('kill -9 the sidecar of the club');
    await club.sidecar.kill();
    await atStock.open();
    const answer = await heard;
    check(answer.status === 409, 'stock refuses, and cleo hears why (409)', String(answer.status));
    const { status } = await transaction();
    check(status === 'aborting', 'the decision stands, the branch of the club is open (aborting)', status);

    step('start the sidecar of the club again');
    await club.sidecar.start(signal);
    return answer;
  },
};
