/** The orders service: writes an order down, and has it paid by another service. */
import { pool, type Reply, serve } from './service.ts';

serve({
  'GET /health': async () => ({ status: 200, body: {} }),
  'POST /orders': placeOrder,
});

async function placeOrder({ customer, amount }: Readonly<Record<string, unknown>>): Promise<Reply> {
  const client = await pool.connect();
  let id: string;
  try {
    await client.query('begin');
    const order = await client.query<{ id: string }>(
      'insert into orders (customer, amount) values ($1, $2) returning id',
      [customer, amount],
    );
    id = order.rows[0]?.id ?? '';
    await client.query('update totals set amount = amount + $1', [amount]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
  const payment = await fetch(`${process.env['PAYMENTS_URL']}/payments`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ order: id, customer, amount }),
    signal: AbortSignal.timeout(20_000),
  });
  if (payment.ok) return { status: 201, body: { order: id } };
  return { status: payment.status, body: (await payment.json()) as object };
}
