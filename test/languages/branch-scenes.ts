/** Calls with a second half, by YAML: TCC and saga branches, and a message. */

import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { newId } from '../../src/platform/random.ts';
import type { Scene } from './scene.ts';
import type { Language, ServiceName } from './services.ts';
import type { Reply, World } from './world.ts';

/** The endpoints of a branch, and a request that changes rows. */
interface Branch {
  readonly language: Language;
  readonly service: ServiceName;
  readonly action: Endpoint;
  readonly undo: Endpoint;
  readonly wanted: object;
}

interface Endpoint {
  readonly operation: 'try' | 'cancel' | 'action' | 'compensate';
  readonly path: string;
}

const HOLD: Branch = {
  language: 'go',
  service: 'stock',
  action: { operation: 'try', path: '/holds' },
  undo: { operation: 'cancel', path: '/holds/cancel' },
  wanted: { order: 'b-go', item: 'teapot', quantity: 1 },
};
const CHARGE: Branch = {
  language: 'java',
  service: 'payments',
  action: { operation: 'action', path: '/charges' },
  undo: { operation: 'compensate', path: '/refunds' },
  wanted: { order: 'b-java', account: 'ada', amount: 7.5 },
};

/** The three plain endpoints know nothing of repetitions and wrong orders: the sidecar's barrier does. */
function barrierScenes({ language, service, action, undo, wanted }: Branch): readonly Scene[] {
  const ask = (world: World, gid: string, { operation, path }: Endpoint): Promise<Reply> =>
    world.send(service, path, wanted, { 'atomesh-gid': gid, 'atomesh-branch': '01', 'atomesh-op': operation });
  return [
    {
      title: `${language}: ${service} is asked for each operation of a branch twice`,
      needs: [language],
      async play(world, check) {
        const gid = `twice-${newId()}`;
        const before = await world.databases.dump();
        const statuses = [(await ask(world, gid, action)).status];
        const changed = await world.databases.dump();
        statuses.push((await ask(world, gid, action)).status);
        check(
          (await world.databases.dump()) === changed && changed !== before,
          `${action.operation} takes effect once`,
        );
        statuses.push((await ask(world, gid, undo)).status, (await ask(world, gid, undo)).status);
        check((await world.databases.dump()) === before, `${undo.operation} takes effect once: every row is as before`);
        check(
          statuses.every((status) => status < 300),
          'each is answered with success',
          statuses.join(' '),
        );
      },
    },
    {
      title: `${language}: ${service} is asked for a ${undo.operation} before the ${action.operation}`,
      needs: [language],
      async play(world, check) {
        const gid = `late-${newId()}`;
        const before = await world.databases.dump();
        const early = await ask(world, gid, undo);
        const late = await ask(world, gid, action);
        check(early.status === 200, `the early ${undo.operation} succeeds`, `${early.status} ${early.text}`);
        check(late.status === 409, `the late ${action.operation} is refused`, `${late.status} ${late.text}`);
        check((await world.databases.dump()) === before, 'every row is as before');
      },
    },
  ];
}

const preorderThatCommits: Scene = {
  title: 'a preorder commits: TCC, saga and undo in one global transaction',
  needs: ['python', 'go', 'java', 'php'],
  async play(world, check) {
    const { status, text, gid = '' } = await world.send('orders', '/preorders', preorder('ada'));
    await world.untilQuiet();
    check(status === 201, 'the customer hears that it is placed', `${status} ${text}`);
    const view = await world.coordinator.read(gid as Gid);
    const branches = view?.branches.map(({ kind, status }) => `${kind} ${status}`).join(', ');
    check(view?.status === 'succeed', 'the coordinator has committed it', branches);
    const held = await world.databases.query('stock', "select held from item where id = 'teapot'");
    check(held[0]?.['held'] === '0', 'the hold is confirmed', held[0]?.['held'] ?? '');
    const id = (JSON.parse(text) as { readonly order: string }).order;
    const reserved = await world.databases.query('stock', `select * from reservation where order_id = '${id}'`);
    const charged = await world.databases.query('payments', `select * from ledger where order_id = '${id}'`);
    const granted = await world.databases.query('points', `select * from grant_of_points where order_id = '${id}'`);
    check(
      reserved.length === 1 && charged.length === 1 && granted.length === 1,
      'the goods are reserved, the charge stands, the points are granted',
    );
  },
};

const preorderThatRollsBack: Scene = {
  title: 'a preorder rolls back: cancelled, compensated and undone',
  needs: ['python', 'go', 'java', 'php'],
  async play(world, check) {
    const before = await world.databases.dump();
    // Ben may not collect points, which is found out when the goods are held and the money is charged.
    const { status, text, gid = '' } = await world.send('orders', '/preorders', preorder('ben'));
    await world.untilQuiet();
    check(status === 409, 'the customer hears that it is refused', `${status} ${text}`);
    const view = await world.coordinator.read(gid as Gid);
    check(view?.status === 'failed', 'the coordinator has rolled it back', view?.status);
    check((await world.databases.dump()) === before, 'every row of all four databases is as before');
  },
};

const deliveryThatCommits: Scene = {
  title: 'go: stock takes a delivery, and a mail follows the commit',
  needs: ['go'],
  async play(world, check) {
    const heard = world.standIn.calls.length;
    const { status, text } = await world.send('stock', '/deliveries', { item: 'teapot', quantity: 5 });
    check(status === 200, 'the service has done its share', `${status} ${text}`);
    const mails = await until('the mail is delivered', async () => {
      const calls = world.standIn.calls.slice(heard);
      return calls.length > 0 ? calls : undefined;
    });
    await world.untilQuiet();
    const [mail] = mails;
    check(
      mails.length === 1 && mail?.path === '/mails' && mail.body === '{"text":"there are new ones of teapot"}',
      'one mail leaves, as the service has written it',
      JSON.stringify(mails),
    );
    check(mail?.operation === 'action', 'it is the coordinator that delivers it', JSON.stringify(mail));
  },
};

const deliveryThatRollsBack: Scene = {
  title: 'go: stock refuses a delivery, and no mail leaves',
  needs: ['go'],
  async play(world, check) {
    const heard = world.standIn.calls.length;
    const before = await world.databases.dump();
    const { status, text } = await world.send('stock', '/deliveries', { item: 'unicorn', quantity: 5 });
    await world.untilQuiet();
    check(status === 409, 'the service has refused', `${status} ${text}`);
    check((await world.databases.dump()) === before, 'every row is as before');
    check(world.standIn.calls.length === heard, 'no mail has left', JSON.stringify(world.standIn.calls.slice(heard)));
  },
};

const durablePreorder: Scene = {
  title: 'a preorder is carried through although its service is killed in the middle: a workflow',
  needs: ['python', 'go', 'java', 'php'],
  async play(world, check) {
    const before = await tallies(world);
    const [orders, payments] = [world.processOf('orders'), world.processOf('payments')];
    const send = (): Promise<Reply> =>
      world.send(
        'orders',
        '/preorders/durable',
        { number: 'durable', ...preorder('ada') },
        { 'idempotency-key': 'durable' },
      );
    // The goods are held and the charge hangs when the service dies.
    await payments.pause();
    const answer = send();
    try {
      await until('the goods are held', async () => ((await tallies(world)).held > 0 ? true : undefined));
      await orders.kill();
    } finally {
      payments.resume();
    }
    await orders.start();
    const { status } = await answer;
    check(status >= 500, 'the customer hears that it is not known', String(status));
    const again = await until(
      'the customer, who repeats the request, hears how it ended',
      async () => {
        const reply = await send();
        return reply.status === 409 ? undefined : reply;
      },
      { withinMs: 30_000 },
    );
    await world.untilQuiet();
    check(
      again.status === 201,
      'the customer, who asks again, hears that it is placed',
      `${again.status} ${again.text}`,
    );
    const after = JSON.stringify(await tallies(world));
    const expected = JSON.stringify({
      placed: before.placed + 1,
      halfDone: 0,
      reserved: before.reserved + 1,
      held: 0,
      charged: before.charged + 1,
      granted: before.granted + 1,
    });
    check(after === expected, 'all four databases have it once', `${after} instead of ${expected}`);
  },
};

/** In the order in which they are played. */
export const BRANCH_SCENES: readonly Scene[] = [
  ...barrierScenes(HOLD),
  ...barrierScenes(CHARGE),
  deliveryThatCommits,
  deliveryThatRollsBack,
  preorderThatCommits,
  preorderThatRollsBack,
  durablePreorder,
];

interface Tallies {
  readonly placed: number;
  readonly halfDone: number;
  readonly reserved: number;
  readonly held: number;
  readonly charged: number;
  readonly granted: number;
}

async function tallies({ databases }: World): Promise<Tallies> {
  const rows = async (service: ServiceName, table: string): Promise<number> =>
    Number((await databases.query(service, `select count(*) as value from ${table}`))[0]?.['value']);
  return {
    placed: await rows('orders', "orders where state = 'placed'"),
    halfDone: await rows('orders', "orders where state <> 'placed'"),
    reserved: await rows('stock', 'reservation'),
    held: await rows('stock', 'item where held > 0'),
    charged: await rows('payments', 'ledger'),
    granted: await rows('points', 'grant_of_points'),
  };
}

function preorder(customer: string): object {
  return { customer, item: 'teapot', quantity: 1 };
}
