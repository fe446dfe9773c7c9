/** Flights or hotels: bookings in a database of their own. They can be made and taken back, or held first. */
import type pg from 'pg';
import { postgresBarrier, serveBehindBarrier } from '../../src/client/index.ts';
import type { Serve, Stage } from '../stage.ts';

export interface Bookings {
  readonly url: string;
  /** `booked`, `held` or `nothing`. */
  stateOf(traveller: string): Promise<string>;
  /** How many requests have come for this traveller. */
  requestsFor(traveller: string): number;
}

const SCHEMA = 'create table booking (traveller text primary key, state text not null);';

/** Opens the service. */
export async function openBookings(stage: Stage, name: string): Promise<Bookings> {
  const { pool } = await stage.database(name, SCHEMA);
  const barrier = postgresBarrier(pool);
  const requests = new Map<string, number>();
  const statement =
    (text: string): Serve =>
    (request) =>
      serveBehindBarrier(request, barrier, async (tx: pg.PoolClient, _branch, body) => {
        const { traveller } = body as { readonly traveller: string };
        requests.set(traveller, (requests.get(traveller) ?? 0) + 1);
        await tx.query(text, [traveller]);
      });
  const url = await stage.serve({
    // A step of a saga, and what takes it back.
    '/book': statement(`insert into booking values ($1, 'booked')`),
    '/unbook': statement('delete from booking where traveller = $1'),
    // Try, Confirm and Cancel.
    '/hold': statement(`insert into booking values ($1, 'held')`),
    '/confirm': statement(`update booking set state = 'booked' where traveller = $1`),
    '/cancel': statement('delete from booking where traveller = $1'),
  });
  return {
    url,
    requestsFor: (traveller) => requests.get(traveller) ?? 0,
    stateOf: async (traveller) => {
      const text = 'select state from booking where traveller = $1';
      return (await pool.query<{ state: string }>(text, [traveller])).rows[0]?.state ?? 'nothing';
    },
  };
}
