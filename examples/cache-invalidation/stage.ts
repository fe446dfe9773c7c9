/** The prices in PostgreSQL, the shop front with its cache in Redis, and customers who look at prices all the time. */
import pg from 'pg';
import { createClient } from 'redis';
import { barrierSql } from '../../src/client/index.ts';
import { call } from '../support/http.ts';
import { openRedisStage, type RedisStage, type Service } from '../support/redis-stage.ts';
import { until } from '../support/until.ts';

export const ITEMS: readonly string[] = ['teapot', 'kettle', 'cup', 'saucer', 'spoon'];

const CHANGE_MS = 60_000;

export interface PriceStage extends AsyncDisposable {
  readonly stage: RedisStage;
  readonly prices: Service;
  readonly databaseUrl: string;
  /** Changes a price, and asks again until it is told that this is done. */
  change(item: string, price: string, signal: AbortSignal): Promise<void>;
  /** What a customer sees; undefined when the shop front cannot say. */
  seen(item: string): Promise<string | undefined>;
  /** What Redis holds, past everybody; undefined when nothing. */
  cached(item: string): Promise<string | undefined>;
  /** What the database holds. */
  stored(item: string): Promise<string | undefined>;
}

/** Starts everything; each item costs 100. Rejects with `ProgramMissing` when there is no Redis on this machine. */
export async function openPriceStage(signal: AbortSignal): Promise<PriceStage> {
  await using stack = new AsyncDisposableStack();
  const stage = stack.use(await openRedisStage());
  const databaseUrl = stage.postgres.url('prices');
  await stage.postgres.run('postgres', 'create database prices');
  await stage.postgres.run('prices', barrierSql('postgres'));
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  stack.defer(() => pool.end());
  await pool.query('create table price (item text primary key, price text not null)');
  await pool.query("insert into price select item, '100' from unnest($1::text[]) item", [ITEMS]);
  const redis = createClient({ url: stage.redis.url });
  stack.defer(() => redis.destroy());
  await redis.on('error', () => undefined).connect();

  const shopFront = await stage.service('shop-front', new URL('shop-front.ts', import.meta.url), {
    DATABASE_URL: databaseUrl,
    REDIS_URL: stage.redis.url,
  });
  const prices = await stage.service('prices', new URL('prices.ts', import.meta.url), {
    COORDINATOR_URL: stage.coordinatorUrl,
    DATABASE_URL: databaseUrl,
    SHOP_FRONT_URL: shopFront.url,
  });
  await Promise.all([stage.coordinator, shopFront.process, prices.process].map((part) => part.start(signal)));
  const owned = stack.move();
  return {
    stage,
    prices,
    databaseUrl,
    async change(item, price, signal) {
      const ask = async (): Promise<true | undefined> => {
        const { status } = await call('POST', `${prices.url}/price`, {
          body: { item, price },
          timeoutMs: 15_000,
          signal,
        });
        return status === 200 ? true : undefined;
      };
      await until(`${item} costs ${price}`, ask, { withinMs: CHANGE_MS, signal });
    },
    async seen(item) {
      const { status, body } = await call('POST', `${shopFront.url}/price`, { body: { item }, signal });
      return status === 200 ? (body as { price: string }).price : undefined;
    },
    cached: async (item) => (await redis.get(`price:${item}`)) ?? undefined,
    async stored(item) {
      return (await pool.query<{ price: string }>('select price from price where item = $1', [item])).rows[0]?.price;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export interface Customers extends AsyncDisposable {
  /** Sends them home; answers how many prices they have seen. */
  stop(): Promise<number>;
}

/** Customers who look at one price after the other, all the time. */
export function openCustomers(stage: PriceStage, count: number): Customers {
  const closed = new AbortController();
  let seen = 0;
  const customers = Array.from({ length: count }, async (_, customer) => {
    for (let turn = customer; !closed.signal.aborted; turn += 1) {
      // Whoever sees no price looks again: Redis may be down.
      const price = await stage.seen(ITEMS[turn % ITEMS.length] ?? '').catch(() => undefined);
      if (price !== undefined) seen += 1;
    }
  });
  const stop = async (): Promise<number> => {
    closed.abort();
    await Promise.all(customers);
    return seen;
  };
  return { stop, [Symbol.asyncDispose]: async () => void (await stop()) };
}
