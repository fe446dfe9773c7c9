/** The payments service: takes the money and books it; an account that does not have enough refuses, after it has booked. */
import { pool, type Reply, serve } from './service.ts';

serve({
  'GET /health': async () => ({ status: 200, body: {} }),
  'POST /payments': pay,
});

async function pay({ order, customer, amount }: Readonly<Record<string, unknown>>): Promise<Reply> {
  await pool.query('insert into payment (order_id, customer, amount) values ($1, $2, $3)', [order, customer, amount]);
  const account = await pool.query<{ balance: string }>(
    'update account set balance = balance - $2 where customer = $1 returning balance',
    [customer, amount],
  );
  const balance = Number(account.rows[0]?.balance);
  if (balance >= 0) return { status: 200, body: { balance } };
  return { status: 409, body: { error: `${String(customer)} does not have ${String(amount)}` } };
}
