/**
 * The orders of a shop. An order is a row in a database; with it goes a message to the bonus points, which takes effect if, and
 * only if, the row is committed. The same service in several processes: any of them can say whether it was.
 */
import type pg from 'pg';
import {
  type BarrierStore,
  type DtmClient,
  FailureError,
  type Gid,
  newMessage,
  postgresBarrier,
  serveQueryPrepared,
} from '../../src/client/index.ts';
import type { Serve } from '../stage.ts';

export const ORDERS_SCHEMA = 'create table orders (customer text not null, price int not null);';

export interface Order {
  readonly gid: Gid;
  readonly customer: string;
  readonly price: number;
}

export interface Addresses {
  /** Where the points of a customer are granted. */
  readonly grant: string;
  /** Where this service answers with `backCheck`. */
  readonly backCheck: string;
}

type Barrier = Pick<BarrierStore<pg.PoolClient>, 'call' | 'queryPrepared'>;

/** The barrier of the orders' database. */
export function ordersBarrier(pool: pg.Pool): Barrier {
  return postgresBarrier(pool);
}

/** Writes the order and has the customer's points granted: both or neither, whatever dies in between. */
export async function placeOrder(
  dtm: DtmClient,
  barrier: Barrier,
  { grant, backCheck }: Addresses,
  { gid, customer, price }: Order,
): Promise<void> {
  const message = newMessage(dtm, {
    gid,
    steps: [{ action: grant, payload: { customer, points: price } }],
    // After so long without a submit the coordinator asks. Short, for an example.
    timeoutToFailMs: 2000,
    retryIntervalMs: 200,
  });
  await message.doAndSubmit(backCheck, barrier, async (tx) => {
    if (price > 1000) throw new FailureError('nobody pays so much');
    await tx.query('insert into orders values ($1, $2)', [customer, price]);
  });
}

/** Tells the coordinator what has become of a local transaction. One that has not committed by then never will. */
export function backCheck(barrier: Barrier): Serve {
  return (request) => serveQueryPrepared(request, barrier);
}
