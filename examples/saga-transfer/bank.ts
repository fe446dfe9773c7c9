/** A bank: accounts in a database of its own, behind two operations and one that takes the first of them back. */
import type pg from 'pg';
import { FailureError, postgresBarrier, serveBehindBarrier } from '../../src/client/index.ts';
import type { Serve, Stage } from '../stage.ts';

export interface Bank {
  readonly url: string;
  /** What is on the account of `owner`. */
  balanceOf(owner: string): Promise<number>;
}

interface Transfer {
  readonly owner: string;
  readonly amount: number;
}

const SCHEMA = 'create table account (owner text primary key, balance int not null check (balance >= 0));';

/** Opens a bank with one account. */
export async function openBank(stage: Stage, name: string, owner: string, balance: number): Promise<Bank> {
  const { pool } = await stage.database(name, SCHEMA);
  await pool.query('insert into account values ($1, $2)', [owner, balance]);
  const barrier = postgresBarrier(pool);

  // The barrier does `work` in a local transaction together with a row of its own. A repeated request finds the row, and so does
  // a withdrawal that arrives after it was taken back: neither moves money.
  const guarded =
    (work: (tx: pg.PoolClient, transfer: Transfer) => Promise<void>): Serve =>
    (request) =>
      serveBehindBarrier(request, barrier, (tx: pg.PoolClient, _branch, body) => work(tx, transferOf(body)));

  const url = await stage.serve({
    '/withdraw': guarded(withdraw),
    '/withdraw-undo': guarded(deposit),
    '/deposit': guarded(deposit),
  });
  return {
    url,
    balanceOf: async (of) => {
      const { rows } = await pool.query<{ balance: number }>('select balance from account where owner = $1', [of]);
      return rows[0]?.balance ?? 0;
    },
  };
}

/** A `FailureError` is a final no: the coordinator takes back what has been done. Any other error would be tried again. */
async function withdraw(tx: pg.PoolClient, { owner, amount }: Transfer): Promise<void> {
  const text = 'update account set balance = balance - $2 where owner = $1 and balance >= $2';
  if ((await tx.query(text, [owner, amount])).rowCount === 0) throw new FailureError(`${owner} has not enough money`);
}

async function deposit(tx: pg.PoolClient, { owner, amount }: Transfer): Promise<void> {
  const text = 'update account set balance = balance + $2 where owner = $1';
  if ((await tx.query(text, [owner, amount])).rowCount === 0) throw new FailureError(`${owner} has no account here`);
}

function transferOf(body: unknown): Transfer {
  const { owner, amount } = body as Partial<Transfer>;
  if (typeof owner === 'string' && Number.isInteger(amount) && Number(amount) > 0) {
    return { owner, amount: Number(amount) };
  }
  throw new FailureError('a transfer has an owner and an amount');
}
