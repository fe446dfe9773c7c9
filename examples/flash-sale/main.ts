/**
 * A flash sale: thousands of buyers, a few hundred pieces. The stock is in Redis, the orders are in PostgreSQL, and the sale and
 * the coordinator are killed in the middle. In the end there is exactly one order for each piece that was taken.
 */
import pg from 'pg';
import { createClient } from 'redis';
import { barrierSql } from '../../src/client/index.ts';
import { monotonicSeconds } from '../../src/platform/clock.ts';
import { openScreen, type Screen } from '../demo/screen.ts';
import type { ExampleOptions } from '../stage.ts';
import { ProgramMissing } from '../support/programs.ts';
import { openRedisStage, type RedisStage, type Service } from '../support/redis-stage.ts';
import { until } from '../support/until.ts';
import { buyAll, type Told } from './buyers.ts';

const BUYERS = 3000;
const PIECES = 500;
/** How many orders are written when the power goes. */
const ORDERS_BEFORE = 100;
const ORDERS_MS = 60_000;

/** Runs the sale; answers whether every check held, and says what to install when there is no Redis on this machine. */
export async function run({ output, signal }: ExampleOptions): Promise<boolean> {
  const screen = openScreen(output);
  screen.headline(`Flash sale: ${BUYERS} buyers, ${PIECES} pieces, the stock in Redis, the orders in PostgreSQL`);
  try {
    return await runOn(screen, signal);
  } catch (error) {
    if (!(error instanceof ProgramMissing)) throw error;
    screen.lines(['', `  ${error.message}`]);
    return false;
  }
}

async function runOn(screen: Screen, signal: AbortSignal): Promise<boolean> {
  await using stage = await openRedisStage();
  await using shop = await openShop(stage, signal);
  screen.step('Redis, PostgreSQL, a coordinator, the sale and the orders service are running');
  try {
    return await play(stage, shop, screen, signal);
  } catch (error) {
    signal.throwIfAborted();
    screen.check(false, 'the sale was played to its end', error instanceof Error ? error.message : String(error));
    screen.lines(await stage.lastWords());
    return false;
  }
}

interface Shop extends AsyncDisposable {
  readonly sale: Service;
  /** What is left in Redis. */
  left(): Promise<number>;
  /** The purchases of all orders, one entry an order. */
  orders(): Promise<readonly string[]>;
}

async function openShop(stage: RedisStage, signal: AbortSignal): Promise<Shop> {
  await using stack = new AsyncDisposableStack();
  await stage.postgres.run('postgres', 'create database orders');
  await stage.postgres.run('orders', barrierSql('postgres'));
  await stage.postgres.run('orders', 'create table orders (id bigserial primary key, purchase text not null)');
  const pool = new pg.Pool({ connectionString: stage.postgres.url('orders'), max: 2 });
  stack.defer(() => pool.end());
  const redis = createClient({ url: stage.redis.url });
  stack.defer(() => redis.destroy());
  await redis.on('error', () => undefined).connect();
  await redis.set('stock', PIECES);

  const orders = await stage.service('orders', new URL('orders.ts', import.meta.url), {
    DATABASE_URL: stage.postgres.url('orders'),
  });
  const sale = await stage.service('sale', new URL('sale.ts', import.meta.url), {
    COORDINATOR_URL: stage.coordinatorUrl,
    REDIS_URL: stage.redis.url,
    ORDERS_URL: orders.url,
  });
  await Promise.all([stage.coordinator, orders.process, sale.process].map((part) => part.start(signal)));
  const owned = stack.move();
  return {
    sale,
    left: async () => Number(await redis.get('stock')),
    orders: async () => (await pool.query<{ purchase: string }>('select purchase from orders')).rows.map(purchaseOf),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function play(stage: RedisStage, shop: Shop, screen: Screen, signal: AbortSignal): Promise<boolean> {
  const startedAt = monotonicSeconds();
  const ended = new AbortController();
  const crowd = {
    url: shop.sale.url,
    buyers: BUYERS,
    impatientEach: 2,
    signal: AbortSignal.any([signal, ended.signal]),
  };
  const buying = buyAll(crowd);
  buying.catch(() => undefined);
  try {
    await killInBetween(stage, shop, screen, signal);
  } catch (error) {
    ended.abort(error);
    throw error;
  }
  const told = await buying;
  screen.step(
    `every buyer was told something, or went away: ${BUYERS} in ${(monotonicSeconds() - startedAt).toFixed(1)} s`,
  );
  await stage.allFinished(signal);
  screen.step('the coordinator has finished every purchase that was left in the middle');
  return show(screen, told, await shop.left(), await shop.orders());
}

/**
 * The power goes where the sale and the coordinator are. That leaves purchases in every state there is, many of them between the
 * stock and the order: the piece is taken, and nobody but Redis knows of it.
 */
async function killInBetween(stage: RedisStage, shop: Shop, screen: Screen, signal: AbortSignal): Promise<void> {
  await until(
    `${ORDERS_BEFORE} orders are written`,
    async () => ((await shop.orders()).length >= ORDERS_BEFORE ? true : undefined),
    { withinMs: ORDERS_MS, signal },
  );
  await Promise.all([stage.coordinator.kill(), shop.sale.process.kill()]);
  const [left, orders] = [await shop.left(), await shop.orders()];
  screen.step('kill -9 the coordinator and the sale, with hundreds of purchases under way');
  screen.step(`${PIECES - left} pieces are taken, ${orders.length} orders are written`);
  await Promise.all([stage.coordinator.start(signal), shop.sale.process.start(signal)]);
  screen.step('both are back; half of those whose connection broke ask again, the others are gone for good');
}

function show(screen: Screen, told: ReadonlyMap<string, Told>, left: number, orders: readonly string[]): boolean {
  const buyersTold = (what: Told): readonly string[] =>
    [...told].filter(([, heard]) => heard === what).map(([id]) => id);
  const [bought, refused, gone] = [buyersTold('bought'), buyersTold('refused'), buyersTold('nothing')];
  const owners = new Set(orders);
  screen.table([
    ['', 'number'],
    ['pieces at the start', String(PIECES)],
    ['pieces left in Redis', String(left)],
    ['orders in PostgreSQL', String(orders.length)],
    ['buyers told that they have one', String(bought.length)],
    ['buyers told that they have none', String(refused.length)],
    ['buyers who went away untold', String(gone.length)],
    ['  of these, with an order', String(gone.filter((id) => owners.has(id)).length)],
  ]);
  let failed = 0;
  const check = (holds: boolean, text: string, found?: string): void => {
    if (!holds) failed += 1;
    screen.check(holds, text, found);
  };
  check(left === 0, 'the last piece is sold, and none below zero', String(left));
  check(orders.length === PIECES - left, 'one order for each piece that was taken', `${orders.length} orders`);
  check(owners.size === orders.length, 'no purchase has two orders', `${orders.length - owners.size} have`);
  const without = bought.filter((id) => !owners.has(id));
  check(without.length === 0, 'whoever was told so has an order', `without: ${without.join(' ')}`);
  const despite = refused.filter((id) => owners.has(id));
  check(despite.length === 0, 'nobody who was refused has one', `with: ${despite.join(' ')}`);
  screen.headline(failed === 0 ? 'Every check held.' : `${failed} ${failed === 1 ? 'check' : 'checks'} did not hold.`);
  return failed === 0;
}

function purchaseOf({ purchase }: { readonly purchase: string }): string {
  return purchase;
}
