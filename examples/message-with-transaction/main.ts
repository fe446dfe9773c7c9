/**
 * Two-phase message: what another service is to do goes together with a local transaction. No queue, no table of outgoing
 * messages: the coordinator holds the message, and asks the sender when it does not hear of it again.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { FailureError, newGid, postgresBarrier, serveBehindBarrier } from '../../src/client/index.ts';
import { type Database, type ExampleOptions, onStage, type Stage } from '../stage.ts';
import { type Addresses, backCheck, ORDERS_SCHEMA, ordersBarrier, placeOrder } from './orders.ts';

const DYING_SHOP = fileURLToPath(new URL('dying-shop.ts', import.meta.url));

/** Runs the example; answers whether every check held. */
export function run(options: ExampleOptions): Promise<boolean> {
  return onStage('Two-phase message: an order, and the bonus points that belong to it', options, async (stage) => {
    const orders = await stage.database('orders', ORDERS_SCHEMA);
    const points = await stage.database(
      'points',
      'create table points (customer text primary key, points int not null);',
    );
    const shop = await stage.serve({ '/back-check': backCheck(ordersBarrier(orders.pool)) });
    const bonus = await stage.serve({
      '/grant': (request) => serveBehindBarrier(request, postgresBarrier(points.pool), grant),
    });
    const world: World = {
      stage,
      orders,
      points,
      addresses: { grant: `${bonus}/grant`, backCheck: `${shop}/back-check` },
    };
    await delivered(world);
    await refused(world);
    await died(world);
  });
}

interface World {
  readonly stage: Stage;
  readonly orders: Database;
  readonly points: Database;
  readonly addresses: Addresses;
}

/** The receiving side: a delivery may come twice, and the barrier lets it take effect once. */
async function grant(tx: pg.PoolClient, _branch: unknown, body: unknown): Promise<void> {
  const { customer, points } = body as { readonly customer: string; readonly points: number };
  const text = `insert into points as known values ($1, $2)
    on conflict (customer) do update set points = known.points + excluded.points`;
  await tx.query(text, [customer, points]);
}

async function delivered(world: World): Promise<void> {
  const { stage, orders, addresses } = world;
  stage.screen.scene(1, 'an order and its points', ['Ada buys something for 30.']);
  const gid = newGid();
  await placeOrder(stage.dtm, ordersBarrier(orders.pool), addresses, { gid, customer: 'ada', price: 30 });
  stage.check((await stage.endOf(gid)) === 'succeed', 'the message is delivered');
  await checkBooks(world, 'ada', '1 order, 30 points');
}

async function refused(world: World): Promise<void> {
  const { stage, orders, addresses } = world;
  stage.screen.scene(2, 'an order that is refused', [
    'Ada buys something for 5,000: the local transaction is rolled back.',
  ]);
  const gid = newGid();
  const order = placeOrder(stage.dtm, ordersBarrier(orders.pool), addresses, { gid, customer: 'ada', price: 5000 });
  const error: unknown = await order.catch((thrown: unknown) => thrown);
  stage.check(error instanceof FailureError, 'the customer hears why', String(error));
  stage.check((await stage.endOf(gid)) === 'failed', 'the message is never delivered');
  await checkBooks(world, 'ada', '1 order, 30 points');
}

async function died(world: World): Promise<void> {
  const { stage, orders, addresses } = world;
  stage.screen.scene(3, 'a shop that dies between its commit and its word to the coordinator', [
    'Bob buys something for 50. The process that takes his order kills itself (SIGKILL) right after the commit.',
  ]);
  const gid = newGid();
  const child = spawn(process.execPath, [DYING_SHOP], {
    env: {
      PATH: process.env['PATH'],
      COORDINATOR_URL: stage.coordinatorUrl,
      DATABASE_URL: orders.url,
      GRANT_URL: addresses.grant,
      BACK_CHECK_URL: addresses.backCheck,
      GID: gid,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
    signal: stage.signal,
    killSignal: 'SIGKILL',
  });
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  stage.check(signal === 'SIGKILL', 'the shop is dead', String(signal));
  stage.check(
    (await stage.endOf(gid)) === 'succeed',
    'the coordinator has asked another process of the shop, and delivered',
  );
  await checkBooks(world, 'bob', '1 order, 50 points');
}

async function checkBooks({ stage, orders, points }: World, customer: string, wanted: string): Promise<void> {
  const count = (await orders.pool.query('select 1 from orders where customer = $1', [customer])).rowCount ?? 0;
  const { rows } = await points.pool.query<{ points: number }>('select points from points where customer = $1', [
    customer,
  ]);
  const found = `${count} ${count === 1 ? 'order' : 'orders'}, ${rows[0]?.points ?? 0} points`;
  stage.check(found === wanted, `${customer} has ${wanted}`, found);
}
