/** Accounts in a database of their own, with a service that changes them as a branch of an XA transaction. */
import type pg from 'pg';
import { FailureError, postgresXa, serveXa } from '../../src/client/index.ts';
import type { Stage } from '../stage.ts';

export interface Accounts {
  /** Where a branch does its work, and where the coordinator has it committed or rolled back: one URL. */
  readonly url: string;
  balance(): Promise<number>;
  /** How many transactions are prepared here, neither committed nor rolled back. */
  preparedCount(): Promise<number>;
}

const SCHEMA = `create table account (owner text primary key, balance int not null check (balance >= 0));
  insert into account values ('ada', 100);`;

/** Opens a database with an account of 100. */
export async function openAccounts(stage: Stage, name: string): Promise<Accounts> {
  const { pool } = await stage.database(name, SCHEMA);
  const database = postgresXa(pool);
  const url = await stage.serve({
    // Plain SQL, nothing to compensate: what it has done is prepared, and the database itself commits it or takes it back.
    '/change': (request) =>
      serveXa(request, stage.dtm, database, async (tx: pg.PoolClient, _branch, body) => {
        const { amount } = body as { readonly amount: number };
        const text = 'update account set balance = balance + $1 where balance + $1 >= 0 returning balance';
        const { rows } = await tx.query<{ balance: number }>(text, [amount]);
        if (rows[0] === undefined) throw new FailureError('there is not enough money');
        return { balance: rows[0].balance };
      }),
  });
  return {
    url: `${url}/change`,
    balance: async () => (await pool.query<{ balance: number }>('select balance from account')).rows[0]?.balance ?? 0,
    preparedCount: async () =>
      (await pool.query('select 1 from pg_prepared_xacts where database = current_database()')).rowCount ?? 0,
  };
}
