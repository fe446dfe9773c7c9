/** Something that can be held before it is taken: pieces in a stock, money in a wallet. */
import type pg from 'pg';
import { FailureError, postgresBarrier, serveBehindBarrier, type TccBranch } from '../../src/client/index.ts';
import type { Serve, Stage } from '../stage.ts';

export interface Holdings {
  /** The branch of a TCC transaction that takes `amount` of `item`. */
  branch(item: string, amount: number): TccBranch;
  /** `<free> free, <held> held`. */
  state(item: string): Promise<string>;
}

interface Wanted {
  readonly item: string;
  readonly amount: number;
}

const SCHEMA = `create table holding (
  item text primary key,
  free int not null check (free >= 0),
  held int not null default 0 check (held >= 0)
);`;

/** Opens a service with a database of its own that has `free` of one `item`. */
export async function openHoldings(stage: Stage, name: string, item: string, free: number): Promise<Holdings> {
  const { pool } = await stage.database(name, SCHEMA);
  await pool.query('insert into holding values ($1, $2)', [item, free]);
  const barrier = postgresBarrier(pool);
  // The coordinator may ask twice, and a Cancel may come without its Try, or before it: the barrier sorts that out.
  const guarded =
    (work: (tx: pg.PoolClient, wanted: Wanted) => Promise<void>): Serve =>
    (request) =>
      serveBehindBarrier(request, barrier, (tx: pg.PoolClient, _branch, body) => work(tx, wantedOf(body)));

  const url = await stage.serve({ '/try': guarded(hold), '/confirm': guarded(take), '/cancel': guarded(release) });
  return {
    branch: (wantedItem, amount) => ({
      try: `${url}/try`,
      confirm: `${url}/confirm`,
      cancel: `${url}/cancel`,
      body: { item: wantedItem, amount } satisfies Wanted,
    }),
    async state(of) {
      const text = `select free || ' free, ' || held || ' held' as state from holding where item = $1`;
      return (await pool.query<{ state: string }>(text, [of])).rows[0]?.state ?? 'nothing';
    },
  };
}

/** Try: may be refused, and promises that neither of the others will be. */
async function hold(tx: pg.PoolClient, { item, amount }: Wanted): Promise<void> {
  const text = 'update holding set free = free - $2, held = held + $2 where item = $1 and free >= $2';
  if ((await tx.query(text, [item, amount])).rowCount === 0) throw new FailureError(`there is not enough: ${item}`);
}

async function take(tx: pg.PoolClient, { item, amount }: Wanted): Promise<void> {
  await tx.query('update holding set held = held - $2 where item = $1', [item, amount]);
}

async function release(tx: pg.PoolClient, { item, amount }: Wanted): Promise<void> {
  await tx.query('update holding set free = free + $2, held = held - $2 where item = $1', [item, amount]);
}

function wantedOf(body: unknown): Wanted {
  const { item, amount } = body as Partial<Wanted>;
  if (typeof item === 'string' && Number.isInteger(amount) && Number(amount) > 0) {
    return { item, amount: Number(amount) };
  }
  throw new FailureError('a request has an item and an amount');
}
