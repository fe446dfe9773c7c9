/** Chains of services, each of which changes its rows in undo mode: the services pass a header on, and no more. */
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import type { Scene } from './scene.ts';
import type { Language, ServiceName } from './services.ts';
import type { World } from './world.ts';

const ORDERS_AT_ONCE = 24;

/** A service that takes part in a global transaction of somebody else: what is `wanted` for an order changes its rows. */
function participation(
  language: Language,
  service: ServiceName,
  path: string,
  wanted: (order: string) => object,
): readonly Scene[] {
  const join = async (world: World, end: 'submit' | 'abort'): Promise<{ status: number; before: string }> => {
    const before = await world.databases.dump();
    const { gid } = await world.coordinator.begin({ mode: 'mesh', timeoutMs: 30_000 });
    const { status } = await world.send(service, path, wanted(`p-${language}`), { 'atomesh-gid': gid });
    await (end === 'submit' ? world.coordinator.submit(gid) : world.coordinator.abort(gid, { reason: 'as played' }));
    await world.untilQuiet();
    return { status, before };
  };
  return [
    {
      title: `${language}: ${service} takes part in a global transaction that rolls back`,
      needs: [language],
      async play(world, check) {
        const { status, before } = await join(world, 'abort');
        check(status < 300, 'the service did its share', String(status));
        check((await world.databases.dump()) === before, 'every row is as before');
      },
    },
    {
      title: `${language}: ${service} takes part in a global transaction that commits`,
      needs: [language],
      async play(world, check) {
        const { status, before } = await join(world, 'submit');
        check(status < 300, 'the service did its share', String(status));
        check((await world.databases.dump()) !== before, 'its rows have changed');
      },
    },
    {
      title: `${language}: ${service} does its work without a global transaction`,
      needs: [language],
      async play(world, check) {
        const before = await world.databases.dump();
        const known = await world.coordinator.list({});
        const { status, gid } = await world.send(service, path, wanted(`n-${language}`));
        check(status < 300 && gid === undefined, 'the service did its share', `${status} ${gid}`);
        check((await world.databases.dump()) !== before, 'its rows have changed');
        const { transactions } = await world.coordinator.list({});
        check(transactions.length === known.transactions.length, 'the coordinator has not heard of it');
      },
    },
  ];
}

/** A service that begins global transactions itself, at `path`: one request succeeds, another is refused by the service that it calls. */
function initiative(
  language: Language,
  service: ServiceName,
  path: string,
  { accepted, refused }: { readonly accepted: object; readonly refused: object },
): readonly Scene[] {
  return [
    {
      title: `${language}: ${service} begins a global transaction that commits`,
      needs: [language],
      async play(world, check) {
        const heard = world.standIn.calls.length;
        const { status, text, gid } = await world.send(service, path, accepted);
        await world.untilQuiet();
        check(status < 300, 'the customer hears that it is done', `${status} ${text}`);
        check((await statusOf(world, gid)) === 'succeed', 'the coordinator has committed it');
        const others = world.standIn.calls.slice(heard).filter((other) => other.gid !== gid);
        check(others.length === 0, 'each call carries the gid on', JSON.stringify(others));
      },
    },
    {
      title: `${language}: ${service} begins a global transaction that another service refuses`,
      needs: [language],
      async play(world, check) {
        const before = await world.databases.dump();
        const { status, text, gid } = await world.send(service, path, refused);
        await world.untilQuiet();
        check(status === 409, 'the customer hears that it is refused', `${status} ${text}`);
        check((await statusOf(world, gid)) === 'failed', 'the coordinator has rolled it back');
        check((await world.databases.dump()) === before, 'every row is as before');
      },
    },
  ];
}

const ALL: readonly Language[] = ['python', 'go', 'java', 'php'];

const chainThatCommits: Scene = {
  title: 'an order through four languages and two servers commits',
  needs: ALL,
  async play(world, check) {
    const { status, text, gid } = await world.send('orders', '/orders', order('ada', 'teapot', 2));
    await world.untilQuiet();
    check(status === 201, 'the customer hears that it is placed', `${status} ${text}`);
    const view = gid === undefined ? undefined : await world.coordinator.read(gid as Gid);
    check(view?.status === 'succeed', 'the coordinator has committed it', view?.status);
    const resources = view?.branches.map(({ resource }) => resource).join(' ');
    check(
      resources === 'orders/orders stock/stock payments/payments points/points',
      'each database is a branch of it',
      resources,
    );
    const id = (JSON.parse(text) as { readonly order: string }).order;
    const found = await traces(world, id);
    check(found === 'placed 60.00, 2 reserved, 60.00 paid, 60 points', 'all four databases have it', found);
  },
};

const chainThatRollsBack: Scene = {
  title: 'the last of four services refuses: all roll back',
  needs: ALL,
  async play(world, check) {
    const before = await world.databases.dump();
    // Ben may not collect points: the order is written, the goods are reserved and the money is taken when that is found out.
    const { status, text, gid } = await world.send('orders', '/orders', order('ben', 'teapot', 1));
    await world.untilQuiet();
    check(status === 409 && text.includes('ben collects no points'), 'the customer hears why', `${status} ${text}`);
    check((await statusOf(world, gid)) === 'failed', 'the coordinator has rolled it back');
    check((await world.databases.dump()) === before, 'every row of all four databases is as before');
  },
};

const deathInTheMiddle: Scene = {
  title: 'the first of four services is killed in the middle: all roll back',
  needs: ALL,
  async play(world, check) {
    const before = await world.databases.dump();
    const paidBefore = (await totals(world)).paid;
    const [orders, points] = [world.processOf('orders'), world.processOf('points')];
    // The last service hangs, so that the order is written down everywhere else and is not over.
    await points.pause();
    const answer = world.send('orders', '/orders', order('ada', 'teapot', 1));
    try {
      await until('the order is paid', async () => ((await totals(world)).paid > paidBefore ? true : undefined));
      await orders.kill();
    } finally {
      points.resume();
    }
    await orders.start();
    const { status } = await answer;
    await world.untilQuiet();
    check(status >= 500, 'the customer hears that it went wrong', String(status));
    check((await world.databases.dump()) === before, 'every row of all four databases is as before');
  },
};

const redemption: Scene = {
  title: 'points for goods: from PHP to Go',
  needs: ['php', 'go'],
  async play(world, check) {
    const { status, text, gid } = await world.send('points', '/redemptions', {
      order: 'r-chain',
      member: 'cleo',
      item: 'cup',
    });
    await world.untilQuiet();
    check(status === 200, 'the member hears that it is done', `${status} ${text}`);
    const view = gid === undefined ? undefined : await world.coordinator.read(gid as Gid);
    const resources = view?.branches.map(({ resource }) => resource).join(' ');
    check(resources === 'points/points stock/stock', 'both databases are branches of it', resources);
  },
};

const ordersAtOnce: Scene = {
  title: `${ORDERS_AT_ONCE} orders at once`,
  needs: ALL,
  async play(world, check) {
    const before = await totals(world);
    // Ada can pay, Ben may not collect points, Cleo has money for some.
    const customers = ['ada', 'ben', 'cleo'];
    const replies = await Promise.all(
      Array.from({ length: ORDERS_AT_ONCE }, (_, index) =>
        world.send('orders', '/orders', order(customers[index % 3] ?? '', 'cup', 1 + (index % 4))),
      ),
    );
    await world.untilQuiet();
    const placed = replies.filter(({ status }) => status === 201).length;
    const statuses = replies.map(({ status }) => status).join(' ');
    check(
      placed >= ORDERS_AT_ONCE / 3 && placed <= (ORDERS_AT_ONCE * 2) / 3,
      'some are placed, and none of Ben',
      statuses,
    );
    const after = await totals(world);
    check(after.money === before.money, 'no money came or went', `${before.money} before, ${after.money} after`);
    check(after.goods === before.goods, 'no goods came or went', `${before.goods} before, ${after.goods} after`);
    check(
      after.orders - before.orders === placed && after.halfDone === 0,
      'as many orders stand as customers were told',
      JSON.stringify({ placed, before, after }),
    );
    check(
      after.paid === after.orders && after.reserved >= after.orders && after.granted === after.orders,
      'each is paid, reserved and has its points',
      JSON.stringify(after),
    );
  },
};

/** In the order in which they are played. */
export const CHAIN_SCENES: readonly Scene[] = [
  ...participation('go', 'stock', '/reservations', (order) => ({ order, item: 'cup', quantity: 1 })),
  ...participation('java', 'payments', '/payments', (order) => ({ order, account: 'ada', amount: 12.5 })),
  ...participation('php', 'points', '/points', (order) => ({ order, member: 'ada', points: 5 })),
  ...initiative('python', 'orders', '/orders', {
    accepted: order('ada', 'teapot', 1),
    refused: order('nobody', 'teapot', 1),
  }),
  ...initiative('php', 'points', '/redemptions', {
    accepted: { order: 'i-php', member: 'cleo', item: 'cup' },
    refused: { order: 'i-php-2', member: 'ada', item: 'nothing' },
  }),
  chainThatCommits,
  chainThatRollsBack,
  deathInTheMiddle,
  redemption,
  ordersAtOnce,
];

function order(customer: string, item: string, quantity: number): object {
  return { customer, item, quantity };
}

async function statusOf({ coordinator }: World, gid: string | undefined): Promise<string | undefined> {
  return gid === undefined ? 'without a gid' : (await coordinator.read(gid as Gid))?.status;
}

/** What the four databases have of an order, in words. */
async function traces({ databases }: World, id: string): Promise<string> {
  const [placed] = await databases.query('orders', `select state, amount from orders where number = '${id}'`);
  const [reserved] = await databases.query('stock', `select quantity from reservation where order_id = '${id}'`);
  const [paid] = await databases.query('payments', `select amount from ledger where order_id = '${id}'`);
  const [granted] = await databases.query('points', `select points from grant_of_points where order_id = '${id}'`);
  return [
    `${placed?.['state']} ${placed?.['amount']}`,
    `${reserved?.['quantity']} reserved`,
    `${paid?.['amount']} paid`,
    `${granted?.['points']} points`,
  ].join(', ');
}

interface Totals {
  /** In accounts and in the ledger, in cents. */
  readonly money: number;
  /** Available and reserved. */
  readonly goods: number;
  readonly orders: number;
  readonly halfDone: number;
  readonly paid: number;
  readonly reserved: number;
  readonly granted: number;
}

async function totals({ databases }: World): Promise<Totals> {
  const number = async (service: ServiceName, expression: string): Promise<number> =>
    Number((await databases.query(service, `select ${expression} as value`))[0]?.['value']);
  // Of what other scenes have asked the services for themselves, the names have a dash.
  const numbers = "order_id !~ '-'";
  return {
    money: await number(
      'payments',
      '((select sum(balance) from account) + (select coalesce(sum(amount), 0) from ledger)) * 100',
    ),
    goods: await number(
      'stock',
      '(select sum(available) from item) + (select coalesce(sum(quantity), 0) from reservation)',
    ),
    orders: await number('orders', "(select count(*) from orders where state = 'placed')"),
    halfDone: await number('orders', "(select count(*) from orders where state <> 'placed')"),
    paid: await number('payments', `(select count(*) from ledger where ${numbers})`),
    reserved: await number('stock', `(select count(*) from reservation where ${numbers})`),
    granted: await number('points', `(select count(*) from grant_of_points where ${numbers})`),
  };
}
